"""kcat: librdkafka's command line."""

import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from .base import MAX_REQUEST_BYTES, MEMBER_OPTIONS, BaseClient, Member, Record
from harness.report import until

ASSIGNED = re.compile(r"(assigned|revoked): (.*)")
PARTITION = re.compile(r"\[(\d+)\]")
AT_END = re.compile(r"Reached end of topic (\S+) \[(\d+)\] at offset (\d+)")
OFFSET = re.compile(r"offset (-?\d+)")
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
        said = self._run(["-Q", "-t", f"{topic}:{partition}:{SPECIAL.get(where, where)}"])
        return int(OFFSET.search(said)[1])

    def _metadata(self, *options):
        return json.loads(self._run(["-L", "-J", *options]))

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        """One kcat for each run of records with the same partition and headers."""
        runs = []
        for send in sends:
            shape = (send.partition, tuple(send.headers))
            if not runs or runs[-1][0] != shape:
                runs.append((shape, []))
            runs[-1][1].append(send)
        settings = {"linger.ms": 20, "acks": acks, "client.id": client_id, "message.max.bytes": MAX_REQUEST_BYTES,
                    "enable.idempotence": str(idempotent).lower()}
        for (partition, headers), run in runs:
            options = [part for name, value in headers for part in ("-H", f"{name}={value.decode()}")]
            if partition is not None:
                options += ["-p", str(partition)]
            # A line for each record, or a file where there are line ends in it.
            if any(b"\n" in (s.value or b"") for s in run):
                for send in run:
                    with tempfile.NamedTemporaryFile() as file:
                        file.write(send.value)
                        file.flush()
                        self._run(["-P", "-t", topic, "-z", codec, *_settings(settings), *options, file.name])
                continue
            lines = b"".join((s.key or b"") + b"\t" + (s.value or b"") + b"\n" for s in run)
            self._run(["-P", "-t", topic, "-K", "\t", "-z", codec, *_settings(settings), *options], lines)

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
        if done.returncode != 0 or b"ERROR" in done.stderr:
            raise RuntimeError(f"kcat {' '.join(arguments)} exited {done.returncode}: {done.stderr.decode()[-1000:]}")
        return done.stdout.decode()


def _settings(settings):
    return [part for name, value in settings.items() for part in ("-X", f"{name}={value}")]


class KcatMember(Member):
    def __init__(self, client, arguments):
        super().__init__()
        self.ends = {}
        self.closing = False
        self.process = subprocess.Popen(
            [client.kcat, "-b", client.context.bootstrap, "-J", "-u", "-X", "fetch.wait.max.ms=100", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
                self.holds({int(p) for p in PARTITION.findall(change[2])} if change[1] == "assigned" else set())
            elif end:
                self.ends[(end[1], int(end[2]))] = int(end[3])
            elif "ERROR" in line and not self.closing:
                self.error = line.strip()


def _bytes(text):
    return None if text is None else text.encode()
