"""The verbs of the matrix, and the thread in which a polling consumer lives.

What a client lacks stands in `absent.py`. All verbs take and give what JSON can say, but for records; those of admin clients
are called with keywords:

create_topic(topic, partitions, configs)            delete_topic(topic)             list_topics() -> [name]
describe_topic(topic) -> {partition: {leader, replicas, isr}}                       create_partitions(topic, total)
describe_configs(topic) -> {name: value}            set_configs(topic, configs)     delete_config(topic, name)
describe_broker_configs() -> {name: value}          describe_cluster() -> {brokers: [id], controller, cluster}
log_dirs(topic) -> {partition: bytes}               features() -> {name: level}
elect_leader(topic, partition) -> what the broker says     reassign(topic, partition, replicas)     list_reassignments() -> []
delete_records(topic, partition, offset) -> the log's start, or None                describe_producers(topic, partition) -> [id]
list_offsets(topic, partition, where) -> offset; "earliest", "latest", "max_timestamp" or milliseconds
epoch_end(topic, partition, epoch) -> offset        end_offsets(topic, partitions) -> {partition: offset}
list_groups() -> [id]                               describe_group(group) -> {state, members: count}
delete_group(group)                                 group_type(group) -> "classic" or "consumer"
committed(group, topic) -> {partition: offset}      alter_offsets(group, topic, offsets)     delete_offsets(group, topic, partitions)
set_quota(client_id, quotas: {name: number or None})                                describe_quota(client_id) -> {name: number}
list_transactions() -> {id: state}                  describe_transaction(transaction) -> {state, partitions: ["topic-0"]}
"""

import collections
import queue
import threading

from harness.report import until

Record = collections.namedtuple("Record", "topic partition offset timestamp key value headers")
# What a producer is given; `timestamp` None = now, `partition` None = the client's partitioner.
Send = collections.namedtuple("Send", "key value partition timestamp headers", defaults=(0, None, ()))

# No record of the matrix is larger, and no client may refuse one before the broker does.
MAX_REQUEST_BYTES = 10_000_000


class Context:
    """What an adapter is told: where the broker is."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap


class BaseClient:
    """Beside the verbs above:

    produce(topic, sends, codec="none", idempotent=False, acks="all", client_id=None, one_by_one=False)
        -> offsets, or None where the client does not tell them; one_by_one waits for each answer before the next
    member(group, topics, auto_commit=False, **options) -> Member; the options are `MEMBER_OPTIONS`
    reader(topic, partition, where, isolation="read_uncommitted") -> Member positioned at `where`: "beginning", "end", an
        offset, or ("time", ms)
    transactional(id, timeout_ms=60000) -> an object with begin(), send(topic, sends), send_offsets(group, topic, offsets),
        commit(), abort() and close(); fences its predecessors before it returns
    """

    # What this client has no way to do, and why: the client's rows of `absent.ABSENT`.
    absent = {}

    def __init__(self, context):
        self.context = context

    def close(self):
        pass


# What a member may be told, beside the group and its topics.
MEMBER_OPTIONS = {
    "instance": None,  # group.instance.id
    "assignor": "range",  # or "cooperative-sticky"
    "protocol": "classic",  # or "consumer" (KIP-848)
    "remote_assignor": None,  # of KIP-848
    "session_ms": 10_000,
    "isolation": "read_uncommitted",
}


class Member:
    """A consumer that keeps what it received; thread-safe for one caller."""

    def __init__(self):
        self.records = []
        self.error = None
        # Sets of partitions that it held, in turn.
        self.history = []

    def wait(self, count, timeout=30.0):
        """Waits for `count` records in all and returns them."""
        until(lambda: self._alive() and len(self.records) >= count,
              lambda: f"{count} records received, only {len(self.records)}", timeout)
        return list(self.records)

    def assignment(self):
        """The numbers of the partitions that it holds, whatever their topic."""
        return self.history[-1] if self.history else set()

    def holds(self, partitions):
        """To be told at every change."""
        held = set(partitions)
        if held != self.assignment():
            self.history.append(held)

    def _alive(self):
        if self.error:
            raise RuntimeError(f"the consumer failed: {self.error!r}")
        return True


class PollingMember(Member, threading.Thread):
    """Calls the library from one thread only: it polls, and between polls carries out what others ask.

    A subclass has `open`, `poll_records(seconds)` and `shut`, and whatever `ask` runs.
    """

    def __init__(self):
        Member.__init__(self)
        threading.Thread.__init__(self, daemon=True)
        self._asked = queue.Queue()
        self._ready = threading.Event()
        self._closing = False

    def begin(self, timeout=30.0):
        self.start()
        until(lambda: self._alive() and self._ready.is_set(), "consumer opened", timeout)
        return self

    def ask(self, function, timeout=30.0):
        """Runs `function` in the consumer's thread and returns its result."""
        box = queue.Queue()
        self._asked.put((function, box))
        until(lambda: self._alive() and not box.empty(), "the consumer's thread answered", timeout)
        value, error = box.get()
        if error:
            raise error
        return value

    def close(self, timeout=30.0):
        self._closing = True
        self.join(timeout)
        if self.is_alive():
            raise TimeoutError("the consumer did not close")

    def run(self):
        try:
            self.open()
            self._ready.set()
            while not self._closing:
                self._answer()
                self.records.extend(self.poll_records(0.1))
            self._answer()
        except Exception as error:  # told to whoever waits
            self.error = error
        finally:
            try:
                self.shut()
            except Exception as error:
                self.error = self.error or error

    def _answer(self):
        while not self._asked.empty():
            function, box = self._asked.get()
            try:
                box.put((function(), None))
            except Exception as error:
                box.put((None, error))
