"""Compaction and retention hold nobody up: while TIDEGATE_CLEANING_MB megabytes (100) of one partition are cleaned, produces to it
and to another partition and fetches from both go on.

Each service is one operation after the other on a connection of its own. During the cleaning each must be answered a few times at
least, without an error, and none may wait longer than LONGEST_WAIT; the slowest before and meanwhile are printed.
"""

import os
import struct
import sys
import threading
import time

from common import create, read_all
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from disks import used
from harness import wire
from harness.broker import Broker
from harness.report import Report, same, until

MEGABYTES = int(os.environ.get("TIDEGATE_CLEANING_MB", "100"))
VALUE = 1000
RECORDS = MEGABYTES * (1 << 20) // VALUE
KEYS = 1000
LONGEST_WAIT = 3.0
LEAST_ANSWERS = 5
OUT_OF_RANGE = 1


def main():
    report = Report("cleaning")
    broker = Broker("cleaning", {"log.retention.check.interval.ms": "200", "log.retention.ms": "-1", "log.cleaner.backoff.ms": "200",
                                 "tidegate.scrub.interval.ms": "0"})
    try:
        broker.start()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
        create(broker.bootstrap, "other")
        with report.case(f"compaction of {MEGABYTES} MB"):
            compaction(broker, admin)
        with report.case(f"retention of {MEGABYTES} MB"):
            retention(broker, admin)
        report.check("a clean stop", broker.stop() == 0)
    finally:
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
        broker.close()
    sys.exit(report.finish())


def compaction(broker, admin):
    """One pass over everything; of each key the latest record stays, whatever was written meanwhile."""
    # Only what is said below makes it due.
    create(broker.bootstrap, "compacted", 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0",
                                              "min.compaction.lag.ms": "9000000000000"})
    latest = fill(broker, "compacted")

    def clean():
        alter(admin, "compacted", {"min.cleanable.dirty.ratio": "0.0", "min.compaction.lag.ms": "0"})
        until(lambda: passes(broker, RECORDS), lambda: f"a pass over {RECORDS} records, in the broker's log: {broker.tail(5)}", 60)

    services = served(broker, "compacted", clean)
    latest.update(services[0].written)
    done = passes(broker, RECORDS)[0]
    print(f"     compacted: {done}", flush=True)
    found = latest_of(broker, "compacted")
    wrong = [key for key, value in latest.items() if found.get(key) != value]
    same((wrong[:3], len(found)), ([], len(latest)), "keys without their latest record, and keys")


def retention(broker, admin):
    create(broker.bootstrap, "aged", 1, {"retention.ms": "-1"})
    fill(broker, "aged")
    full = used(broker.data)

    def clean():
        alter(admin, "aged", {"retention.bytes": "1000000"})
        # What is left of the compacted topic may be given back just now too.
        until(lambda: log_start(broker, "aged") > RECORDS // 2, "half of the records are gone", 60)
        until(lambda: full - used(broker.data) > 0.5 * (MEGABYTES << 20), "half of it is off the disk", 60)

    served(broker, "aged", clean)


def log_start(broker, topic):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "log_level": 2})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[0]
    finally:
        consumer.close()


def served(broker, topic, clean):
    """The services, after they ran for a while, and then while `clean` did; checked."""
    # The first one is the one whose records the cleaning is about.
    services = [Producing(broker, topic), Producing(broker, "other"), Fetching(broker, topic), Fetching(broker, "other")]
    for service in services:
        service.start()
    try:
        until(lambda: all(len(service.times) >= 20 or service.error for service in services), "the services run", 60)
        begin = time.monotonic()
        clean()
        # It may be over before anybody could ask for something.
        until(lambda: all(service.error or service.since(begin) >= LEAST_ANSWERS for service in services), "the services go on", 60)
        end = time.monotonic()
    finally:
        for service in services:
            service.stopping = True
        for service in services:
            service.join(60)
    print(f"     {topic}: cleaned in {end - begin:.1f} s, meanwhile", flush=True)
    for service in services:
        same(service.error, None, f"error of {service.name}")
        before = max(took for at, took in service.times if at < begin)
        # Also what began before it or ended behind it.
        during = [took for at, took in service.times if at + took > begin and at < end]
        print(f"       {service.name}: {len(during)} answered, the slowest in {max(during) * 1000:.0f} ms; before it in {before * 1000:.0f} ms")
        if len(during) < LEAST_ANSWERS or max(during) > LONGEST_WAIT:
            raise AssertionError(f"{service.name}: {len(during)} answers, the slowest in {max(during):.1f} s")
    return services


