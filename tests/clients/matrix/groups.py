"""Consumer groups.

Classic groups and those of KIP-848.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature

PARTITIONS = 4


def _spread(t, start, end):
    t.client.produce(t.topic, [Send(None, v, p) for p in range(PARTITIONS) for v in _values_of(p, start, end)])


def _values_of(partition, start, end):
    return [b"p%d n%d" % (partition, i) for i in range(start, end)]


def _values(start, end):
    return sorted(v for p in range(PARTITIONS) for v in _values_of(p, start, end))


def _pair(t, **options):
    """Two members share what is there, commit and leave; a third one goes on where they were."""
    t.make_topic(partitions=PARTITIONS)
    members = [t.member([t.topic], **options) for _ in range(2)]
    one, two = members
    t.shared(members, PARTITIONS)
    _spread(t, 0, 25)
    until(lambda: one._alive() and two._alive() and len(one.records) + len(two.records) >= 100,
          lambda: f"100 records, got {len(one.records)} + {len(two.records)}")
    same(sorted(r.value for r in one.records + two.records), _values(0, 25), "values")
    same(min(len(one.records), len(two.records)) > 0, True, "both members got some")
    for member in members:
        in_order = {}
        for record in member.records:
            in_order.setdefault(record.partition, []).append(record.offset)
        same(in_order, {p: list(range(25)) for p in in_order}, "offsets of a member")
        member.commit()
    t.committed(t.topic, {p: 25 for p in range(PARTITIONS)})
    t.close()
    _spread(t, 25, 30)
    resumed = t.member([t.topic], **options)
    same(sorted(r.value for r in resumed.wait(20, 60)), _values(25, 30), "values after the resume")
    until(lambda: resumed.assignment() == set(range(PARTITIONS)), "one member has every partition")


@feature("classic group: two members, commit, resume", "groups")
def classic_pair(t):
    _pair(t)


@feature("one member, several topics", "groups")
def several_topics(t):
    topics = [t.make_topic(f"-{name}", partitions=2) for name in ("one", "two")]
    for topic in topics:
        t.client.produce(topic, [Send(None, topic.encode() + b" %d" % i, i % 2) for i in range(10)])
    member = t.member(topics)
    member.wait(20)
    same(sorted(r.value for r in member.records), sorted(b"%s %d" % (topic.encode(), i) for topic in topics for i in range(10)),
         "values")
    if "commits" in t.client.absent:
        return
    member.commit()
    for topic in topics:
        t.committed(topic, {0: 5, 1: 5})


@feature("automatic commits", "groups")
def auto_commit(t):
    t.make_topic()
    t.send(t.topic, [b"%d" % i for i in range(10)])
    t.member([t.topic], auto_commit=True).wait(10)
    t.committed(t.topic, {0: 10})


@feature("static members: back without a rebalance (KIP-345)", "static_members")
def static_member(t):
    t.make_topic(partitions=2)
    one, two = (t.member([t.topic], instance=f"instance-{i}", session_ms=30_000) for i in "ab")
    t.shared([one, two], 2)
    kept, given_back = one.assignment(), two.assignment()
    changes = len(one.history)
    two.close()
    two.closed = True
    back = t.member([t.topic], instance="instance-b", session_ms=30_000)
    until(lambda: back.assignment() == given_back, lambda: f"{given_back} given back: {back.assignment()}")
    t.client.produce(t.topic, [Send(None, b"x", p) for p in (0, 1)])
    one.wait(1), back.wait(1)
    same((one.assignment(), one.history[changes:]), (kept, []), "the other member's partitions, and changes to them")


@feature("static members: the older of two is fenced", "static_members", "fenced_members")
def static_fenced(t):
    t.make_topic()
    one = t.member([t.topic], instance="twin")
    until(lambda: one.assignment() == {0}, "the first has the partition")
    two = t.member([t.topic], instance="twin")
    until(lambda: one.error, "the first is told that it is fenced", 30)
    t.says(one.error, "fenc", "instance")
    one.closed = True
    until(lambda: two.assignment() == {0}, "the second has the partition")


@feature("cooperative rebalancing: what stays is not given up (KIP-429)", "cooperative")
def cooperative(t):
    t.make_topic(partitions=4)
    one = t.member([t.topic], assignor="cooperative-sticky")
    until(lambda: one.assignment() == {0, 1, 2, 3}, lambda: f"the first has all: {one.assignment()}")
    changes = len(one.history)
    two = t.member([t.topic], assignor="cooperative-sticky")
    t.shared([one, two], 4)
    kept = one.assignment()
    same([kept - held for held in one.history[changes:]], [set()] * len(one.history[changes:]), "given up in between")


@feature("KIP-848 group: two members, commit, resume", "consumer_protocol")
def consumer_pair(t):
    _pair(t, protocol="consumer")
    same(t.admin.group_type(group=t.group), "consumer", "type of the group")


@feature("KIP-848: the assignor range, chosen by the member", "consumer_protocol", "remote_assignor")
def consumer_range(t):
    topics = [t.make_topic(f"-{name}", partitions=3) for name in ("one", "two")]
    one, two = (t.member(topics, protocol="consumer", remote_assignor="range") for _ in range(2))
    # Of each topic the first member gets two partitions: range goes topic by topic, uniform would give three to each.
    until(lambda: one._alive() and two._alive() and sorted((one.assignment(), two.assignment()), key=len)
          == [{2}, {0, 1}], lambda: f"partitions {{0, 1}} and {{2}}: {one.assignment()} and {two.assignment()}", 60)


@feature("KIP-848: static members", "consumer_protocol", "static_members")
def consumer_static(t):
    t.make_topic(partitions=2)
    one, two = (t.member([t.topic], protocol="consumer", instance=f"instance-{i}") for i in "ab")
    t.shared([one, two], 2)
    given_back = two.assignment()
    two.close()
    two.closed = True
    back = t.member([t.topic], protocol="consumer", instance="instance-b")
    until(lambda: back.assignment() == given_back, lambda: f"{given_back} given back: {back.assignment()}", 60)


@feature("online migration: a classic and a KIP-848 member in one group", "consumer_protocol")
def migration(t):
    t.make_topic(partitions=PARTITIONS)
    old = t.member([t.topic])
    until(lambda: len(old.assignment()) == PARTITIONS, "the classic member has every partition")
    _spread(t, 0, 5)
    old.wait(20)
    old.commit()
    new = t.member([t.topic], protocol="consumer")
    t.shared([old, new], PARTITIONS, 90)
    old.close()
    old.closed = True
    until(lambda: len(new.assignment()) == PARTITIONS, "the new member has every partition", 60)
    _spread(t, 5, 10)
    until(lambda: set(_values(5, 10)) <= {r.value for r in new.records} and new._alive(), "the new member reads on", 60)
