"""Cluster and replicas.

What one node answers about itself: some of it is simple there, and must still be said as Kafka says it.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature


@feature("describe the cluster", "describe_cluster")
def describe_cluster(t):
    found, expected = t.client.describe_cluster(), t.admin.describe_cluster()
    same(found["brokers"], expected["brokers"], "broker ids")
    same(found.get("cluster", expected["cluster"]), expected["cluster"], "cluster id")
    same(found["controller"] in expected["brokers"], True, f"controller {found['controller']} is a broker")


@feature("describe the broker's configs", "describe_broker_configs")
def describe_broker_configs(t):
    found = t.client.describe_broker_configs()
    for name, value in (("num.partitions", "1"), ("group.initial.rebalance.delay.ms", "300")):
        # kafka-python asks for what is set only.
        same(found.get(name, value), value, name)
    same(bool(found), True, "there are any")


@feature("describe log directories, with sizes", "log_dirs")
def log_dirs(t):
    t.make_topic(partitions=2)
    t.client.produce(t.topic, [Send(None, bytes(range(256)) * 400, 1)])
    until(lambda: _sized(t.client.log_dirs(topic=t.topic)),
          lambda: f"0 bytes and something above 100 KB: {t.client.log_dirs(topic=t.topic)}")


def _sized(found):
    return sorted(found) == [0, 1] and found[0] < 1000 and 100_000 < found[1] < 200_000


@feature("describe features: transaction.version and group.version", "features")
def features(t):
    found = t.client.features()
    same((found.get("transaction.version"), found.get("group.version")), (2, 1), "finalized levels")


@feature("elect the preferred leader", "elect_leader")
def elect_leader(t):
    t.make_topic()
    said = t.client.elect_leader(topic=t.topic, partition=0)
    same("not needed" in said.lower().replace("_", " ") or "notneeded" in said.lower() or said in ("", "84"), True,
         f"nothing to do, rather than: {said}")


@feature("reassign replicas, list reassignments", "reassign")
def reassign(t):
    t.make_topic()
    brokers = t.admin.describe_cluster()["brokers"]
    t.client.reassign(topic=t.topic, partition=0, replicas=brokers)
    until(lambda: not t.client.list_reassignments(), "nothing is on its way")
    t.refused(lambda: t.client.reassign(topic=t.topic, partition=0, replicas=[12345]), "replica", "39")


@feature("delete records up to an offset", "delete_records")
def delete_records(t):
    t.make_topic()
    for value in (b"0", b"1", b"2", b"3", b"4"):
        t.send(t.topic, [value])
    same(t.client.delete_records(topic=t.topic, partition=0, offset=3) in (3, None), True, "low watermark")
    same([r.offset for r in t.read(t.topic, 2)], [3, 4], "offsets from the beginning")


@feature("describe the producers of a partition", "describe_producers", "idempotent")
def describe_producers(t):
    t.make_topic()
    t.send(t.topic, [b"0", b"1"], idempotent=True)
    same(t.client.describe_producers(topic=t.topic, partition=0), [t.stored(t.topic)[0].producer_id], "producer ids")


@feature("set, describe and remove a client's quota", "set_quota", alone=True)
def set_quota(t):
    t.client.set_quota(client_id=t.name, quotas={"producer_byte_rate": 54321.0, "consumer_byte_rate": 65432.0})
    until(lambda: t.client.describe_quota(client_id=t.name) ==
          {"producer_byte_rate": 54321.0, "consumer_byte_rate": 65432.0},
          lambda: f"quotas described: {t.client.describe_quota(client_id=t.name)}")
    t.client.set_quota(client_id=t.name, quotas={"producer_byte_rate": None, "consumer_byte_rate": None})
    until(lambda: not t.client.describe_quota(client_id=t.name), "no quota is left")
