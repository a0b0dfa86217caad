"""Reading.

Where a consumer begins, and what it is told of offsets.
"""

import time

from adapters.base import Send
from harness.report import same

from .cell import feature


def _filled(t):
    """Twenty records in two batches, a second apart where the client sets timestamps."""
    start = int(time.time() * 1000) - 3_600_000
    own = "timestamps" not in t.client.absent
    t.make_topic()
    for half in (range(10), range(10, 20)):
        t.client.produce(t.topic, [Send(None, b"%d" % i, 0, start + 1000 * i if own else None) for i in half])


@feature("seek to the beginning and to an offset")
def seek_offset(t):
    _filled(t)
    same([r.offset for r in t.read(t.topic, 20)], list(range(20)), "offsets from the beginning")
    same([r.offset for r in t.read(t.topic, 13, where=7)], list(range(7, 20)), "offsets from 7")


@feature("seek to the end, and back while reading", "seek")
def seek_back(t):
    _filled(t)
    reader = t.reader(t.topic, where="end")
    t.send(t.topic, [b"after"])
    same([(r.offset, r.value) for r in reader.wait(1)], [(20, b"after")], "records from the end")
    reader.seek(t.topic, 0, 18)
    same([r.offset for r in reader.wait(4)][1:], [18, 19, 20], "offsets after seeking back to 18")


@feature("seek by time", "seek_time")
def seek_time(t):
    _filled(t)
    everything = t.read(t.topic, 20)
    target = everything[12].timestamp - (500 if "timestamps" not in t.client.absent else 0)
    expected = [r.offset for r in everything if r.timestamp >= target]
    same([r.offset for r in t.read(t.topic, len(expected), where=("time", target))], expected, "offsets from a time")


@feature("list offsets: earliest, latest, by time", "list_offsets")
def list_offsets(t):
    _filled(t)
    ask = lambda where: t.client.list_offsets(topic=t.topic, partition=0, where=where)  # noqa: E731
    same((ask("earliest"), ask("latest")), (0, 20), "earliest and latest")
    if "timestamps" not in t.client.absent:
        stamp = t.read(t.topic, 13)[12].timestamp
        same((ask(stamp), ask(stamp - 1), ask(stamp + 1)), (12, 12, 13), "offsets around a timestamp")


@feature("the offset of the largest timestamp (KIP-734)", "max_timestamp", "timestamps")
def max_timestamp(t):
    t.make_topic()
    start = int(time.time() * 1000) - 60_000
    for stamp in (start, start + 5000, start + 1000):
        t.client.produce(t.topic, [Send(None, b"x", 0, stamp)])
    same(t.client.list_offsets(topic=t.topic, partition=0, where="max_timestamp"), 1, "offset")


@feature("below the log's start: auto.offset.reset", "reset", "low_watermark")
def out_of_range(t):
    _filled(t)
    t.admin.delete_records(topic=t.topic, partition=0, offset=15)
    same([r.offset for r in t.read(t.topic, 5, where=2)], [15, 16, 17, 18, 19], "offsets, asked for from 2 on")


@feature("a waiting poll ends as soon as there is something", "long_poll")
def long_poll(t):
    t.make_topic()
    t.send(t.topic, [b"0"])
    reader = t.reader(t.topic)
    reader.wait(1)
    for i in range(1, 6):
        t.admin.produce(t.topic, [Send(None, b"%d" % i, 0)])
        same(reader.wait(i + 1, 5)[-1].value, b"%d" % i, "the record that ends the wait")


@feature("many partitions of several topics at once (fetch sessions)", "groups")
def many_partitions(t):
    topics = [t.make_topic(f"-{name}", partitions=8) for name in ("one", "two", "three")]
    member = t.member(topics)
    for turn in range(3):
        for topic in topics:
            t.client.produce(topic, [Send(None, b"%s %d %d" % (topic.encode(), p, turn), p) for p in range(8)])
        member.wait(24 * (turn + 1))
    same(sorted(r.value for r in member.records),
         sorted(b"%s %d %d" % (topic.encode(), p, turn) for topic in topics for p in range(8) for turn in range(3)), "values")


@feature("the end of a leader epoch (OffsetForLeaderEpoch)", "epoch_end")
def epoch_end(t):
    _filled(t)
    same(t.client.epoch_end(topic=t.topic, partition=0, epoch=t.stored(t.topic)[0].leader_epoch), 20, "end of the epoch")
