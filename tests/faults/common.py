"""What the fault tests share: the path to the harness, topics, and reading a partition to its end."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

MATCH = {"tidegate.plugin.match.field": "value", "tidegate.plugin.match.op": "contains",
         "tidegate.plugin.match.value": "keep"}


def create(bootstrap, name, partitions=1, configs=None):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    admin.create_topics([NewTopic(name, partitions, 1, config=configs or {})])[name].result(30)


def read_all(bootstrap, topic, partition, timeout=60.0):
    """[(offset, key, value)] of a partition, from its start to the end that it has now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True,
                         "auto.offset.reset": "error", "fetch.wait.max.ms": 50, "log_level": 2})
    try:
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout)
        consumer.assign([TopicPartition(topic, partition, low)])
        found, deadline = [], time.monotonic() + timeout
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}-{partition}: no end after {len(found)} records")
            # Waits for all 1000 or the whole time, so the time is short.
            for message in consumer.consume(1000, 0.1):
                if not message.error():
                    found.append((message.offset(), message.key(), message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise RuntimeError(str(message.error()))
    finally:
        consumer.close()
