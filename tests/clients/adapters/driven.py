"""Clients of other languages: a program that speaks lines of JSON, one process for each client.

In: {id, verb, ...}; out: {id, value | error} and {event, member, ...}. Keys, values and header values travel as base64,
offsets and timestamps as decimal strings.
"""

import base64
import itertools
import json
import os
import subprocess
import threading

from harness.report import until

from .base import BaseClient, Member, Record


class DrivenClient(BaseClient):
    # What the driver is called in errors, and whether its consumers can say where they are.
    name = "the driver"
    tells_positions = True
    # A reader has no group of its own where the library can do without.
    readers_join_groups = False

    def command(self):
        """The command line of the driver, which gets the bootstrap address appended."""
        raise NotImplementedError

    def environment(self):
        return {}

    def __init__(self, context):
        super().__init__(context)
        self.members = {}
        self.answers = {}
        self.numbers = itertools.count(1)
        self.process = subprocess.Popen(
            [*map(str, self.command()), context.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **self.environment()})
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, verb, timeout=60.0, **what):
        number = next(self.numbers)
        self.process.stdin.write(json.dumps({"id": number, "verb": verb, **what}) + "\n")
        self.process.stdin.flush()
        until(lambda: number in self.answers or self.process.poll() is not None, f"{self.name} answered {verb}", timeout)
        answer = self.answers.pop(number, {"error": "the driver exited"})
        if "error" in answer:
            raise RuntimeError(f"{self.name} {verb}: {answer['error']}")
        return answer.get("value")

    def create_topic(self, name, partitions=1, configs=None):
        self.ask("create", topic=name, partitions=partitions, configs=configs or {})

    def set_configs(self, topic, configs):
        self.ask("configs", topic=topic, configs=configs)

    def produce(self, topic, sends, codec="none", idempotent=False):
        return self.ask("produce", topic=topic, codec=codec, idempotent=idempotent, sends=[
            {"key": pack(s.key), "value": pack(s.value), "partition": s.partition,
             "timestamp": None if s.timestamp is None else str(s.timestamp),
             "headers": [[name, pack(value)] for name, value in s.headers]} for s in sends])

    def member(self, group, topics, auto_commit=False):
        return self._member(group, topics, auto_commit, None)

    def reader(self, topic, partition, where):
        group = f"reader-{next(self.numbers)}" if self.readers_join_groups else None
        return self._member(group, [topic], False, [partition, where])

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
        member = self.members[name] = DrivenMember(self, name, start and start[0])
        self.ask("consume", member=name, group=group, topics=topics, autoCommit=auto_commit, start=start)
        return member

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "id" in said:
                self.answers[said["id"]] = said
            else:
                self.members[said["member"]].heard(said)


class DrivenMember(Member):
    def __init__(self, client, name, only):
        super().__init__()
        self.client, self.name = client, name
        # A reader that joined a group gets every partition of the topic; the others are left out here.
        self.only = only
        self.held = set()

    def heard(self, said):
        if said["event"] == "record":
            if self.only not in (None, said["partition"]):
                return
            self.records.append(Record(
                said["topic"], said["partition"], int(said["offset"]), int(said["timestamp"]), unpack(said["key"]),
                unpack(said["value"]), tuple((name, unpack(value)) for name, value in said["headers"])))
        elif said["event"] == "assigned":
            self.held = set(said["partitions"])
        elif said["event"] == "crash":
            self.error = said["error"]

    def assignment(self):
        return set(self.held)

    def position(self, topic, partition):
        if not self.client.tells_positions:
            return None
        return int(self.client.ask("position", member=self.name, topic=topic, partition=partition))

    def seek(self, topic, partition, offset):
        self.client.ask("seek", member=self.name, topic=topic, partition=partition, offset=str(offset))

    def commit(self):
        self.client.ask("commit", member=self.name)

    def close(self):
        self.client.ask("leave", member=self.name)


def pack(data):
    return None if data is None else base64.b64encode(data).decode()


def unpack(text):
    return None if text is None else base64.b64decode(text)
