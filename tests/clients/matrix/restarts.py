"""Restarts.

A broker that stops and starts again gives every partition a new leader epoch. Nothing but the client under test looks while
the broker is away: librdkafka 2.16's admin client may end the process then.
"""

from harness.report import same

from .cell import feature


@feature("a consumer goes on after a restart, in a new leader epoch", alone=True)
def reader_restart(t):
    t.make_topic()
    t.send(t.topic, [b"before"])
    reader = t.reader(t.topic)
    reader.wait(1)
    epoch = t.stored(t.topic)[0].leader_epoch
    t.broker.restart()
    t.send(t.topic, [b"after"])
    same([(r.offset, r.value) for r in reader.wait(2, 60)], [(0, b"before"), (1, b"after")], "records")
    same(t.stored(t.topic)[1].leader_epoch > epoch, True, "a new leader epoch")


@feature("a group goes on after a restart where it was", "groups", alone=True)
def group_restart(t):
    t.make_topic()
    t.send(t.topic, [b"before"])
    member = t.member([t.topic], auto_commit=True)
    member.wait(1)
    t.committed(t.topic, {0: 1})
    t.broker.restart()
    t.send(t.topic, [b"after"])
    same([r.value for r in member.wait(2, 60)], [b"before", b"after"], "values")
    t.committed(t.topic, {0: 2})
