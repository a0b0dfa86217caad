"""Start time and idle memory with many partitions, each with batches, epochs and a producer snapshot.

TIDEGATE_PARTITIONS (10000) partitions get batches of an idempotent producer, in two leader epochs. Then a clean start and a
start after SIGKILL are timed, and the resident memory of the idle broker is compared with that of one without partitions. The
figures are printed, not asserted; what is checked is that everything is there. `make bench-start`.
"""

import os
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness import wire
from harness.broker import Broker
from harness.report import Report, same

PARTITIONS = int(os.environ.get("TIDEGATE_PARTITIONS", "10000"))
PER_TOPIC = 100
BATCHES = 3
CONFIGS = {"tidegate.scrub.interval.ms": "0"}


def main():
    report = Report("many partitions")
    with report.case(f"{PARTITIONS} partitions with {2 * BATCHES} batches each"):
        measured(report)
    sys.exit(report.finish())


def measured(report):
    with Broker("no-partitions", CONFIGS) as empty:
        started = timed(empty, Broker.stop)
        print(f"     without partitions: started in {started:.2f} s, {empty.memory() >> 20} MiB resident")
        baseline = empty.memory()
    broker = Broker("many-partitions", CONFIGS)
    try:
        broker.start()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = [NewTopic(f"t{number}", PER_TOPIC, 1) for number in range(PARTITIONS // PER_TOPIC)]
        for created in admin.create_topics(topics, request_timeout=300, operation_timeout=300).values():
            created.result(300)
        write(broker)
        broker.restart()
        write(broker)
        for name, end in (("a clean stop", Broker.stop), ("SIGKILL", Broker.kill)):
            started = timed(broker, end)
            each = (broker.memory() - baseline) / PARTITIONS
            print(f"     after {name}: started in {started:.2f} s, {broker.memory() >> 20} MiB resident, "
                  f"{each / 1024:.1f} KiB for each partition")
        with wire.Connection(broker.port) as connection:
            for number in range(0, PARTITIONS, PARTITIONS // 20):
                _, high_watermark, _ = wire.fetch(connection, f"t{number // PER_TOPIC}", number % PER_TOPIC, 0)
                same(high_watermark, 2 * BATCHES, f"records of partition {number}")
        same(broker.stop(60), 0, "exit code of a clean stop")
    finally:
        if report.failed:
            print(broker.tail())
        broker.close()


def timed(broker, end):
    end(broker)
    begin = time.monotonic()
    broker.start(timeout=300)
    return time.monotonic() - begin


def write(broker):
    """One record a batch, BATCHES times over all partitions, by one idempotent producer."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0,
                         "batch.num.messages": 1, "queue.buffering.max.messages": 1_000_000})
    failed = []
    for _ in range(BATCHES):
        for number in range(PARTITIONS):
            producer.produce(f"t{number // PER_TOPIC}", b"x" * 100, partition=number % PER_TOPIC,
                             on_delivery=lambda error, _: error and failed.append(str(error)))
            producer.poll(0)
        same(producer.flush(300), 0, "records not answered")
    same(failed[:3], [], "errors")


if __name__ == "__main__":
    main()
