"""What a shop sends: what its customers did, and among it the lines of its system log. Knows nothing of plugins.

    producer.py HOST:PORT TOPIC FILE      one record a line; a line's partition is its number's
"""

import sys

from kafka import KafkaProducer

bootstrap, topic, path = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=[bootstrap])
partitions = len(producer.partitions_for(topic))
with open(path, "rb") as lines:
    for number, line in enumerate(lines):
        producer.send(topic, line.rstrip(b"\n"), partition=number % partitions)
producer.flush()
