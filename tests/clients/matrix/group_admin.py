"""Groups from outside.

What admin clients see and change of a group.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature


def _group(t, offset=4):
    """A group without members that has committed an offset, through the same client for all."""
    t.make_topic(partitions=2)
    t.admin.produce(t.topic, [Send(None, b"%d" % i, 0) for i in range(10)])
    t.admin.alter_offsets(group=t.group, topic=t.topic, offsets={0: offset, 1: 0})


@feature("list groups", "list_groups")
def list_groups(t):
    _group(t)
    until(lambda: t.group in t.client.list_groups(), "the group is listed")


@feature("describe a group and its members", "describe_group", "groups")
def describe_group(t):
    t.make_topic()
    member = t.member([t.topic])
    until(lambda: member.assignment() == {0}, "the member has its partition")
    until(lambda: t.client.describe_group(group=t.group) == {"state": "Stable", "members": 1},
          lambda: f"stable, one member: {t.client.describe_group(group=t.group)}")


@feature("describe a KIP-848 group", "describe_group", "consumer_protocol", "describe_consumer_group")
def describe_consumer_group(t):
    t.make_topic()
    member = t.member([t.topic], protocol="consumer")
    until(lambda: member.assignment() == {0}, "the member has its partition")
    until(lambda: t.client.describe_group(group=t.group) == {"state": "Stable", "members": 1},
          lambda: f"stable, one member: {t.client.describe_group(group=t.group)}")


@feature("a group's committed offsets", "committed")
def committed(t):
    _group(t)
    same(t.client.committed(group=t.group, topic=t.topic), {0: 4, 1: 0}, "offsets")


@feature("set a group's offsets", "alter_offsets")
def alter_offsets(t):
    _group(t)
    t.client.alter_offsets(group=t.group, topic=t.topic, offsets={0: 7, 1: 0})
    t.committed(t.topic, {0: 7, 1: 0})
    if "groups" not in t.client.absent:
        same([r.offset for r in t.member([t.topic]).wait(3)], [7, 8, 9], "offsets that a member reads from there")


@feature("delete a group's offsets", "delete_offsets")
def delete_offsets(t):
    _group(t)
    t.client.delete_offsets(group=t.group, topic=t.topic, partitions=[1])
    t.committed(t.topic, {0: 4})


@feature("delete a group", "delete_group")
def delete_group(t):
    _group(t)
    t.client.delete_group(group=t.group)
    until(lambda: t.group not in t.admin.list_groups(), "the group is gone")
    same(t.admin.committed(group=t.group, topic=t.topic), {}, "its offsets")


@feature("delete a group that has members: refused", "delete_group", "groups")
def delete_busy_group(t):
    t.make_topic()
    member = t.member([t.topic])
    until(lambda: member.assignment() == {0}, "the member has its partition")
    t.refused(lambda: t.client.delete_group(group=t.group), "empty", "68")
