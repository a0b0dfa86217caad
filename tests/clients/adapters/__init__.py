"""One adapter for each client library: the verbs of `base.py` in that library's own API."""

import importlib

from .absent import absent

# Name on the command line -> module of this package, with the class where it is not `Client`.
NAMES = {
    "kcat": "kcat",
    "confluent-kafka": "confluent",
    "kafka-python": "kafka_python",
    "aiokafka": "aio",
    "kafkajs": "javascript:KafkaJs",
    "confluent-kafka-js": "javascript:ConfluentJs",
    "platformatic": "javascript:Platformatic",
    "java-4.1": "java",
    "java-3.9": "java:Client39",
    "franz-go": "golang:FranzGo",
    "sarama": "golang:Sarama",
    "rdkafka": "rust:Rdkafka",
    "rskafka": "rust:Rskafka",
}


def load(name, context):
    module, _, kind = NAMES[name].partition(":")
    client = getattr(importlib.import_module(f"adapters.{module}"), kind or "Client")(context)
    client.absent = absent(name)
    return client
