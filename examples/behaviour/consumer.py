"""Prints the messages of a topic until none has come for five seconds. Knows nothing of plugins.

    consumer.py HOST:PORT TOPIC GROUP
"""

import sys

from kafka import KafkaConsumer

bootstrap, topic, group = sys.argv[1:]
consumer = KafkaConsumer(topic, group_id=group, bootstrap_servers=[bootstrap], auto_offset_reset="earliest",
                         consumer_timeout_ms=5000)
for message in consumer:
    print(message.value.decode())
consumer.close()
