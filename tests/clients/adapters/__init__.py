"""One adapter for each client library: the scenario's verbs in that library's own API."""

import importlib

# Name on the command line -> module of this package, with the class where it is not `Client`.
NAMES = {
    "kcat": "kcat",
    "confluent-kafka": "confluent",
    "kafka-python": "kafka_python",
    "aiokafka": "aio",
    "kafkajs": "kafkajs",
    "java-4.1": "java",
    "java-3.9": "java:Client39",
    "franz-go": "golang:FranzGo",
    "sarama": "golang:Sarama",
}


def load(name, context):
    module, _, client = NAMES[name].partition(":")
    return getattr(importlib.import_module(f"adapters.{module}"), client or "Client")(context)
