"""Topics.

Made, looked at, changed and deleted through the client's own admin API.
"""

from harness.report import same, until

from .cell import feature


@feature("create a topic, with partitions and configs", "create_topic", "topic_configs")
def create_topic(t):
    t.client.create_topic(topic=t.topic, partitions=3, configs={"retention.ms": "12345678"})
    t.described(t.topic, 3)
    same(t.admin.describe_configs(topic=t.topic)["retention.ms"], "12345678", "retention.ms")


@feature("create what exists: refused", "create_topic")
def create_existing(t):
    t.client.create_topic(topic=t.topic, partitions=1, configs={})
    t.refused(lambda: t.client.create_topic(topic=t.topic, partitions=1, configs={}), "exist", "36")


@feature("create with a config that does not exist: refused", "create_topic", "topic_configs")
def create_unknown_config(t):
    t.refused(lambda: t.client.create_topic(topic=t.topic, partitions=1, configs={"no.such.config": "1"}), "config", "40")
    same(t.topic in t.admin.list_topics(), False, "the topic is there")


@feature("list topics", "list_topics")
def list_topics(t):
    t.make_topic("-one"), t.make_topic("-two")
    until(lambda: {t.topic + "-one", t.topic + "-two"} <= set(t.client.list_topics()), "both topics listed")


@feature("describe a topic: leader, replicas, in-sync replicas", "describe_topic")
def describe_topic(t):
    t.make_topic(partitions=2)
    broker = t.admin.describe_cluster()["brokers"]
    row = {"leader": broker[0], "replicas": broker, "isr": broker}
    until(lambda: t.client.describe_topic(topic=t.topic) == {0: row, 1: row},
          lambda: f"described as expected: {t.client.describe_topic(topic=t.topic)}")


@feature("delete a topic; made again, it is empty", "delete_topic")
def delete_topic(t):
    t.make_topic()
    t.send(t.topic, [b"gone"])
    t.client.delete_topic(topic=t.topic)
    until(lambda: t.topic not in t.admin.list_topics(), "the topic is gone")
    t.make_topic()
    t.send(t.topic, [b"new"])
    same([(r.offset, r.value) for r in t.read(t.topic, 1)], [(0, b"new")], "records of the new topic")


@feature("add partitions", "create_partitions")
def create_partitions(t):
    t.make_topic(partitions=1)
    t.client.create_partitions(topic=t.topic, total=4)
    t.described(t.topic, 4)
    t.send(t.topic, [b"in the last"], partition=3)
    same(t.values(t.topic, 1, partition=3), [b"in the last"], "values of partition 3")


@feature("describe a topic's configs: set, inherited", "describe_configs")
def describe_configs(t):
    t.make_topic(configs={"cleanup.policy": "compact"})
    found = t.client.describe_configs(topic=t.topic)
    same(found.get("cleanup.policy"), "compact", "cleanup.policy")
    # A client that asks for what is set only, as kafka-python, need not know the defaults.
    same(found.get("min.insync.replicas", "1"), "1", "min.insync.replicas")


@feature("set a topic's config", "set_configs")
def set_configs(t):
    t.make_topic()
    t.client.set_configs(topic=t.topic, configs={"retention.ms": "7654321"})
    until(lambda: t.admin.describe_configs(topic=t.topic)["retention.ms"] == "7654321", "retention.ms set")


@feature("remove a topic's config", "delete_config")
def delete_config(t):
    t.make_topic(configs={"retention.ms": "7654321", "max.message.bytes": "2000000"})
    t.client.delete_config(topic=t.topic, name="retention.ms")
    until(lambda: t.admin.describe_configs(topic=t.topic)["retention.ms"] == "604800000", "retention.ms is the default")
    same(t.admin.describe_configs(topic=t.topic)["max.message.bytes"], "2000000", "the other config")


@feature("set a config that does not exist, or a value that is none: refused", "set_configs")
def set_wrong_config(t):
    t.make_topic()
    for name, value in (("no.such.config", "1"), ("retention.ms", "soon")):
        t.refused(lambda: t.client.set_configs(topic=t.topic, configs={name: value}), "config", "40")
