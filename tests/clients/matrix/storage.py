"""What the log keeps.

Compaction and retention, as a consumer sees them.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature

# Segments that end soon, so that Apache Kafka too cleans what is not the newest.
SOON = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"}


@feature("compaction: the last value of a key stays, tombstones delete", "keys")
def compaction(t):
    t.make_topic(configs={"cleanup.policy": "compact", **SOON})
    t.client.produce(t.topic, [Send(b"a", b"1", 0), Send(b"b", b"1", 0), Send(b"c", b"1", 0), Send(b"a", b"2", 0)])
    t.client.produce(t.topic, [Send(b"b", None, 0), Send(b"a", b"3", 0), Send(b"d", b"1", 0)])

    def cleaned():
        # What was written last is not cleaned; it makes the segment before it one that is.
        t.client.produce(t.topic, [Send(b"end", b"end", 0)])
        return [(r.key, r.value) for r in t.seen(t.topic) if r.key != b"end"] == [(b"c", b"1"), (b"a", b"3"), (b"d", b"1")]
    until(cleaned, "only the last value of each key is left", 60)
    found = [(r.offset, r.key, r.value) for r in t.read(t.topic, 4) if r.key != b"end"]
    same(found, [(2, b"c", b"1"), (5, b"a", b"3"), (6, b"d", b"1")], "what the client reads")


@feature("a null key on a compacted topic: refused")
def compacted_null_key(t):
    t.make_topic(configs={"cleanup.policy": "compact"})
    t.refused(lambda: t.send(t.topic, [b"without a key"]), "record", "87", "key")


@feature("retention by time moves the log's start")
def retention(t):
    t.make_topic(configs={"retention.ms": "1000", "segment.ms": "100"})
    t.send(t.topic, [b"old"] * 3)
    until(lambda: t.admin.list_offsets(topic=t.topic, partition=0, where="earliest") == 3, "the old records are gone", 60)
    # The second that they lived would be too short for a client that takes its time.
    t.admin.set_configs(topic=t.topic, configs={"retention.ms": "600000"})
    t.send(t.topic, [b"new"])
    same([(r.offset, r.value) for r in t.read(t.topic, 1)], [(3, b"new")], "records")
