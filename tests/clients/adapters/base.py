"""The verbs of the scenario, and the thread in which a polling consumer lives."""

import collections
import queue
import threading

from harness.report import until

Record = collections.namedtuple("Record", "topic partition offset timestamp key value headers")
# What a producer is given; `timestamp` None = now, `partition` None = the client's partitioner.
Send = collections.namedtuple("Send", "key value partition timestamp headers", defaults=(0, None, ()))


class Context:
    """What an adapter is told: where the broker is, and how to run `tidegate` against it (None on another broker)."""

    def __init__(self, bootstrap, cli=None):
        self.bootstrap = bootstrap
        self.cli = cli


class BaseClient:
    """What the scenario calls.

    produce(topic, sends, codec, idempotent) -> offsets, or None where the client does not tell them
    member(group, topics, auto_commit) -> Member;  reader(topic, partition, where) -> Member positioned at `where`:
    "beginning", "end", an offset, or ("time", ms)
    """

    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    idempotent = True
    # kcat has no flag for a record's timestamp.
    sets_timestamps = True
    # Whether a group's automatic commits move through a gap in which nothing is received.
    commits_gaps = True
    # kafkajs has its own sentence for each error code and drops the broker's.
    tells_reasons = True

    def __init__(self, context):
        self.context = context

    def close(self):
        pass


class Member:
    """A consumer that keeps what it received; thread-safe for one caller."""

    def __init__(self):
        self.records = []
        self.error = None

    def wait(self, count, timeout=30.0):
        """Waits for `count` records in all and returns them."""
        until(lambda: self._alive() and len(self.records) >= count,
              lambda: f"{count} records received, only {len(self.records)}", timeout)
        return list(self.records)

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
