"""kafka-python's integration tests, against the client of the same checkout: its packages leave some of the files out."""

from suite import Suite, Why, checkout, pytest, virtual_environment


# Shown on both brokers by too_soon.py.
SUBSCRIBES_TOO_SOON = ("now and then the consumer subscribes while its first metadata request, which names no topics, is on its way, takes the answer "
                       "for that of its subscription, and asks again after five minutes")


class KafkaPython(Suite):
    NAME = "kafka-python"
    VERSION = "checkout"
    # As servers/resources/default/kafka.properties of the suite has them.
    CONFIGS = {"node.id": "0", "num.partitions": "4", "group.min.session.timeout.ms": "1000", "group.initial.rebalance.delay.ms": "0",
               "offsets.topic.num.partitions": "2"}
    EXPLAINED = [
        Why("TestSSLConnection::*", "starts brokers of its own, for TLS"),
        Why("*describe_metadata_quorum", "left out by design: DescribeQuorum comes with the cluster"),
        Why("*acls*", "left out by design: ACLs come with the security issue"),
        Why("*max_in_flight*", SUBSCRIBES_TOO_SOON),
        Why("*max_bytes_simple", SUBSCRIBES_TOO_SOON),
        Why("*unsupported_encoding", SUBSCRIBES_TOO_SOON),
        Why("*::test_group", SUBSCRIBES_TOO_SOON),
    ]

    def prepare(self):
        self.home = checkout("TIDEGATE_SUITE_KAFKA_PYTHON", "test/integration/fixtures.py")
        self.python = virtual_environment("kafka-python", "pytest", "pytest-mock", "pytest-timeout", "crc32c", "lz4",
                                          "python-snappy", "zstandard")

    def run(self, broker, log):
        # KAFKA_ROOT must be a directory, which a broker from outside is not asked for.
        return pytest(self.python, self, self.home, ["-o", "addopts=", "test/integration"], log, {
            "KAFKA_URI": f"PLAINTEXT://{broker.bootstrap}", "KAFKA_VERSION": "4.1.1", "KAFKA_ROOT": str(log.parent)})
