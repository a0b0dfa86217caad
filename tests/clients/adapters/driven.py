"""Clients of other languages: a program that speaks lines of JSON, one process for each client.

In: {id, verb, ...}; out: {id, value | error} and {event, member, ...}. Keys, values and header values travel as base64,
timestamps as decimal strings; offsets of records too, where a language has no such numbers. The verbs are those of `base.py`
with their keywords, and for what is opened:

produce {topic, sends, codec, idempotent, acks, clientId, oneByOne} -> [offset]
consume {member, group, topics, autoCommit, start, MEMBER_OPTIONS}, seek, commit, position, leave {member, ...}
txn_open {producer, transactionalId, timeoutMs}, txn_begin, txn_send, txn_offsets {group, topic, offsets}, txn_commit, txn_abort, txn_close {producer, ...}
exit
"""

import base64
import itertools
import json
import os
import subprocess
import threading

from harness.report import until

from .base import MEMBER_OPTIONS, BaseClient, Member, Record


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
        self.writing = threading.Lock()
        self.process = subprocess.Popen(
            [*map(str, self.command()), context.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **self.environment()})
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, verb, timeout=60.0, **what):
        number = next(self.numbers)
        with self.writing:
            self.process.stdin.write(json.dumps({"id": number, "verb": verb, **what}) + "\n")
            self.process.stdin.flush()
        until(lambda: number in self.answers or self.process.poll() is not None, f"{self.name} answered {verb}", timeout)
        answer = self.answers.pop(number, {"error": "the driver exited"})
        if "error" in answer:
            raise RuntimeError(f"{self.name} {verb}: {answer['error']}")
        return answer.get("value")

    def __getattr__(self, verb):
        """Whatever has no method here is a verb of the driver."""
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda **what: self.ask(verb, **what)

    def create_topic(self, topic, partitions=1, configs=None):
        self.ask("create_topic", topic=topic, partitions=partitions, configs=configs or {})

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        return self.ask("produce", topic=topic, codec=codec, idempotent=idempotent, acks=acks, clientId=client_id,
                        oneByOne=one_by_one, sends=packed(sends))

    def member(self, group, topics, auto_commit=False, **options):
        return self._member(group, topics, auto_commit, None, options)

    def reader(self, topic, partition, where, **options):
        group = f"reader-{next(self.numbers)}" if self.readers_join_groups else None
        return self._member(group, [topic], False, [partition, where], options)

    def transactional(self, id, timeout_ms=60000):
        return DrivenTransactional(self, f"t{next(self.numbers)}", id, timeout_ms)

    def end_offsets(self, topic, partitions):
        return {p: self.list_offsets(topic=topic, partition=p, where="latest") for p in range(partitions)}

    def close(self):
        """Ends the driver, in order if it can within seconds."""
        try:
            self.ask("exit", 10)
            self.process.stdin.close()
            self.process.wait(5)
        finally:
            self.process.kill()
            self.process.wait(5)

    def _member(self, group, topics, auto_commit, start, options):
        name = f"m{next(self.numbers)}"
        member = self.members[name] = DrivenMember(self, name, start and start[0])
        self.ask("consume", member=name, group=group, topics=topics, autoCommit=auto_commit, start=start,
                 **{**MEMBER_OPTIONS, **options})
        return member

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line, object_hook=_numbered)
            if "id" in said:
                self.answers[said["id"]] = said
            else:
                self.members[said["member"]].heard(said)


def _numbered(found):
    """JSON has no numbers for keys: partitions come as strings."""
    return {int(key) if key.isdigit() else key: value for key, value in found.items()}


class DrivenTransactional:
    def __init__(self, client, name, id, timeout_ms):
        self.client, self.name = client, name
        self._ask("open", transactionalId=id, timeoutMs=timeout_ms)

    def begin(self):
        self._ask("begin")

    def send(self, topic, sends):
        self._ask("send", topic=topic, sends=packed(sends))

    def send_offsets(self, group, topic, offsets):
        self._ask("offsets", group=group, topic=topic, offsets=offsets)

    def commit(self):
        self._ask("commit")

    def abort(self):
        self._ask("abort")

    def close(self):
        self._ask("close")

    def _ask(self, verb, **what):
        self.client.ask(f"txn_{verb}", producer=self.name, **what)


class DrivenMember(Member):
    def __init__(self, client, name, only):
        super().__init__()
        self.client, self.name = client, name
        # A reader that joined a group gets every partition of the topic; the others are left out here.
        self.only = only

    def heard(self, said):
        if said["event"] == "record":
            if self.only not in (None, said["partition"]):
                return
            self.records.append(Record(
                said["topic"], said["partition"], int(said["offset"]), int(said["timestamp"]), unpack(said["key"]),
                unpack(said["value"]), tuple((name, unpack(value)) for name, value in said["headers"])))
        elif said["event"] == "assigned":
            self.holds(said["partitions"])
        elif said["event"] == "crash":
            self.error = said["error"]

    def position(self, topic, partition):
        if not self.client.tells_positions:
            return None
        return int(self.client.ask("position", member=self.name, topic=topic, partition=partition))

    def seek(self, topic, partition, offset):
        self.client.ask("seek", member=self.name, topic=topic, partition=partition, offset=offset)

    def commit(self):
        self.client.ask("commit", member=self.name)

    def close(self):
        self.client.ask("leave", member=self.name)


def packed(sends):
    return [{"key": pack(s.key), "value": pack(s.value), "partition": s.partition,
             "timestamp": None if s.timestamp is None else str(s.timestamp),
             "headers": [[name, pack(value)] for name, value in s.headers]} for s in sends]


def pack(data):
    return None if data is None else base64.b64encode(data).decode()


def unpack(text):
    return None if text is None else base64.b64decode(text)
