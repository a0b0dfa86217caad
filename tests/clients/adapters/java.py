"""Apache Kafka's own Java client, behind JavaDriver.java: the classic consumer group protocol, two versions."""

import pathlib

from harness import environment

from .driven import DrivenClient


class Client(DrivenClient):
    """kafka-clients 4.1."""

    version = "4.1"

    @property
    def name(self):
        return f"kafka-clients {self.version}"

    def command(self):
        # Compiled in memory, which a test can afford: the whole driver is one file.
        return ["java", "-Xmx512m", "-cp", environment.jars(f"client-{self.version}") / "*", pathlib.Path(__file__).with_name("JavaDriver.java")]


class Client39(Client):
    """kafka-clients 3.9."""

    version = "3.9"
