"""Start time and idle memory with many partitions, each with batches, epochs and a producer snapshot; and with many batches.

TIDEGATE_PARTITIONS (10000) partitions get batches of an idempotent producer, in two leader epochs. Then a clean start and a
start after SIGKILL are timed, and the resident memory of the idle broker is compared with that of one without partitions. These
figures are printed, not asserted; what is checked is that everything is there.

A clean start is bounded by metadata, not by data: after TIDEGATE_BATCHES (1000000) batches in 100 partitions it may take at most
twice as long as after a tenth of them, and a second. `make bench-start`.
"""

import os
import struct
import sys
import time

import common
from confluent_kafka.admin import AdminClient, NewTopic
from harness import wire
from harness.broker import Broker
from harness.report import Report, same

PARTITIONS = int(os.environ.get("TIDEGATE_PARTITIONS", "10000"))
PER_TOPIC = 100
MANY = int(os.environ.get("TIDEGATE_BATCHES", "1000000"))
BATCHES = 3
INIT_PRODUCER_ID = 22
CONFIGS = {"tidegate.scrub.interval.ms": "0"}


def main():
    report = Report("many partitions")
    with report.case(f"{PARTITIONS} partitions with {2 * BATCHES} batches each"):
        measured(report)
    with report.case(f"a clean start after {MANY} batches"):
        grown()
    sys.exit(report.finish())


def measured(report):
    with Broker("no-partitions", CONFIGS) as empty:
        started = timed(empty, Broker.stop)
        print(f"     without partitions: started in {started:.2f} s, {empty.memory() >> 20} MiB resident")
        baseline = empty.memory()
    broker = Broker("many-partitions", CONFIGS)
    try:
        broker.start()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0, "socket.timeout.ms": 300_000})
        topics = [NewTopic(f"t{number}", PER_TOPIC, 1) for number in range(PARTITIONS // PER_TOPIC)]
        begin = time.monotonic()
        for created in admin.create_topics(topics, request_timeout=300, operation_timeout=300).values():
            created.result(300)
        print(f"     created in {time.monotonic() - begin:.1f} s", flush=True)
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


def grown():
    """The same partitions, and ten times as much in them."""
    with Broker("many-batches", CONFIGS) as broker:
        common.create(broker.bootstrap, "t", PER_TOPIC)
        times, written = [], 0
        for goal in (MANY // 10, MANY):
            with wire.Connection(broker.port, timeout=120) as connection:
                producer = init_producer(connection)
                for sequence in range((goal - written) // PER_TOPIC):
                    batch = wire.record_batch([b"x" * 100], int(time.time() * 1000), (*producer, sequence))
                    # What a start has to read is the same, and syncs are not what is measured.
                    produce(connection, "t", batch, acks=1)
            written = goal
            times.append(timed(broker, Broker.stop))
            print(f"     {goal} batches: started in {times[-1]:.2f} s, {broker.memory() >> 20} MiB resident", flush=True)
            with wire.Connection(broker.port) as connection:
                _, high_watermark, batches = wire.fetch(connection, "t", PER_TOPIC - 1, goal // PER_TOPIC - 1)
                same((high_watermark, len(batches)), (goal // PER_TOPIC, 1), "the end of the last partition")
        if times[1] > 2 * times[0] + 1:
            raise AssertionError(f"{times[0]:.2f} s after a tenth of them, {times[1]:.2f} s after all")


def timed(broker, end):
    end(broker)
    begin = time.monotonic()
    broker.start(timeout=300)
    return time.monotonic() - begin


def write(broker):
    """One record a batch, BATCHES times over all partitions, by one idempotent producer; all partitions of a topic in a request."""
    with wire.Connection(broker.port, timeout=120) as connection:
        producer = init_producer(connection)
        for sequence in range(BATCHES):
            batch = wire.record_batch([b"x" * 100], int(time.time() * 1000), (*producer, sequence))
            for topic in range(PARTITIONS // PER_TOPIC):
                produce(connection, f"t{topic}", batch)


def init_producer(connection):
    """(id, epoch) of a new idempotent producer; InitProducerId version 0."""
    body = connection.call(INIT_PRODUCER_ID, 0, struct.pack(">hi", -1, 60_000))
    error, producer, epoch = struct.unpack_from(">hqh", body, 4)
    same(error, 0, "error of InitProducerId")
    return producer, epoch


def produce(connection, topic, batch, acks=-1):
    """The same batch to every partition of a topic; Produce version 7."""
    parts = b"".join(struct.pack(">ii", index, len(batch)) + batch for index in range(PER_TOPIC))
    body = connection.call(wire.PRODUCE, 7, struct.pack(">hhii", -1, acks, 60_000, 1) + wire.string(topic)
                           + struct.pack(">i", PER_TOPIC) + parts)
    at = 4 + 2 + len(topic.encode()) + 4
    errors = [struct.unpack_from(">ih", body, at + 30 * index)[1] for index in range(PER_TOPIC)]
    same([error for error in errors if error], [], f"errors of produces to {topic}")


if __name__ == "__main__":
    main()
