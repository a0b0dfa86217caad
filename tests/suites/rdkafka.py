"""rdkafka's crate tests: unit tests and integration tests, as `cargo test` of the crate runs them."""

from suite import Suite, Why, crate

import cargo


class Rdkafka(Suite):
    NAME = "rdkafka"
    VERSION = "0.39.0"
    # As docker-compose.yaml of the crate has them.
    CONFIGS = {"num.partitions": "3", "node.id": "0"}
    # Three tests know no other.
    PORT = 9092
    EXPLAINED = [
        Why("*::test_base_producer_timeout", "wants a topic that is created on demand to take longer than 100 ms"),
        Why("*nonempty_callback", "fails now and then, on Apache Kafka as often (2 of 16 runs there, 2 of 24 here): an operation of the client's own "
            "wakes it"),
    ]

    def prepare(self):
        self.home = crate("rdkafka", self.VERSION)
        self.binaries = cargo.test_binaries(self.home)

    def run(self, broker, log):
        return cargo.run(self, log, {"KAFKA_HOST": broker.bootstrap, "KAFKA_VERSION": "4.1.1", "RUST_LOG": "off"})
