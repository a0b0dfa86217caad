"""Plugins.

Bound through the client's own admin API; holes, routes and chains as the client meets them. On Tidegate only.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature

MATCH = {"tidegate.plugin.match.field": "value", "tidegate.plugin.match.op": "contains",
         "tidegate.plugin.match.value": "keep"}
PRODUCE_MATCH = {"tidegate.produce.chain": "match", **MATCH}
CONSUME_MATCH = {"tidegate.consume.chain": "match", **MATCH}


def _every(number, count):
    """Values of which each n-th passes the filter."""
    return [b"%s %d" % (b"keep" if i % number == 0 else b"lose", i) for i in range(count)]


@feature("binding what is not uploaded: refused, in words", "set_configs", plugins=True)
def binding_refused(t):
    t.make_topic()
    words = t.refused(lambda: t.client.set_configs(topic=t.topic, configs={"tidegate.produce.chain": "nosuchplugin"}))
    if "reasons" not in t.client.absent:
        same("nosuchplugin" in words and "push" in words, True, f"a sentence that helps, not: {words}")


@feature("a filter, bound when the topic is created", "create_topic", "topic_configs", plugins=True)
def bound_at_creation(t):
    """Positions and told offsets stay those of the unfiltered records."""
    t.client.create_topic(topic=t.topic, partitions=1, configs=PRODUCE_MATCH)
    values = _every(3, 120)
    t.told(t.send(t.topic, values), list(range(120)))
    same([(r.offset, r.value) for r in t.read(t.topic, 40)], [(i, values[i]) for i in range(0, 120, 3)], "what was kept")
    same(t.admin.end_offsets(t.topic, 1), {0: 120}, "end offset")


@feature("a filter, bound to a topic that is there; every codec", "set_configs", plugins=True)
def bound_later(t):
    for codec in (c for c in ("none", "gzip", "snappy", "lz4", "zstd") if c not in t.client.absent):
        topic = t.make_topic(f"-{codec}")
        t.client.set_configs(topic=topic, configs=PRODUCE_MATCH)
        values = _every(2, 60)
        t.send(topic, values, codec=codec)
        same([(r.offset, r.value) for r in t.read(topic, 30)], [(i, values[i]) for i in range(0, 60, 2)],
             f"what was kept, {codec}")


@feature("gaps in a filtered topic", plugins=True)
def filtered(t):
    t.make_topic(configs=PRODUCE_MATCH)
    values = _every(3, 120)
    t.told(t.send(t.topic, values), list(range(120)))
    same([(r.offset, r.value) for r in t.read(t.topic, 40)], [(i, values[i]) for i in range(0, 120, 3)], "what was kept")


@feature("a filtered topic, by an idempotent producer", "idempotent", plugins=True)
def filtered_idempotent(t):
    t.make_topic(configs=PRODUCE_MATCH)
    values = _every(3, 120)
    for turn in (0, 1):
        t.told(t.send(t.topic, values, idempotent=True), list(range(turn * 120, turn * 120 + 120)))
    same([(r.offset, r.value) for r in t.read(t.topic, 80)],
         [(turn * 120 + i, values[i]) for turn in (0, 1) for i in range(0, 120, 3)], "what was kept")


@feature("transactions on a filtered topic", "transactions", "read_committed", plugins=True)
def filtered_transaction(t):
    t.make_topic(configs=PRODUCE_MATCH)
    producer = t.transactional()
    for turn, end in ((b"one", producer.abort), (b"two", producer.commit)):
        producer.begin()
        producer.send(t.topic, [Send(None, turn + b" keep", 0), Send(None, turn + b" lose", 0)])
        end()
    same(t.values(t.topic, 1, isolation="read_committed"), [b"two keep"], "values")


@feature("a topic of which nothing is left: position and commits move on", plugins=True)
def all_filtered(t):
    t.make_topic(configs=PRODUCE_MATCH)
    t.send(t.topic, [b"lose %d" % i for i in range(200)])
    same(t.admin.end_offsets(t.topic, 1), {0: 200}, "end offset")
    reading = t.reader(t.topic) if "groups" in t.client.absent else t.member([t.topic], auto_commit=True)
    if "groups" not in t.client.absent:
        until(lambda: reading._alive() and reading.position(t.topic, 0) in (None, 200),
              lambda: f"position 200: {reading.position(t.topic, 0)}")
        if "commits_gaps" not in t.client.absent:
            t.committed(t.topic, {0: 200})
    t.send(t.topic, [b"keep after all"])
    same([(r.offset, r.value) for r in reading.wait(1)], [(200, b"keep after all")], "what comes after the gap")


@feature("a consume chain", plugins=True)
def consume_chain(t):
    t.make_topic()
    values = _every(4, 100)
    t.send(t.topic, values, codec="gzip" if "gzip" not in t.client.absent else "none")
    same(t.values(t.topic, 100), values, "values before")
    t.admin.set_configs(topic=t.topic, configs=CONSUME_MATCH)
    same([(r.offset, r.value) for r in t.read(t.topic, 25)], [(i, values[i]) for i in range(0, 100, 4)], "values after")
    same(t.admin.end_offsets(t.topic, 1), {0: 100}, "end offset")


@feature("routes", "keys", plugins=True)
def routed(t):
    eu, us = t.make_topic("-eu"), t.make_topic("-us")
    t.make_topic(configs={
        "tidegate.produce.chain": "route", "tidegate.plugin.route.field": "key",
        "tidegate.plugin.route.table": f"eu={eu};us={us}", "tidegate.plugin.route.default": "keep",
        "tidegate.plugin.route.mode": "move"})
    keys = [(b"eu", b"us", b"asia")[i % 3] for i in range(90)]
    t.client.produce(t.topic, [Send(key, b"order %d" % i, 0) for i, key in enumerate(keys)])
    for topic, key in ((eu, b"eu"), (us, b"us"), (t.topic, b"asia")):
        same([(r.key, r.value) for r in t.read(topic, 30)],
             [(k, b"order %d" % i) for i, k in enumerate(keys) if k == key], f"records of {topic}")
    same(t.admin.end_offsets(eu, 1), {0: 30}, "a target is dense")
