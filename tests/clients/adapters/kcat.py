"""kcat: librdkafka's command line."""

import collections
import itertools
import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from .base import MAX_REQUEST_BYTES, MEMBER_OPTIONS, BaseClient, Member, Record
from harness.report import until

ASSIGNED = re.compile(r"(assigned|revoked|incremental assignment|incremental revoke)(?: of .*?\))?: (.*)")
PARTITION = re.compile(r"\[(\d+)\]")
AT_END = re.compile(r"Reached end of topic (\S+) \[(\d+)\] at offset (\d+)")
OFFSET = re.compile(r"offset (-?\d+)")
DELIVERED = re.compile(r"delivered to partition \d+ \(offset (-?\d+)\)")
# A restarting broker is not news.
AWAY = re.compile("brokers are down|Connection refused|Disconnected|Broker transport failure")
SPECIAL = {"earliest": "-2", "latest": "-1"}


class Client(BaseClient):
    def __init__(self, context):
        super().__init__(context)
        self.kcat = shutil.which("kcat")

    def list_topics(self):
        return [topic["topic"] for topic in self._metadata()["topics"]]

    def describe_topic(self, topic):
        (found,) = self._metadata("-t", topic)["topics"]
        return {p["partition"]: {"leader": p["leader"], "replicas": [r["id"] for r in p["replicas"]],
                                 "isr": [r["id"] for r in p["isrs"]]} for p in found["partitions"]}

    def list_offsets(self, topic, partition, where):
        said, _ = self._run(["-Q", "-t", f"{topic}:{partition}:{SPECIAL.get(where, where)}"])
        return int(OFFSET.search(said)[1])

    def _metadata(self, *options):
        return json.loads(self._run(["-L", "-J", *options])[0])

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        """One kcat for each run of records that the same flags send; it tells of every delivery in its verbose lines."""
        settings = {"linger.ms": 20, "acks": acks, "client.id": client_id, "message.max.bytes": MAX_REQUEST_BYTES,
                    "enable.idempotence": str(idempotent).lower()}
        if one_by_one:
            settings.update({"max.in.flight.requests.per.connection": 1, "batch.num.messages": 1})
        offsets = []
        for shape, run in itertools.groupby(sends, _shape):
            run = list(run)
            options = ["-P", "-vvv", "-t", topic, "-z", codec, *_settings(settings), *_flags(shape)]
            # A line for each record, or a file where there are line ends in it.
            if any(b"\n" in (s.value or b"") for s in run):
                said = "".join(self._of_file(send, options) for send in run)
            else:
                said = self._run(options, _lines(run))[1]
            offsets += [int(found) for found in DELIVERED.findall(said)] if shape.partition is not None else [None] * len(run)
        return None if None in offsets or acks == "0" else offsets

    def _of_file(self, send, options):
        with tempfile.NamedTemporaryFile() as file:
            file.write(send.value)
            file.flush()
            return self._run([*options, file.name])[1]

    def transactional(self, id, timeout_ms=60000):
        return Transactional(self, {"transactional.id": id, "transaction.timeout.ms": timeout_ms, "debug": "eos"})

    def member(self, group, topics, auto_commit=False, **options):
        # kcat commits by itself, every interval and when it ends; it has no verb for it.
        options = {**MEMBER_OPTIONS, **options}
        settings = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": 200, "heartbeat.interval.ms": 500,
                    "session.timeout.ms": options["session_ms"], "isolation.level": options["isolation"],
                    "partition.assignment.strategy": options["assignor"]}
        if options["instance"]:
            settings["group.instance.id"] = options["instance"]
        return KcatMember(self, ["-G", group, *_settings(settings), *topics])

    def reader(self, topic, partition, where, isolation="read_uncommitted"):
        offset = f"s@{where[1]}" if isinstance(where, tuple) else str(where)
        member = KcatMember(self, ["-C", "-t", topic, "-p", str(partition), "-o", offset, *_settings(
            {"isolation.level": isolation, "auto.offset.reset": "earliest"})])
        if where == "end":
            until(lambda: member._alive() and member.ends, "kcat at the end of the partition")
        return member

    def _run(self, arguments, given=None):
        done = subprocess.run([self.kcat, "-b", self.context.bootstrap, *arguments], input=given or b"",
                              capture_output=True, timeout=60)
        words = done.stderr.decode(errors="replace")
        if done.returncode != 0 or "ERROR" in words:
            raise RuntimeError(f"kcat {' '.join(arguments)} exited {done.returncode}: {words[-1000:]}")
        return done.stdout.decode(), words


