"""Disk space comes back, as `du` counts it: retention by size and by time, DeleteRecords, topic deletion, and the deletion of a
topic whose batches lie between those of one that stays. Another topic is written meanwhile, and goes on.

TIDEGATE_DISK_SPACE_MB megabytes (256) are written for each, which is more than a write buffer, so that most of them are in blob
files as well as in the write-ahead log when they are deleted.
"""

import os
import random
import sys
import threading
import time

from common import create, read_all
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from disks import used
from harness.broker import Broker
from harness.report import Report, same, until

MEGABYTES = int(os.environ.get("TIDEGATE_DISK_SPACE_MB", "256"))
VALUE = 64 << 10
RECORDS = MEGABYTES * (1 << 20) // VALUE
NOISE = random.Random(7).randbytes(1 << 20)
# Of what the deleted records took. RocksDB allocates the file that its log is written to ahead, 70 MB, sometimes before the first
# measure and sometimes before the last.
SHARE = 0.8
# Seconds: what is deleted is back by then, and no single produce of the other topic waits so long meanwhile.
BACK_WITHIN = 30
LONGEST_WAIT = 3.0


def main():
    report = Report("disk space")
    # The check is part of the product's clockwork; here it should come at once.
    broker = Broker("disk-space", {"log.retention.check.interval.ms": "200", "log.retention.ms": "-1"})
    try:
        broker.start()
        # Results of a client that is not held are never told.
        admin = AdminClient(conf(broker))
        create(broker.bootstrap, "kept")
        writer = Writer(broker)
        writer.start()
        acts = {
            "size": lambda: alter(admin, "size", "retention.bytes", "1000000"),
            "time": lambda: alter(admin, "time", "retention.ms", "1"),
            "records": lambda: delete_records(admin, "records"),
            "deleted": lambda: admin.delete_topics(["deleted"])["deleted"].result(30),
        }
        for name, act in acts.items():
            with report.case(f"{name}: {MEGABYTES} MB come back while another topic is written"):
                one(broker, name, act, writer)
        with report.case(f"between: {MEGABYTES} MB come back that lay between batches of a topic that stays"):
            between(broker, admin, writer)
        writer.stopping = True
        writer.join(30)
        report.check("no produce to the other topic failed", not writer.errors, str(writer.errors[:2]))
        report.check("a clean stop", broker.stop() == 0)
    finally:
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
        broker.close()
    sys.exit(report.finish())


def one(broker, name, act, writer):
    create(broker.bootstrap, name, 1, {"retention.ms": "-1"})
    before = used(broker.data) - writer.bytes
    fill(broker, [name] * RECORDS)
    comes_back(broker, name, act, writer, before, MEGABYTES << 20)


def between(broker, admin, writer):
    """Two of three batches go, and all of them are in files that hold the third as well."""
    for name in ("goes", "stays"):
        create(broker.bootstrap, name, 1, {"retention.ms": "-1"})
    before = used(broker.data) - writer.bytes
    fill(broker, ["goes", "goes", "stays"] * (RECORDS // 2))
    stays = RECORDS // 2 * VALUE
    comes_back(broker, "between", lambda: admin.delete_topics(["goes"])["goes"].result(30), writer, before + stays, MEGABYTES << 20)
    values = [value for _, _, value in read_all(broker.bootstrap, "stays", 0)]
    same(len(values), RECORDS // 2, "records of the topic that stays")
    same([n for n, value in enumerate(values) if value != value_of(3 * n + 2)][:3], [], "records that are not what was written")


def comes_back(broker, name, act, writer, before, at_least):
    full = used(broker.data) - writer.bytes
    taken = full - before
    if taken < SHARE * at_least:
        raise AssertionError(f"{at_least} bytes of records took {taken} bytes")
    acked, writer.slowest, begin = writer.acked, 0, time.monotonic()
    act()
    # What the other topic wrote meanwhile is on the disk twice for a while, in the log and in its tables.
    given = lambda: full - (used(broker.data) - 2 * writer.bytes)
    until(lambda: given() >= SHARE * taken and writer.acked >= acked + 20,
          lambda: f"{given() >> 20} of {taken >> 20} MB are back, {writer.acked - acked} produces answered meanwhile", BACK_WITHIN)
    print(f"     {name}: {taken >> 20} MB taken, {given() >> 20} MB back after {time.monotonic() - begin:.1f} s, {writer.acked - acked} "
          f"produces of another topic answered meanwhile, the slowest in {writer.slowest * 1000:.0f} ms", flush=True)
    if writer.slowest > LONGEST_WAIT:
        raise AssertionError(f"a produce of another topic waited {writer.slowest:.1f} s meanwhile")


class Writer(threading.Thread):
    """One record at a time to the topic that is kept, each answered before the next."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.producer = Producer({**conf(broker), "acks": "all", "linger.ms": 0})
        self.acked, self.bytes, self.slowest, self.errors, self.stopping = 0, 0, 0, [], False

    def run(self):
        while not self.stopping:
            begin = time.monotonic()
            self.producer.produce("kept", os.urandom(2000), on_delivery=self._told)
            self.producer.flush(30)
            self.slowest = max(self.slowest, time.monotonic() - begin)
            time.sleep(0.005)

    def _told(self, error, _):
        if error:
            self.errors.append(str(error))
        else:
            self.acked += 1
            self.bytes += 2000


def fill(broker, topics):
    """One record to each of the topics named, in this order."""
    producer = Producer({**conf(broker), "acks": "all", "linger.ms": 5, "batch.size": 900_000})
    failed = []
    for number, topic in enumerate(topics):
        producer.produce(topic, value_of(number), partition=0, on_delivery=lambda error, _: error and failed.append(str(error)))
        producer.poll(0)
        # A few batches at a time, so that those of several topics take turns.
        while len(producer) > 64:
            producer.poll(0.01)
    same(producer.flush(60), 0, "records not answered")
    same(failed, [], "errors")


def value_of(number):
    """What no codec and no file system makes smaller."""
    at = number * 7919 % (len(NOISE) - VALUE)
    return (b"%d:" % number + NOISE[at:at + VALUE])[:VALUE]


def alter(admin, topic, key, value):
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def delete_records(admin, topic):
    end = TopicPartition(topic, 0, RECORDS)
    admin.delete_records([end])[end].result(30)


def conf(broker):
    return {"bootstrap.servers": broker.bootstrap, "log_level": 2}


if __name__ == "__main__":
    main()
