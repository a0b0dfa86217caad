#!/usr/bin/env python3
"""Produces and consumes through librdkafka; started by cases.py, prints one line of JSON.

    librdkafka.py BOOTSTRAP TOPIC RECORDS SIZE ACKS
"""

import json
import sys
import time

from confluent_kafka import Consumer, Producer


def main():
    bootstrap, topic, count, size, acks = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    produced, consumed = produce(bootstrap, topic, count, size, acks), consume(bootstrap, topic, count)
    print(json.dumps({"bytes": 2 * count * size, "produce MB/s": count * size / produced / 1e6,
                      "consume MB/s": count * size / consumed / 1e6}))


def produce(bootstrap, topic, count, size, acks):
    """Seconds until the last record is acknowledged."""
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "linger.ms": 5, "batch.num.messages": 10_000,
                         "queue.buffering.max.messages": 200_000, "delivery.report.only.error": True,
                         "error_cb": failures.append})
    value = b"keep " + bytes(65 + i * 7919 % 26 for i in range(size - 5))
    started = time.monotonic()
    for _ in range(count):
        while True:
            try:
                producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
                break
            except BufferError:
                producer.poll(0.01)
    if producer.flush(120) or failures:
        raise SystemExit(f"not everything was delivered: {failures[:3]}")
    return time.monotonic() - started


def consume(bootstrap, topic, count):
    """Seconds from the first record to the last."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"bench-{topic}", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe([topic])
    seen, started, deadline = 0, None, time.monotonic() + 120
    while seen < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{seen} of {count} records came")
        for message in consumer.consume(1000, 1.0):
            if message.error():
                raise SystemExit(str(message.error()))
            started = started or time.monotonic()
            seen += 1
    took = time.monotonic() - started
    consumer.close()
    return took


if __name__ == "__main__":
    main()
