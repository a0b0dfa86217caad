"""One member of a group, as a process: see Member.java. confluent-kafka, which is librdkafka."""

import sys
import threading

from confluent_kafka import Consumer


def main():
    configs = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": 200, "log_level": 2}
    topic = None
    for argument in sys.argv[1:]:
        key, value = argument.split("=", 1)
        if key in ("topic", "pattern"):
            # librdkafka takes a topic that begins with ^ for a regular expression.
            topic = f"^{value}" if key == "pattern" else value
        else:
            configs[key] = value
    held = set()

    def tell():
        print("has", ",".join(sorted(held)), flush=True)

    def assigned(consumer, partitions):
        held.update(f"{partition.topic}:{partition.partition}" for partition in partitions)
        tell()

    def revoked(consumer, partitions):
        held.difference_update(f"{partition.topic}:{partition.partition}" for partition in partitions)
        tell()

    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    consumer = Consumer(configs)
    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    got = 0
    while not ending.is_set():
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            got += 1
            print("got", got, flush=True)
    consumer.close()
    print("left", flush=True)


if __name__ == "__main__":
    main()
