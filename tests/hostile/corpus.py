"""Every plugin of the corpus against one broker: pushed over HTTP, bound and fed over Kafka.

After each of them the broker is the same process, its answer was the sentence that shapes.py expects, its memory is back
where it was, and two other topics of the broker were written and read all the while.

    corpus.py [PART OF A NAME]
"""

import contextlib
import http.client
import json
import pathlib
import random
import re
import sys
import time
import urllib.request

from neighbour import Neighbours, create
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from harness import environment, wire
from harness.broker import Broker
from harness.report import Report, same, until
from shapes import BIND, CONSUME, PUSH, RETRIABLE, RUN, TRUNCATED, WORKS

CORPUS = environment.ROOT / "target" / "hostile"
SEED = 20_260_521
LIMITS = {
    "tidegate.plugins.deadline.ms": 200,
    "tidegate.plugins.memory.bytes": 32 << 20,
    "tidegate.plugins.output.bytes": 1 << 20,
    "tidegate.plugins.output.records": 100_000,
    "tidegate.plugins.breaker.delay.ms": 200,
    "tidegate.plugins.prepare.timeout.ms": 10_000,
    # So that what the plugins leave behind can be told from what the log keeps in memory.
    "tidegate.tail.cache.bytes": 4 << 20,
}
NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, INVALID_RECORD = 19, 56, 87
SECRET = "hunter2"
# What one shape may leave behind, and what all of them together may: the neighbours' records are in memory too.
ONE_LEAVES, ALL_LEAVE = 48 << 20, 192 << 20
# What it may use at its worst: one compilation and one instance at a time.
PEAK = 1 << 30
NEIGHBOURS_MOVE = 10


