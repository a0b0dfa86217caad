"""rdkafka's crate tests: unit tests and integration tests, as `cargo test` of the crate runs them."""

from suite import Suite, crate

import cargo


class Rdkafka(Suite):
    NAME = "rdkafka"
    VERSION = "0.39.0"
    # As docker-compose.yaml of the crate has them.
    CONFIGS = {"num.partitions": "3", "node.id": "0"}
    EXPLAINED = []

    def prepare(self):
        self.home = crate("rdkafka", self.VERSION)
        self.binaries = cargo.test_binaries(self.home)

    def run(self, broker, log):
        return cargo.run(self, log, {"KAFKA_HOST": broker.bootstrap, "KAFKA_VERSION": "4.1.1", "RUST_LOG": "off"})
