"""Apache Kafka's own Java client, behind java_driver: two versions."""

from harness import environment

from .driven import DrivenClient


class Client(DrivenClient):
    """kafka-clients 4.1."""

    version = "4.1"

    @property
    def name(self):
        return f"kafka-clients {self.version}"

    def command(self):
        return ["java", "-Xmx512m", *environment.QUICK_JAVA, "-cp", environment.java_driver(self.version), "Driver"]


class Client39(Client):
    """kafka-clients 3.9."""

    version = "3.9"
