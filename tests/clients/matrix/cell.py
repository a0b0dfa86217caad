"""What a feature of the matrix is, and what its function is given."""

import collections
import sys

from adapters.base import Send
from harness import wire
from harness.report import same, until

# `needs` are the capabilities without which a client has no such feature (adapters/absent.py); `plugins`: on Tidegate only;
# `alone`: not beside other cells, since it disturbs them.
Feature = collections.namedtuple("Feature", "name chapter title needs plugins alone run")
FEATURES = []

# Without these APIs (as ApiVersions tells them) the broker has no such feature either.
APIS = {
    "create_topic": 19, "delete_topic": 20, "delete_records": 21, "create_partitions": 37, "describe_configs": 32,
    "describe_broker_configs": 32, "delete_config": 44, "log_dirs": 35, "elect_leader": 43, "reassign": 45,
    "describe_producers": 61, "epoch_end": 23, "list_groups": 16, "describe_group": 15, "delete_group": 42,
    "delete_offsets": 47, "set_quota": 49, "one_by_one": 49, "idempotent": 22, "transactions": 24, "list_transactions": 66,
    "consumer_protocol": 68, "describe_consumer_group": 69, "features": 68, "low_watermark": 21,
}


def feature(title, *needs, plugins=False, alone=False):
    """Declares a row of the matrix; the module it stands in is its chapter, the first line of whose text is the heading."""
    def declare(function):
        chapter = sys.modules[function.__module__].__doc__.splitlines()[0].rstrip(".")
        FEATURES.append(Feature(function.__name__, chapter, title, needs, plugins, alone, function))
        return function
    return declare


class Cell:
    """One feature with one client on one broker: names of its own, shortcuts, and the consumers that it must close.

    `client` is under test. `admin` is another client, the same for all, which prepares what the client cannot and looks at
    what it did. `broker` is the process (`harness.process.Server`), `cli` runs `tidegate`.
    """

    def __init__(self, feature, client, admin, broker):
        self.client, self.admin, self.broker = client, admin, broker
        self.name = feature.name.replace("_", "-")
        self.group = f"{self.name}-group"
        self.topic = self.name
        self.closing = []

    def make_topic(self, suffix="", partitions=1, configs=None):
        name = self.topic + suffix
        self.admin.create_topic(topic=name, partitions=partitions, configs=configs or {})
        self.described(name, partitions)
        return name

    def described(self, topic, partitions):
        """Waits until the broker knows these partitions and their leaders: Apache Kafka answers a creation before."""
        self.eventually(lambda: [p["leader"] >= 0 for p in self.admin.describe_topic(topic=topic).values()]
                        == [True] * partitions, f"{topic} has {partitions} partitions with leaders")

    def eventually(self, condition, what, timeout=60.0):
        """Waits for a condition that also errors for a while, as when a broker restarts."""
        errors = []

        def holds():
            try:
                return condition()
            except Exception as error:
                errors.append(error)
                return False
        until(holds, lambda: f"{what() if callable(what) else what}; last error: {errors[-1:]}", timeout)

    def send(self, topic, values, partition=0, **options):
        """Produces values without keys and returns the offsets that the producer was told, or None."""
        return self.client.produce(topic, [Send(None, value, partition) for value in values], **options)

    def member(self, topics, group=None, **options):
        return self._opened(self.client.member(group or self.group, topics, **options))

    def reader(self, topic, partition=0, where="beginning", **options):
        return self._opened(self.client.reader(topic, partition, where, **options))

    def transactional(self, suffix="", **options):
        return self._opened(self.client.transactional(self.name + suffix, **options))

    def read(self, topic, count, partition=0, where="beginning", timeout=30.0, **options):
        """The first `count` records from there on; whatever else had arrived by then comes with them."""
        reader = self.client.reader(topic, partition, where, **options)
        try:
            return reader.wait(count, timeout)
        finally:
            reader.close()

    def values(self, topic, count, **options):
        return [record.value for record in self.read(topic, count, **options)]

    def stored(self, topic, partition=0):
        """The batches of a partition as they are stored."""
        with wire.Connection(self.broker.port) as raw:
            return wire.fetch(raw, topic, partition, 0)[2]

    def seen(self, topic, partition=0):
        """All that is left of a partition whose last record is still there, through the client that is not under test."""
        last = self.admin.end_offsets(topic, partition + 1)[partition] - 1
        reader = self.admin.reader(topic, partition, "beginning")
        try:
            until(lambda: reader._alive() and reader.records and reader.records[-1].offset >= last, "read to the end")
            return list(reader.records)
        finally:
            reader.close()

    def quota(self, rate):
        """Gives the client id of this cell so many bytes a second to produce, or with None no quota."""
        with wire.Connection(self.broker.port) as raw:
            wire.set_quota(raw, self.name, "producer_byte_rate", rate)

    def told(self, offsets, expected):
        if offsets is not None:
            same(offsets, expected, "offsets that the producer was told")

    def refused(self, action, *words):
        """Raises unless `action` fails, in words that contain one of these (where the client hands the broker's on)."""
        try:
            action()
        except Exception as error:
            self.says(error, *words)
            return str(error)
        raise AssertionError("was not refused")

    @staticmethod
    def says(error, *words):
        """Raises unless the error has one of these words. aiokafka knows no code above 84 and says so."""
        if words and not any(word in str(error).lower() for word in (*words, "unknownerror")):
            raise AssertionError(f"refused, but not with one of {', '.join(words)}: {error}") from error

    def committed(self, topic, expected, group=None, timeout=30.0):
        """Waits until the coordinator has these offsets for the group."""
        group = group or self.group
        seen = []

        def there():
            seen.append(self.admin.committed(group=group, topic=topic))
            return seen[-1] == expected
        self.eventually(there, lambda: f"committed {expected}: {seen[-1:]}", timeout)

    def shared(self, members, partitions, timeout=60.0):
        """Waits until the members have every partition among them, each some and none twice."""
        def split():
            held = [member.assignment() for member in members if member._alive()]
            return all(held) and sum(map(len, held)) == partitions and set().union(*held) == set(range(partitions))
        until(split, lambda: f"{len(members)} members share {partitions} partitions: {[m.assignment() for m in members]}",
              timeout)

    def close(self):
        """Closes what is open; the first thing that does not close is an error."""
        errors = []
        for one in reversed(self.closing):
            try:
                if not getattr(one, "closed", False):
                    one.close()
            except Exception as error:
                errors.append(error)
        self.closing = []
        if errors:
            raise errors[0]

    def _opened(self, one):
        self.closing.append(one)
        return one
