"""Disk space comes back, as `du` counts it: retention by size and by time, DeleteRecords, topic deletion. Another topic is
written meanwhile, and goes on."""

import os
import random
import sys
import threading
import time

from common import create
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType, AlterConfigOpType, ConfigEntry
from disks import used
from harness.broker import Broker
from harness.report import Report, same, until

MEGABYTES = 48
NOISE = random.Random(7).randbytes(1 << 20)
CASES = {
    "size": lambda broker: alter(broker, "size", "retention.bytes", "1000000"),
    "time": lambda broker: alter(broker, "time", "retention.ms", "1"),
    "records": lambda broker: delete_records(broker, "records"),
    "deleted": lambda broker: AdminClient(conf(broker)).delete_topics(["deleted"])["deleted"].result(30),
}


def main():
    report = Report("disk space")
    # The check is part of the product's clockwork; here it should come at once.
    broker = Broker("disk-space", {"log.retention.check.interval.ms": "200", "log.retention.ms": "-1"})
    try:
        broker.start()
        create(broker.bootstrap, "kept")
        writer = Writer(broker)
        writer.start()
        for name, act in CASES.items():
            with report.case(f"{name}: {MEGABYTES} MB come back while another topic is written"):
                one(broker, name, act, writer)
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
    fill(broker, name)
    full = used(broker.data) - writer.bytes
    if full - before < MEGABYTES << 20:
        raise AssertionError(f"{MEGABYTES} MB took {full - before} bytes")
    acked = writer.acked
    act(broker)
    # What the other topic wrote meanwhile is on the disk twice for a while, in the log and in its tables.
    given = lambda: full - (used(broker.data) - 2 * writer.bytes)
    until(lambda: given() >= 0.8 * (full - before) and writer.acked >= acked + 20,
          lambda: f"{given() >> 20} of {(full - before) >> 20} MB are back, {writer.acked - acked} produces answered meanwhile", 60)
    print(f"     {name}: {(full - before) >> 20} MB taken, {given() >> 20} MB back, {writer.acked - acked} produces of another topic "
          f"answered meanwhile, the slowest in {writer.slowest * 1000:.0f} ms")
    writer.slowest = 0


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


def fill(broker, topic):
    """Values that no codec and no file system makes smaller."""
    producer = Producer({**conf(broker), "acks": "all", "linger.ms": 20, "batch.size": 900_000})
    failed = []
    for number in range(MEGABYTES * 16):
        at = number * 7919 % (len(NOISE) - 65536)
        producer.produce(topic, b"%d" % number + NOISE[at:at + 65536], partition=0,
                         on_delivery=lambda error, _: error and failed.append(str(error)))
        producer.poll(0)
    same(producer.flush(60), 0, "records not answered")
    same(failed, [], "errors")


def alter(broker, topic, key, value):
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    AdminClient(conf(broker)).incremental_alter_configs([resource])[resource].result(30)


def delete_records(broker, topic):
    end = MEGABYTES * 16
    AdminClient(conf(broker)).delete_records([TopicPartition(topic, 0, end)])[TopicPartition(topic, 0, end)].result(30)


def conf(broker):
    return {"bootstrap.servers": broker.bootstrap, "log_level": 2}


if __name__ == "__main__":
    main()
