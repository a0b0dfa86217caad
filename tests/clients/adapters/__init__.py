"""One adapter for each client library: the scenario's verbs in that library's own API."""

import importlib

# Name on the command line -> module of this package.
NAMES = {
    "kcat": "kcat",
    "confluent-kafka": "confluent",
    "kafka-python": "kafka_python",
    "aiokafka": "aio",
    "kafkajs": "kafkajs",
}


def load(name, context):
    return importlib.import_module(f"adapters.{NAMES[name]}").Client(context)
