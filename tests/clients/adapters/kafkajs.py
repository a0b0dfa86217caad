"""kafkajs, driven over lines of JSON by kafkajs_driver.js: one Node process for each client."""

import base64
import itertools
import json
import os
import pathlib
import subprocess
import threading

from harness import environment
from harness.report import until

from .base import BaseClient, Member, Record

DRIVER = pathlib.Path(__file__).with_name("kafkajs_driver.js")


class Client(BaseClient):
    tells_reasons = False

    def __init__(self, context):
        super().__init__(context)
        self.members = {}
        self.answers = {}
        self.numbers = itertools.count(1)
        self.process = subprocess.Popen(
            ["node", str(DRIVER), context.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_PATH": str(environment.node_modules()), "KAFKAJS_NO_PARTITIONER_WARNING": "1"})
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, verb, timeout=60.0, **what):
        number = next(self.numbers)
        self.process.stdin.write(json.dumps({"id": number, "verb": verb, **what}) + "\n")
        self.process.stdin.flush()
        until(lambda: number in self.answers or self.process.poll() is not None, f"kafkajs answered {verb}", timeout)
        answer = self.answers.pop(number, {"error": "the driver exited"})
        if "error" in answer:
            raise RuntimeError(f"kafkajs {verb}: {answer['error']}")
        return answer.get("value")

    def create_topic(self, name, partitions=1, configs=None):
        self.ask("create", topic=name, partitions=partitions, configs=configs or {})

    def set_configs(self, topic, configs):
        self.ask("configs", topic=topic, configs=configs)

    def produce(self, topic, sends, codec="none", idempotent=False):
        return self.ask("produce", topic=topic, codec=codec, idempotent=idempotent, sends=[
            {"key": _pack(s.key), "value": _pack(s.value), "partition": s.partition,
             "timestamp": None if s.timestamp is None else str(s.timestamp),
             "headers": [[name, _pack(value)] for name, value in s.headers]} for s in sends])

    def member(self, group, topics, auto_commit=False):
        return self._member(group, topics, auto_commit, None)

    def reader(self, topic, partition, where):
        # kafkajs consumes only in groups, so a reader is a group of one that seeks.
        return self._member(f"reader-{next(self.numbers)}", [topic], False, [partition, where])

    def committed(self, group, topic):
        return {int(p): int(o) for p, o in self.ask("committed", group=group, topic=topic).items()}

    def end_offsets(self, topic, partitions):
        return {int(p): int(o) for p, o in self.ask("ends", topic=topic).items()}

    def close(self):
        try:
            self.ask("exit")
        finally:
            self.process.stdin.close()
            self.process.wait(30)

    def _member(self, group, topics, auto_commit, start):
        name = f"m{next(self.numbers)}"
        member = self.members[name] = KafkajsMember(self, name, start and start[0])
        self.ask("consume", member=name, group=group, topics=topics, autoCommit=auto_commit, start=start)
        return member

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "id" in said:
                self.answers[said["id"]] = said
            else:
                self.members[said["member"]].heard(said)


class KafkajsMember(Member):
    def __init__(self, client, name, only):
        super().__init__()
        self.client, self.name = client, name
        # A reader's group gets every partition of the topic; the others are left out here.
        self.only = only
        self.held = set()

    def heard(self, said):
        if said["event"] == "record":
            if self.only not in (None, said["partition"]):
                return
            self.records.append(Record(
                said["topic"], said["partition"], int(said["offset"]), int(said["timestamp"]), _unpack(said["key"]),
                _unpack(said["value"]), tuple((name, _unpack(value)) for name, value in said["headers"])))
        elif said["event"] == "assigned":
            self.held = set(said["partitions"])
        elif said["event"] == "crash":
            self.error = said["error"]

    def assignment(self):
        return set(self.held)

    def position(self, topic, partition):
        """kafkajs tells no position."""
        return None

    def seek(self, topic, partition, offset):
        self.client.ask("seek", member=self.name, topic=topic, partition=partition, offset=str(offset))

    def commit(self):
        self.client.ask("commit", member=self.name)

    def close(self):
        self.client.ask("leave", member=self.name)


def _pack(data):
    return None if data is None else base64.b64encode(data).decode()


def _unpack(text):
    return None if text is None else base64.b64decode(text)