def _settings(settings):
    return [part for name, value in settings.items() for part in ("-X", f"{name}={value}")]


# What kcat has one flag for each run of; `keyed` and `null` are what -K and -Z say.
Shape = collections.namedtuple("Shape", "partition headers keyed null")


def _shape(send):
    return Shape(send.partition, tuple(send.headers), send.key is not None, send.value is None)


def _flags(shape):
    headers = [part for name, value in shape.headers for part in ("-H", f"{name}={value.decode()}")]
    return [*headers, *(["-p", str(shape.partition)] if shape.partition is not None else []),
            *(["-K", "\t"] if shape.keyed else []), *(["-Z"] if shape.null else [])]


def _lines(run):
    return b"".join((s.key + b"\t" if s.key is not None else b"") + (s.value or b"") + b"\n" for s in run)


class Transactional:
    """kcat makes one transaction of its input: it sends when that ends, and commits."""

    def __init__(self, client, settings):
        self.client, self.settings = client, settings
        # It fences with the id, before any topic is named: the process that does it has nothing to commit.
        client._run(["-P", "-t", "none", *_settings(settings)])
        self.process = None

    def begin(self):
        """With the first records: kcat must be told a topic when it starts."""

    def send(self, topic, sends):
        if not self.process:
            self.words = []
            self.process = subprocess.Popen(
                [self.client.kcat, "-b", self.client.context.bootstrap, "-P", "-t", topic, *_settings(self.settings),
                 *_flags(_shape(sends[0]))], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            self.listener = threading.Thread(target=self._listen, daemon=True)
            self.listener.start()
            until(lambda: any("begin_transaction return" in line for line in self.words) or self.process.poll() is not None,
                  "kcat began a transaction")
        self.process.stdin.write(_lines(sends))
        self.process.stdin.flush()

    def commit(self):
        process, self.process = self.process, None
        process.stdin.close()
        code = process.wait(30)
        self.listener.join(5)
        if code != 0:
            raise RuntimeError(f"kcat exited {code}: {[line for line in self.words if not line.startswith('%7')]}")

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait(30)

    def _listen(self):
        for line in self.process.stderr:
            self.words.append(line.decode(errors="replace"))


class KcatMember(Member):
    def __init__(self, client, arguments):
        super().__init__()
        self.ends = {}
        self.closing = False
        # -E: it goes on when all brokers are down, as a library does. JSON is not UTF-8 where a value is not.
        self.process = subprocess.Popen(
            [client.kcat, "-b", client.context.bootstrap, "-E", "-J", "-u", "-X", "fetch.wait.max.ms=100", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="surrogateescape")
        self.readers = [threading.Thread(target=work, daemon=True) for work in (self._records, self._words)]
        for reader in self.readers:
            reader.start()

    def position(self, topic, partition):
        """Where kcat said that it stands at the end of the partition; the only position it tells."""
        return self.ends.get((topic, partition), -1)

    def commit(self):
        pass

    def close(self):
        self.closing = True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        for reader in self.readers:
            reader.join(5)

    def _alive(self):
        if self.process.poll() is not None and not self.closing:
            self.error = self.error or f"kcat exited {self.process.returncode}"
        return super()._alive()

    def _records(self):
        for line in self.process.stdout:
            row = json.loads(line)
            headers = row.get("headers", [])
            self.records.append(Record(
                row["topic"], row["partition"], row["offset"], row["ts"], _bytes(row["key"]), _bytes(row["payload"]),
                tuple((name, _bytes(value)) for name, value in zip(headers[::2], headers[1::2]))))

    def _words(self):
        for line in self.process.stderr:
            change, end = ASSIGNED.search(line), AT_END.search(line)
            if change:
                self._changed(change[1], {int(p) for p in PARTITION.findall(change[2])})
            elif end:
                self.ends[(end[1], int(end[2]))] = int(end[3])
            elif "ERROR" in line and not self.closing and not AWAY.search(line):
                self.error = line.strip()

    def _changed(self, change, partitions):
        self.holds({"assigned": partitions, "revoked": set(), "incremental assignment": self.assignment() | partitions,
                    "incremental revoke": self.assignment() - partitions}[change])


def _bytes(text):
    return None if text is None else text.encode(errors="surrogateescape")
