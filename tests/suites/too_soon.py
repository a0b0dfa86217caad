#!/usr/bin/env python3
"""How often a consumer of kafka-python never gets a partition because it subscribes within milliseconds of being made.

With `api_version` given its constructor returns before the first metadata request, which names no topics, is answered; an answer
that comes just after `subscribe` is taken for that of the subscription, and the next request is five minutes away. On Tidegate and on
Apache Kafka; which delay is the worst depends on how fast a broker and the machine are.

    too_soon.py        wants TIDEGATE_SUITE_KAFKA_PYTHON, as the suite does
"""

import os
import subprocess
import sys

from suite import NotRun

from harness import environment

if __name__ == "__main__" and len(sys.argv) == 1:
    environment.enter()

# None: the topic is named to the constructor.
DELAYS_MS = (None, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4)
CONSUMERS = 40
TOPIC = "too-soon"


def main():
    from harness.broker import Broker
    from harness.kafka import Kafka
    from kafka_python_client import KafkaPython

    suite = KafkaPython()
    try:
        suite.prepare()
    except NotRun as reason:
        raise SystemExit(f"not run: {reason}") from reason
    for kind in (Broker, Kafka):
        broker = kind("too-soon", {})
        try:
            broker.start()
            print(f"{kind.__name__}, of {CONSUMERS} consumers without a partition after 1.5 s:", flush=True)
            subprocess.run([str(suite.python), os.path.abspath(__file__), broker.bootstrap], check=True, cwd=suite.home,
                           env={**os.environ, "PYTHONPATH": str(suite.home)}, timeout=900)
        finally:
            broker.close()


def count(bootstrap):
    """Runs in the suite's environment, against the checkout's client."""
    import time

    from kafka import KafkaConsumer, KafkaProducer

    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for sent in [producer.send(TOPIC, b"x") for _ in range(20)]:
        sent.get(30)
    producer.close()
    for delay in DELAYS_MS:
        lost = 0
        for _ in range(CONSUMERS):
            topics = [TOPIC] if delay is None else []
            consumer = KafkaConsumer(*topics, bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", api_version=(4, 1))
            if delay is not None:
                time.sleep(delay / 1000)
                consumer.subscribe([TOPIC])
            until = time.monotonic() + 1.5
            while time.monotonic() < until and not consumer.assignment():
                consumer.poll(timeout_ms=50)
            lost += not consumer.assignment()
            consumer.close()
        print(f"  subscribed {'as' if delay is None else f'{delay} ms after'} it was made: {lost}", flush=True)


if __name__ == "__main__":
    count(sys.argv[1]) if len(sys.argv) > 1 else main()
