"""Transactions.

Commit, abort and fencing as consumers see them.
"""

from adapters.base import Send
from harness.report import same, until

from .cell import feature

COMMITTED = {"isolation": "read_committed"}


def _send(producer, topic, *values):
    producer.send(topic, [Send(None, value, 0) for value in values])


@feature("commit: seen as a whole, by read_committed too", "transactions")
def commit(t):
    t.make_topic()
    producer = t.transactional()
    for turn in (b"one", b"two"):
        producer.begin()
        _send(producer, t.topic, turn + b" a", turn + b" b")
        producer.commit()
    same(t.values(t.topic, 4, **COMMITTED), [b"one a", b"one b", b"two a", b"two b"], "values")


@feature("abort: read_committed sees nothing of it", "transactions", "read_committed")
def abort(t):
    t.make_topic()
    producer = t.transactional()
    producer.begin()
    _send(producer, t.topic, b"lost", b"lost too")
    producer.abort()
    producer.begin()
    _send(producer, t.topic, b"kept")
    producer.commit()
    same(t.values(t.topic, 1, **COMMITTED), [b"kept"], "values for read_committed")
    same(t.values(t.topic, 3), [b"lost", b"lost too", b"kept"], "values for read_uncommitted")


@feature("an open transaction holds read_committed back", "transactions", "read_committed")
def open_transaction(t):
    t.make_topic()
    producer = t.transactional()
    producer.begin()
    _send(producer, t.topic, b"open")
    t.send(t.topic, [b"outside"])
    same(t.values(t.topic, 2), [b"open", b"outside"], "values for read_uncommitted")
    reader = t.reader(t.topic, **COMMITTED)
    t.send(t.topic, [b"outside too"])
    same([r.value for r in reader.records], [], "values for read_committed while it is open")
    producer.commit()
    same([r.value for r in reader.wait(3)], [b"open", b"outside", b"outside too"], "values when it has ended")


@feature("several partitions and topics in one transaction", "transactions")
def several_partitions(t):
    topics = [t.make_topic(f"-{name}", partitions=2) for name in ("one", "two")]
    producer = t.transactional()
    producer.begin()
    for topic in topics:
        producer.send(topic, [Send(None, b"%d" % p, p) for p in (0, 1)])
    producer.commit()
    for topic in topics:
        for partition in (0, 1):
            same(t.values(topic, 1, partition=partition, **COMMITTED), [b"%d" % partition], "values")


@feature("fencing: the older of two producers is refused", "transactions", "fencing")
def fencing(t):
    t.make_topic()
    old = t.transactional()
    old.begin()
    _send(old, t.topic, b"of the old one")
    new = t.transactional()
    new.begin()
    _send(new, t.topic, b"of the new one")
    new.commit()

    def go_on():
        _send(old, t.topic, b"too late")
        old.commit()
    t.refused(go_on, "fenc", "epoch", "47", "90")
    old.closed = True
    same(t.values(t.topic, 1, **COMMITTED), [b"of the new one"], "values")


@feature("offsets in a transaction (sendOffsetsToTransaction)", "transactions", "send_offsets")
def send_offsets(t):
    source, target = t.make_topic("-source"), t.make_topic("-target")
    t.send(source, [b"0", b"1", b"2"])
    producer = t.transactional()
    producer.begin()
    _send(producer, target, b"dropped")
    producer.send_offsets(t.group, source, {0: 1})
    producer.abort()
    same(t.admin.committed(group=t.group, topic=source), {}, "offsets after the abort")
    producer.begin()
    _send(producer, target, b"kept")
    producer.send_offsets(t.group, source, {0: 2})
    producer.commit()
    t.committed(source, {0: 2})
    same(t.values(target, 1, **COMMITTED), [b"kept"], "values")


@feature("a transaction that takes too long is aborted", "transactions", "transaction_timeout")
def transaction_timeout(t):
    t.make_topic()
    producer = t.transactional(timeout_ms=1500)
    producer.begin()
    _send(producer, t.topic, b"late")
    t.send(t.topic, [b"outside"])
    same(t.values(t.topic, 1, timeout=30, **COMMITTED), [b"outside"], "values once the broker has aborted it")
    t.refused(producer.commit)
    producer.closed = True


@feature("list and describe transactions", "list_transactions", "transactions")
def list_transactions(t):
    t.make_topic()
    producer = t.transactional()
    producer.begin()
    _send(producer, t.topic, b"open")
    until(lambda: t.client.list_transactions().get(t.name) == "Ongoing",
          lambda: f"listed as ongoing: {t.client.list_transactions().get(t.name)}")
    same(t.client.describe_transaction(transaction=t.name), {"state": "Ongoing", "partitions": [f"{t.topic}-0"]}, "described as")
    producer.commit()
    until(lambda: t.client.list_transactions().get(t.name) == "CompleteCommit", "listed as committed")
