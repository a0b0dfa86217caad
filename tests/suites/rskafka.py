"""rskafka's crate tests, with its integration tests switched on."""

import cargo
from suite import Suite, Why, built, crate


class Rskafka(Suite):
    NAME = "rskafka"
    VERSION = "0.6.0"
    # As docker-compose-kafka.yml of the crate has them.
    CONFIGS = {"auto.create.topics.enable": "false"}
    EXPLAINED = [
        Why("*sasl*", "left out by design: SASL comes with the security issue"),
        Why("*socks5*", "needs a SOCKS proxy and a second name of the broker"),
    ]

    def prepare(self):
        self.home = crate("rskafka", self.VERSION)
        # The crate's lock file has an rsasl that today's compiler refuses.
        built(["cargo", "update", "--quiet", "--package", "rsasl"], cwd=self.home, env=cargo.TOOLCHAIN)
        self.binaries = cargo.test_binaries(self.home)

    def run(self, broker, log):
        return cargo.run(self, log, {"TEST_INTEGRATION": "1", "TEST_BROKER_IMPL": "kafka", "KAFKA_CONNECT": broker.bootstrap})
