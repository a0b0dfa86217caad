"""SIGKILL under load while a chain gives records up and its plugin is swapped: the dead letters and the source agree.

A plugin keeps, drops, rejects or traps on a record as its first byte says; both policies are dead-letter. Two versions of it take
turns, a few times a second. Whatever the moment of a crash: a record is stored at the offset that its producer was told, or is one
dead letter that names that offset, or was dropped; never two of these, never none.
"""

import os
import sys
import threading

from common import create
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from harness import environment
from harness.broker import Broker
from harness.report import Report, same, until

ROUNDS = int(os.environ.get("TIDEGATE_CRASH_ROUNDS", "3"))
ACKED_PER_ROUND = 3000
PARTITIONS, PRODUCERS = 2, 2
CORPUS = environment.ROOT / "target" / "hostile"
# The same judgement in two files, so that they have two digests.
VERSIONS = {"1.0.0": CORPUS / "works" / "plain.wasm", "2.0.0": CORPUS / "run" / "trap-on-a-record.wasm"}
CHAIN = "tidegate.produce.chain"
CONFIGS = {CHAIN: "judge@1.0.0", "tidegate.on.error": "dead-letter", "tidegate.on.reject": "dead-letter",
           "tidegate.dead.letter.topic": "orders-dead", "tidegate.limit.judge.breaker.failures": "1000000000"}
KINDS = {"r": "rejected", "t": "trap"}


class Load(threading.Thread):
    """One idempotent producer that writes numbered records to every partition until told to stop."""

    def __init__(self, number, bootstrap):
        super().__init__(daemon=True)
        self.number = number
        self.sent = 0
        self.acked = {}  # value -> (partition, offset)
        self.errors = []
        self.stopping = False
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 2,
            "message.timeout.ms": 120000, "request.timeout.ms": 5000, "reconnect.backoff.max.ms": 200,
            "retry.backoff.ms": 50, "batch.num.messages": 50, "log_level": 0,
        })

    def run(self):
        while not self.stopping:
            value = b"%s:%d:%d" % (fate(self.sent).encode(), self.number, self.sent)
            self.producer.produce("orders", value, partition=self.sent % PARTITIONS,
                                  on_delivery=lambda error, message, value=value: self._told(value, error, message))
            self.sent += 1
            while len(self.producer) > 500 and not self.stopping:
                self.producer.poll(0.05)
            self.producer.poll(0)
        self.producer.flush(120)

    def _told(self, value, error, message):
        if error:
            self.errors.append(str(error))
        else:
            self.acked[value] = message.partition(), message.offset()


class Swaps(threading.Thread):
    """Binds one version after the other, however often the broker is gone."""

    def __init__(self, bootstrap):
        super().__init__(daemon=True)
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.done = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.3):
            version = list(VERSIONS)[self.done % 2]
            entry = ConfigEntry(CHAIN, f"judge@{version}", incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[entry])
            try:
                for changed in self.admin.incremental_alter_configs([resource], request_timeout=5).values():
                    changed.result(10)
                self.done += 1
            except Exception:
                # The broker is being killed just now; the next turn tells whether it is back.
                continue


def fate(number):
    """First byte of a record: most are kept, some dropped, some rejected, a few make the plugin trap."""
    return "t" if number % 61 == 7 else {3: "d", 5: "r"}.get(number % 11, "a")


def main():
    report = Report("dead letters")
    broker = Broker("dead-letters")
    try:
        with report.case("load and swaps under which the broker is killed"):
            broker.start()
            acked = loaded(broker, report)
        if not report.failed:
            with report.case("every record is stored, or one dead letter, or dropped, at the offset its producer was told"):
                verify(broker, acked)
            with report.case("a clean stop after the crashes"):
                same(broker.restart().stop(), 0, "exit code")
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    finally:
        broker.close()
    sys.exit(report.finish())


def loaded(broker, report):
    """{value: (partition, offset)} of all records, sent through ROUNDS crashes."""
    for version, path in VERSIONS.items():
        broker.push("judge", path, version)
    create(broker.bootstrap, "orders", PARTITIONS, CONFIGS)
    loads = [Load(number, broker.bootstrap) for number in range(PRODUCERS)]
    swaps = Swaps(broker.bootstrap)
    for thread in (*loads, swaps):
        thread.start()
    acked = lambda: sum(len(load.acked) for load in loads)
    for number in range(ROUNDS + 1):
        goal, swapped = acked() + ACKED_PER_ROUND, swaps.done + 2
        until(lambda: acked() >= goal and swaps.done >= swapped, lambda: f"{goal} records acknowledged and {swapped} swaps: "
              f"{acked()}, {swaps.done}; errors {[load.errors[:2] for load in loads]}", 90)
        if number < ROUNDS:
            broker.kill()
            broker.start()
            report.check(f"restarted after crash {number + 1}: {acked()} records, {swaps.done} swaps", broker.alive())
    swaps.over.set()
    for load in loads:
        load.stopping = True
    for load in loads:
        load.join(150)
        same(load.errors[:3], [], "errors told to a producer that retries")
        same(len(load.acked), load.sent, "records acknowledged of those sent")
    return {value: place for load in loads for value, place in load.acked.items()}


def verify(broker, acked):
    stored = {message.value(): (message.partition(), message.offset())
              for message in read(broker, "orders", PARTITIONS)}
    found = read(broker, "orders-dead", 1)
    letters, versions = {}, set()
    for message in found:
        headers = {name: value.decode() for name, value in message.headers()}
        same(headers["tidegate.source.topic"], "orders", "where a letter is from")
        same(headers["tidegate.error.kind"], KINDS[chr(message.value()[0])], f"why {message.value()} is a letter")
        versions.add(headers["tidegate.plugin.digest"])
        letters[message.value()] = int(headers["tidegate.source.partition"]), int(headers["tidegate.source.offset"])
    print(f"     {len(acked)} records: {len(stored)} stored, {len(letters)} dead letters of {len(versions)} versions")
    same(len(found), len(letters), "letters without the repeated")
    same(len(versions), len(VERSIONS), "versions that gave records up")
    wanted = {kind: {value: place for value, place in acked.items() if chr(value[0]) in kind} for kind in ("a", "rt")}
    for what, there, expected in (("stored records", stored, wanted["a"]), ("dead letters", letters, wanted["rt"])):
        missing = expected.keys() - there.keys()
        same(sorted(missing)[:5], [], f"{what} that are lost ({len(missing)})")
        same(sorted(there.keys() - expected.keys())[:5], [], f"{what} that should not be")
        moved = [value for value in expected if there[value] != expected[value]]
        same(moved[:5], [], f"{what} that are elsewhere than their producer was told ({len(moved)})")


def read(broker, topic, partitions):
    """Every message of a topic, to the end that it has now."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "enable.partition.eof": True,
                         "auto.offset.reset": "error", "log_level": 2})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    ended, found = set(), []

    def over():
        for message in consumer.consume(1000, 0.1):
            if not message.error():
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise RuntimeError(f"{topic}: {message.error()}")
        return len(ended) == partitions
    try:
        until(over, lambda: f"the end of {topic} after {len(found)} messages", 60)
    finally:
        consumer.close()
    return found


if __name__ == "__main__":
    main()
