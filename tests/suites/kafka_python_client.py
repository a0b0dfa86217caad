"""kafka-python's integration tests, against the client of the same checkout: its packages leave some of the files out."""

from suite import Suite, Why, checkout, pytest, virtual_environment


class KafkaPython(Suite):
    NAME = "kafka-python"
    VERSION = "checkout"
    # As servers/resources/default/kafka.properties of the suite has them.
    CONFIGS = {"node.id": "0", "num.partitions": "4", "group.min.session.timeout.ms": "1000", "group.initial.rebalance.delay.ms": "0",
               "offsets.topic.num.partitions": "2"}
    EXPLAINED = [
        Why("TestSSLConnection::*", "starts brokers of its own, for TLS"),
        Why("*acls*", "left out by design: ACLs come with the security issue"),
    ]

    def prepare(self):
        self.home = checkout("TIDEGATE_SUITE_KAFKA_PYTHON", "test/integration/fixtures.py")
        self.python = virtual_environment("kafka-python", "pytest", "pytest-mock", "pytest-timeout", "crc32c", "lz4",
                                          "python-snappy", "zstandard")

    def run(self, broker, log):
        # KAFKA_ROOT must be a directory, which a broker from outside is not asked for.
        return pytest(self.python, self, self.home, ["-o", "addopts=", "test/integration"], log, {
            "KAFKA_URI": f"PLAINTEXT://{broker.bootstrap}", "KAFKA_VERSION": "4.1.1", "KAFKA_ROOT": str(log.parent)})
