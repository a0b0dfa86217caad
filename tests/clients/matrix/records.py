"""Records.

What a producer sends is what a consumer gets.
"""

import time

from adapters.base import Send
from harness import wire
from harness.report import same, until

from .cell import feature

LARGE = 3_000_000


def _codec(t, codec):
    t.make_topic(partitions=2)
    sends = [Send(f"k{i}".encode(), f"value {i} ".encode() * 20, i // 50) for i in range(100)]
    t.told(t.client.produce(t.topic, sends, codec=codec), [i % 50 for i in range(100)])
    for partition in (0, 1):
        same([(r.offset, r.key, r.value) for r in t.read(t.topic, 50, partition)],
             [(i, s.key, s.value) for i, s in enumerate(sends[partition * 50:][:50])], "records")
    batches = t.stored(t.topic)
    same({b.codec for b in batches}, {wire.CODECS[codec]}, "codec of the stored batches")
    same([b.crc_holds() for b in batches], [True] * len(batches), "CRC of the stored batches")


@feature("produce and read back, uncompressed")
def codec_none(t):
    _codec(t, "none")


@feature("gzip", "gzip")
def codec_gzip(t):
    _codec(t, "gzip")


@feature("snappy", "snappy")
def codec_snappy(t):
    _codec(t, "snappy")


@feature("lz4", "lz4")
def codec_lz4(t):
    _codec(t, "lz4")


@feature("zstd", "zstd")
def codec_zstd(t):
    _codec(t, "zstd")


@feature("a topic's own codec (compression.type)")
def topic_codec(t):
    t.make_topic(configs={"compression.type": "zstd"})
    values = [b"%d " % i * 50 for i in range(50)]
    t.send(t.topic, values)
    same({b.codec for b in t.stored(t.topic)}, {wire.CODECS["zstd"]}, "codec of the stored batches")
    if "zstd" not in t.client.absent:
        same(t.values(t.topic, 50), values, "values")


@feature("headers, one of them twice", "headers")
def headers(t):
    t.make_topic()
    given = (("trace", b"one"), ("trace", b"two"), ("other", b"\xc3\xa9"))
    t.client.produce(t.topic, [Send(b"k", b"with", 0, headers=given), Send(b"k", b"without", 0)])
    # Some clients keep them by name.
    same([sorted(r.headers) for r in t.read(t.topic, 2)], [sorted(given), []], "headers")


@feature("null and empty keys and values", "empty_values")
def nulls(t):
    t.make_topic()
    pairs = [(None, b"value"), (b"key", None), (b"", b""), (None, b"")]
    t.client.produce(t.topic, [Send(key, value, 0) for key, value in pairs])
    same([(r.key, r.value) for r in t.read(t.topic, 4)], pairs, "keys and values")


@feature("a key's records keep their partition and order", "keys")
def keyed(t):
    t.make_topic(partitions=4)
    sends = [Send(b"key %d" % (i % 10), b"%d" % i, None) for i in range(100)]
    t.client.produce(t.topic, sends)
    found = {}
    for partition, end in t.admin.end_offsets(t.topic, 4).items():
        for record in t.read(t.topic, end, partition) if end else []:
            found.setdefault(record.key, []).append((record.partition, record.value))
    same({key: [value for _, value in rows] for key, rows in found.items()},
         {b"key %d" % k: [b"%d" % i for i in range(k, 100, 10)] for k in range(10)}, "values of each key, in order")
    same([len({partition for partition, _ in rows}) for rows in found.values()], [1] * 10, "partitions of each key")


@feature("a record of 3 MB, where the topic allows it", "large")
def large(t):
    t.make_topic(configs={"max.message.bytes": "4000000"})
    value = bytes(range(256)) * (LARGE // 256)
    t.send(t.topic, [b"small", value, b"small too"])
    same([len(r.value) for r in t.read(t.topic, 3)], [5, len(value), 9], "sizes")


@feature("a record above max.message.bytes: refused", "large")
def too_large(t):
    t.make_topic(configs={"max.message.bytes": "100000"})
    t.refused(lambda: t.send(t.topic, [bytes(200_000)]), "large", "size", "10")
    t.send(t.topic, [b"fits"])
    same([(r.offset, r.value) for r in t.read(t.topic, 1)], [(0, b"fits")], "records")


@feature("timestamps of the producer", "timestamps")
def create_time(t):
    t.make_topic()
    start = int(time.time() * 1000) - 86_400_000
    t.client.produce(t.topic, [Send(None, b"%d" % i, 0, start + 1000 * i) for i in range(10)])
    same([r.timestamp for r in t.read(t.topic, 10)], [start + 1000 * i for i in range(10)], "timestamps")


@feature("timestamps of the broker (message.timestamp.type)")
def log_append_time(t):
    t.make_topic(configs={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    stamp = before - 86_400_000 if "timestamps" not in t.client.absent else None
    t.client.produce(t.topic, [Send(None, b"x", 0, stamp)])
    found = t.read(t.topic, 1)[0].timestamp
    same(before - 1000 <= found <= int(time.time() * 1000) + 1000, True, f"{found} is the time of the append")


@feature("acks=1 and acks=0", "acks")
def acks(t):
    t.make_topic()
    t.send(t.topic, [b"%d" % i for i in range(10)], acks="1")
    t.send(t.topic, [b"%d" % i for i in range(10, 20)], acks="0")
    same(t.values(t.topic, 20), [b"%d" % i for i in range(20)], "values")


@feature("idempotent producer", "idempotent")
def idempotent(t):
    t.make_topic()
    values = [b"%d" % i * 50 for i in range(500)]
    t.told(t.send(t.topic, values[:200], idempotent=True), list(range(200)))
    t.told(t.send(t.topic, values[200:], idempotent=True), list(range(200, 500)))
    same(t.values(t.topic, 500), values, "values")
    first = t.stored(t.topic)[0]
    same((first.producer_id >= 0, first.base_sequence), (True, 0), "a producer id, and its first sequence")


@feature("a producer above its quota is slowed down", "one_by_one", alone=True)
def quota_enforced(t):
    """At 20 kB/s a window of ten seconds lets 200 kB through; what is sent beyond that waits."""
    t.make_topic()
    t.quota(20_000)
    started = time.monotonic()
    t.send(t.topic, [bytes(20_000)] * 15, client_id=t.name, one_by_one=True)
    took = time.monotonic() - started
    t.quota(None)
    same(took > 2.0, True, f"300 kB took {took:.1f} s, more than two")
    until(lambda: t.admin.end_offsets(t.topic, 1) == {0: 15}, "all records arrived")
