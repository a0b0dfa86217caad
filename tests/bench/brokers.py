"""The two brokers, each as its users start it and with memory that is bounded alike, and what they cost."""

import os
import pathlib
import threading
import time

from confluent_kafka.admin import AdminClient, NewTopic
from harness import wire
from harness.broker import Broker
from harness.kafka import Kafka
from harness.report import until

TICKS = os.sysconf("SC_CLK_TCK")
# What Kafka's own start script gives the JVM.
JVM = ["-server", "-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
       "-XX:+ExplicitGCInvokesConcurrent"]
KAFKA = {
    # Else deleted topics stay on disk for a minute, while the next case is measured.
    "log.segment.delete.delay.ms": "1000", "file.delete.delay.ms": "1000",
}
# Kafka has a gigabyte of heap, and the kernel's page cache beside it. Tidegate has the same for everything that grows with the load
# (docs/operations.md), instead of its default.
TIDEGATE_BUDGET = 1 << 30
QUIET_SECONDS = 0.25


class TidegateSide(Broker):
    def __init__(self):
        super().__init__("bench-tidegate", {"tidegate.memory.bytes": TIDEGATE_BUDGET})


class KafkaSide(Kafka):
    def __init__(self):
        super().__init__("bench-kafka", KAFKA, heap="1g")

    def command(self):
        java, *rest = super().command()
        return [java, *JVM, *rest]


SIDES = {"tidegate": TidegateSide, "kafka": KafkaSide}


def cpu_seconds(broker):
    """User and system time of the broker's process, with all of its threads."""
    fields = pathlib.Path(f"/proc/{broker.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def settle(broker, timeout):
    """Waits until the broker has done what it does after the last request (flushes, compactions), which is part of its cost."""
    deadline, before = time.monotonic() + timeout, cpu_seconds(broker)
    while time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        now = cpu_seconds(broker)
        if now - before <= 0.1 * QUIET_SECONDS:
            return
        before = now


def create(broker, topic, partitions=1, configs=None):
    """A topic whose every partition answers."""
    admin = _admin(broker)
    admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})])[topic].result(60)
    with wire.Connection(broker.port) as connection:
        until(lambda: all(wire.fetch(connection, topic, partition, 0, max_wait_ms=0)[0] == 0
                          for partition in range(partitions)), f"{topic} can be read")


def delete(broker, topic):
    # Kept by name: its results die with it.
    admin = _admin(broker)
    admin.delete_topics([topic])[topic].result(60)


def start_seconds(broker):
    """Starts it; from the exec to the first answer over the wire."""
    found = {}

    def answered():
        while "seconds" not in found and not found.get("over"):
            try:
                with wire.Connection(broker.port, timeout=5) as connection:
                    wire.api_versions(connection)
                found["seconds"] = time.monotonic() - began
            except OSError:
                time.sleep(0.001)

    began = time.monotonic()
    asker = threading.Thread(target=answered, daemon=True)
    asker.start()
    try:
        broker.start()
        asker.join(10)
    finally:
        found["over"] = True
    return found["seconds"]


def _admin(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