class Service(threading.Thread):
    """One operation after the other, and when each began and how long it took."""

    def __init__(self, name):
        super().__init__(daemon=True, name=name)
        self.times, self.error, self.stopping, self.written = [], None, False, {}

    def since(self, begin):
        return sum(at + took > begin for at, took in list(self.times))

    def run(self):
        try:
            while not self.stopping:
                begin = time.monotonic()
                self.one()
                self.times.append((begin, time.monotonic() - begin))
                time.sleep(0.002)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"


class Producing(Service):
    """Records under keys that are its own, with acks=all."""

    def __init__(self, broker, topic):
        super().__init__(f"produce to {topic}")
        self.topic, self.number = topic, 0
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0, "log_level": 2})

    def one(self):
        key, value = b"mine %d" % (self.number % 10), b"%d" % self.number + b"." * VALUE
        self.number += 1
        errors = []
        self.producer.produce(self.topic, value, key, 0, on_delivery=lambda error, _: errors.append(error))
        self.producer.flush(30)
        same(errors, [None], "fate of a record")
        self.written[key] = value


class Fetching(Service):
    """From the log's start to its end, and again."""

    def __init__(self, broker, topic):
        super().__init__(f"fetch from {topic}")
        self.topic, self.offset = topic, 0
        self.connection = wire.Connection(broker.port)

    def one(self):
        error, _, batches = wire.fetch(self.connection, self.topic, 0, self.offset, max_wait_ms=0, max_bytes=1 << 20)
        if error == OUT_OF_RANGE:
            # Where the log begins now.
            self.offset = start_of(self.connection, self.topic)
            return
        same(error, 0, "error of a fetch")
        broken = [batch.base_offset for batch in batches if not batch.crc_holds()]
        same(broken, [], "batches whose CRC does not hold")
        self.offset = batches[-1].last_offset + 1 if batches else 0


def start_of(connection, topic):
    """ListOffsets version 1, the earliest."""
    body = connection.call(2, 1, struct.pack(">ii", -1, 1) + wire.string(topic) + struct.pack(">iiq", 1, 0, -2))
    return struct.unpack_from(">q", body, len(body) - 8)[0]


def fill(broker, topic):
    """Every key many times; {key: its latest value}."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 20, "batch.size": 65536, "log_level": 2})
    failed, latest = [], {}
    for number in range(RECORDS):
        key, value = b"%d" % (number % KEYS), b"%d" % number + b"." * VALUE
        latest[key] = value
        while True:
            try:
                producer.produce(topic, value, key, 0, on_delivery=lambda error, _: error and failed.append(str(error)))
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    same(producer.flush(60), 0, "records not answered")
    same(failed[:3], [], "errors")
    return latest


def passes(broker, least):
    """What the broker's log says of passes over so many records."""
    lines = broker.tail(1000).splitlines()
    found = [line[line.index("compacted "):] for line in lines if 'compacted topic="compacted"' in line]
    return [line for line in found if int(line.split("records=")[1].split()[0]) >= least]


def latest_of(broker, topic):
    """{key: value} as a consumer that reads everything has it in the end."""
    return {key: value for _, key, value in read_all(broker.bootstrap, topic, 0)}


def alter(admin, topic, configs):
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in configs.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)


if __name__ == "__main__":
    main()
