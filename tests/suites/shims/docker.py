"""Stands where aiokafka's suite imports the Docker client: a "container" is a broker of the harness, on the port asked for.

TIDEGATE_SUITE_BROKER says which; the suite's files stay as they are. What a container would do beside serving (Kerberos,
certificates, Kafka's scripts) is answered as done, and the tests of it are not chosen.
"""

import os
import sys
import types

sys.path.insert(0, os.environ["TIDEGATE_SUITE_HARNESS"])

from harness.broker import Broker  # noqa: E402
from harness.kafka import Kafka  # noqa: E402


class Container:
    def __init__(self, broker):
        self.broker = broker

    def exec_run(self, *_, **__):
        return 0, b""

    def stop(self):
        self.broker.close()


class _Containers:
    def run(self, environment=None, **_):
        if not environment:
            return Container(None)
        kind = {"tidegate": Broker, "kafka": Kafka}[os.environ["TIDEGATE_SUITE_BROKER"]]
        # The suite asks for node 0 by its id.
        broker = kind("aiokafka", {"num.partitions": str(environment["NUM_PARTITIONS"]), "node.id": "0"})
        drawn, broker.port = str(broker.port), environment["ADVERTISED_PORT"]
        broker.configs = {key: str(value).replace(f":{drawn}", f":{broker.port}") for key, value in broker.configs.items()}
        return Container(broker.start())


class _Client:
    containers = _Containers()

    def close(self):
        pass


def from_env():
    return _Client()


models = types.SimpleNamespace(containers=types.SimpleNamespace(Container=Container))