class Corpus:
    def __init__(self, broker, report, only):
        self.broker, self.report, self.only = broker, report, only
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        self.neighbours = Neighbours(broker)
        self.worst = self.baseline = 0

    def run(self):
        # Once through everything, so that the first shape does not pay for what is made on first use.
        for _ in range(3):
            self.works("plain", "plain")
        self.baseline = self.broker.memory()
        for stage, expected in (("push", PUSH), ("bind", BIND), ("run", RUN), ("works", WORKS)):
            there = {path.stem for path in (CORPUS / stage).glob("*.wasm")}
            with self.report.case(f"{stage}: every shape of the corpus has its expectation"):
                same(sorted(there), sorted(expected), "shapes")
            attack = {"push": self.push, "bind": self.bind, "run": self.fail, "works": self.works}[stage]
            for name in sorted(there & expected.keys()):
                self.shape(f"{stage}: {name}", lambda: attack(name, expected[name]))
        for name, sentence in CONSUME.items():
            self.shape(f"consume: {name}", lambda: self.consume(name, sentence))
        self.shape("a secret that was echoed is in no log", self.secrets)
        self.shape("truncated files", self.truncated)
        self.shape("flipped bits", self.flipped)
        self.shape("compiled code of the broker's own", self.own_artifact)
        self.neighbours.stop()

    def shape(self, name, attack):
        if self.only not in name:
            return
        with self.report.case(name):
            since, before = self.neighbours.place(), self.broker.memory()
            attack()
            same(self.broker.alive() and self.broker.starts, 1, "starts of the broker")
            self.neighbours.await_progress(since, NEIGHBOURS_MOVE)
            until(lambda: self.broker.memory() < before + ONE_LEAVES, lambda: f"memory returned: "
                  f"{self.broker.memory() >> 20} MiB, of {before >> 20} MiB before", 15)
            self.worst = max(self.worst, self.broker.memory())

    # One stage each.

    def push(self, name, sentence):
        status, answer = self.put(name, read("push", name))
        if sentence is None:
            # May be taken or refused, in bounded time; either is an answer.
            same(status in (200, 201, 400), True, f"answer {status} {answer}")
            if status < 300:
                self.remove(name)
            return
        same(status in (400, 413), True, f"refused: {status} {answer}")
        says(answer["error"], sentence)

    def bind(self, name, sentence):
        self.pushed(name, read("bind", name))
        side = "consume" if "consume" in name else "produce"
        configs = {f"tidegate.{side}.chain": name}
        if "secret" in name:
            configs[f"tidegate.plugin.{name}.mode"] = SECRET
        try:
            create(self.broker.bootstrap, f"{name}-topic", 1, configs)
        except KafkaException as error:
            says(error.args[0].str(), sentence)
        else:
            raise AssertionError("it was bound")
        finally:
            self.remove(name)

    def fed(self, name, wasm, records):
        """(error code, message) of three records produced through it."""
        configs = {f"tidegate.plugin.{name}.mode": SECRET} if "secret" in name else {}
        with self.bound(name, wasm, "produce", configs) as topic, wire.Connection(self.broker.port) as connection:
            return wire.produce_told(connection, topic, 0, wire.record_batch(records, int(time.time() * 1000)))

    def fail(self, name, sentence):
        error, message = self.fed(name, read("run", name), [b"t", b"x", b"t"])
        same(error, NOT_ENOUGH_REPLICAS if name in RETRIABLE else INVALID_RECORD, f"error code, with {message!r}")
        says(message, sentence)

    def works(self, name, said):
        error, message = self.fed(name, read("works", name), [b"a", b"b", b"c"])
        same((error, message), (0, None), said)

    def consume(self, name, sentence):
        wasm = read("run", name)
        with self.bound(name, wasm, "consume") as topic, wire.Connection(self.broker.port) as connection:
            batch = wire.record_batch([b"fine", b"t", b"fine"], int(time.time() * 1000))
            same(wire.produce(connection, topic, 0, batch), (0, 0), "produced beside the chain")
            # The fetch begins at the record that a trap is bisected to: what stands before it would be sent.
            error, _, _ = wire.fetch(connection, topic, 0, 1)
            same(error, KAFKA_STORAGE_ERROR, "what a consumer is told")
            says(self.last_error(name), sentence)

    def secrets(self):
        """What `secret-in-error` and `secret-in-log` echoed."""
        same(SECRET in self.broker.log.read_text(errors="replace"), False, "the secret is in the broker's log")
        logs = lambda: self.broker.cli("plugin", "logs", "--plugin", "secret-in-log", "--lines", "100000")
        until(lambda: "(secret)" in logs(), "the line is in the plugins' logs, without the secret")
        same(SECRET in logs(), False, "the secret is in the plugins' logs")

    # Damaged files.

    def truncated(self):
        for whole, cuts in ((read("works", "plain"), 80), (environment.plugin("match").read_bytes(), 12)):
            for cut in range(cuts):
                length = len(whole) * cut // cuts
                status, answer = self.put("cut", whole[:length])
                same(status, 400, f"the first {length} bytes: {answer}")
                says(answer["error"], TRUNCATED)

    def flipped(self):
        """A file whose bits were flipped is refused, or it is a plugin, which may then do what it likes."""
        dice = random.Random(SEED)
        taken = refused = 0
        for whole, count in ((read("works", "plain"), 300), (environment.plugin("route").read_bytes(), 30)):
            for number in range(count):
                wasm = bytearray(whole)
                for _ in range(dice.choice((1, 1, 2, 8))):
                    # The first eight bytes say what the file is.
                    at = dice.randrange(8 * 8, 8 * len(wasm))
                    wasm[at // 8] ^= 1 << at % 8
                status, answer = self.put("flipped", bytes(wasm))
                if status >= 300:
                    refused += 1
                    same((status, bool(answer["error"])), (400, True), f"flip {number} of seed {SEED}: {answer}")
                    continue
                taken += 1
                self.remove("flipped")
                try:
                    self.fed("flipped", bytes(wasm), [b"a", b"d", b"c"])
                except KafkaException as error:
                    # A binding may be refused, with a sentence; the broker may not be gone.
                    says(error.args[0].str(), "flipped")
                same(self.broker.alive(), True, f"the broker is there after flip {number} of seed {SEED}")
        print(f"     {taken} files with flipped bits were still plugins, {refused} were refused")
        same(taken > 0 and refused > 0, True, "of both kinds there were some")

    def own_artifact(self):
        """What the compiler leaves in the data directory is native code: it is not taken back from outside."""
        artifacts = [path for path in self.broker.data.rglob("*.cwasm")]
        same(bool(artifacts), True, "compiled artifacts are kept in the data directory")
        status, answer = self.put("artifact", artifacts[0].read_bytes())
        same(status, 400, f"refused: {answer}")
        says(answer["error"], "is not Wasm|compiled code")

    # The ways in.

    def put(self, name, wasm):
        """(status, answer) of a push."""
        connection = http.client.HTTPConnection("127.0.0.1", self.broker.admin_port, timeout=60)
        connection.request("PUT", f"/v1/plugins/{name}/1.0.0", wasm)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer or b"{}")

    def pushed(self, name, wasm):
        status, answer = self.put(name, wasm)
        same(status in (200, 201), True, f"pushed: {status} {answer}")

    def remove(self, name):
        request = urllib.request.Request(f"{self.broker.admin}/v1/plugins/{name}", method="DELETE")
        with urllib.request.urlopen(request, timeout=30):
            pass

    @contextlib.contextmanager
    def bound(self, name, wasm, side, configs=None):
        """The topic that a plugin is bound to; both are removed in the end."""
        self.pushed(name, wasm)
        topic = f"{name}-topic"
        try:
            create(self.broker.bootstrap, topic, 1, {f"tidegate.{side}.chain": name, **(configs or {})})
            try:
                yield topic
            finally:
                for gone in self.admin.delete_topics([topic]).values():
                    gone.result(30)
        finally:
            self.remove(name)

    def last_error(self, name):
        bindings = json.loads(self.broker.get(f"/v1/plugins/{name}"))["bindings"]
        return bindings[0]["last_error"] or ""


def read(stage, name):
    return (CORPUS / stage / f"{name}.wasm").read_bytes()


def says(text, pattern):
    if not re.search(pattern, text or ""):
        raise AssertionError(f"it says {text!r}, which does not match {pattern!r}")


def main():
    report = Report("corpus")
    if not report.check("the corpus is written", (CORPUS / "push").is_dir(), f"{CORPUS} is empty: run `make hostile`"):
        sys.exit(report.finish())
    with Broker("hostile-corpus", LIMITS) as broker:
        corpus = Corpus(broker, report, "".join(sys.argv[1:2]))
        corpus.run()
        with report.case("it was one process, within its memory, and it stops cleanly"):
            same(broker.alive() and broker.starts, 1, "starts")
            peak = broker.memory("VmHWM")
            print(f"     memory: {corpus.baseline >> 20} MiB before, {corpus.worst >> 20} MiB at most after a shape, "
                  f"{peak >> 20} MiB at the peak")
            left = broker.memory() - corpus.baseline
            same(left < ALL_LEAVE, True, f"all shapes left {left} bytes, less than {ALL_LEAVE}")
            same(peak < PEAK, True, f"a peak of {peak} below {PEAK}")
            same(broker.stop(), 0, "exit code")
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
