"""kcat: librdkafka's command line. What kcat has no verb for (admin, commits asked from outside) goes through `tidegate`
or confluent-kafka's admin client; records are always produced and consumed by kcat itself."""

import json
import re
import shutil
import signal
import subprocess
import threading

from . import confluent
from .base import BaseClient, Member, Record
from harness.report import until

ASSIGNED = re.compile(r"(assigned|revoked): (.*)")
PARTITION = re.compile(r"\[(\d+)\]")
AT_END = re.compile(r"Reached end of topic (\S+) \[(\d+)\] at offset (\d+)")


class Client(BaseClient):
    sets_timestamps = False

    def __init__(self, context):
        super().__init__(context)
        self.kcat = shutil.which("kcat")
        self.admin = confluent.Client(context)

    def create_topic(self, name, partitions=1, configs=None):
        if self.context.cli:
            options = [part for key, value in (configs or {}).items() for part in ("-c", f"{key}={value}")]
            self.context.cli("topic", "create", name, "--partitions", partitions, *options)
        else:
            self.admin.create_topic(name, partitions, configs)

    def set_configs(self, topic, configs):
        if self.context.cli:
            options = [part for key, value in configs.items() for part in ("-c", f"{key}={value}")]
            self.context.cli("topic", "alter", topic, *options)
        else:
            self.admin.set_configs(topic, configs)

    def produce(self, topic, sends, codec="none", idempotent=False):
        """One kcat for each run of records with the same partition and headers."""
        runs = []
        for send in sends:
            shape = (send.partition, tuple(send.headers))
            if not runs or runs[-1][0] != shape:
                runs.append((shape, []))
            runs[-1][1].append(send)
        for (partition, headers), run in runs:
            lines = b"".join((s.key or b"") + b"\t" + (s.value or b"") + b"\n" for s in run)
            options = [part for name, value in headers for part in ("-H", f"{name}={value.decode()}")]
            if partition is not None:
                options += ["-p", str(partition)]
            self._run(["-P", "-t", topic, "-K", "\t", "-z", codec, "-X", "linger.ms=20", "-X", "acks=all",
                       "-X", f"enable.idempotence={str(idempotent).lower()}", *options], lines)

    def member(self, group, topics, auto_commit=False):
        # kcat commits by itself, every interval and when it ends; it has no verb for it.
        return KcatMember(self, ["-G", group, "-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=200",
                                 "-X", "heartbeat.interval.ms=500", "-X", "session.timeout.ms=10000", *topics])

    def reader(self, topic, partition, where):
        offset = f"s@{where[1]}" if isinstance(where, tuple) else str(where)
        member = KcatMember(self, ["-C", "-t", topic, "-p", str(partition), "-o", offset])
        if where == "end":
            until(lambda: member._alive() and member.ends, "kcat at the end of the partition")
        return member

    def committed(self, group, topic):
        return self.admin.committed(group, topic)

    def end_offsets(self, topic, partitions):
        return self.admin.end_offsets(topic, partitions)

    def _run(self, arguments, given):
        done = subprocess.run([self.kcat, "-b", self.context.bootstrap, *arguments], input=given,
                              capture_output=True, timeout=60)
        if done.returncode != 0 or b"ERROR" in done.stderr:
            raise RuntimeError(f"kcat {' '.join(arguments)} exited {done.returncode}: {done.stderr.decode()[-1000:]}")


class KcatMember(Member):
    def __init__(self, client, arguments):
        super().__init__()
        self.ends = {}
        self.held = set()
        self.closing = False
        self.process = subprocess.Popen(
            [client.kcat, "-b", client.context.bootstrap, "-J", "-u", "-X", "fetch.wait.max.ms=100", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.readers = [threading.Thread(target=work, daemon=True) for work in (self._records, self._words)]
        for reader in self.readers:
            reader.start()

    def assignment(self):
        return set(self.held)

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
                self.held = {int(p) for p in PARTITION.findall(change[2])} if change[1] == "assigned" else set()
            elif end:
                self.ends[(end[1], int(end[2]))] = int(end[3])
            elif "ERROR" in line and not self.closing:
                self.error = line.strip()


def _bytes(text):
    return None if text is None else text.encode()
