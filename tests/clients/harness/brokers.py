"""The brokers that the matrix compares, set up alike."""

import contextlib

from .broker import Broker
from .kafka import Kafka

# What a test would otherwise wait for; both brokers know these names.
PATIENCE = {
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "log.segment.delete.delay.ms": "100",
}


class Tidegate:
    title = "Tidegate"
    plugins = True

    @staticmethod
    @contextlib.contextmanager
    def start(name):
        with Broker(name, PATIENCE) as broker:
            for plugin in ("match", "route"):
                broker.push(plugin)
            yield broker


class ApacheKafka:
    title = "Apache Kafka 4.1"
    plugins = False

    @staticmethod
    def start(name):
        return Kafka(f"kafka-{name}", PATIENCE)


BROKERS = {"tidegate": Tidegate, "kafka": ApacheKafka}
