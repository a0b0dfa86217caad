"""aiokafka's tests that talk to a broker, against the package of the checkout's version."""

import os
import pathlib
import shutil

from harness.kafka import Kafka
from suite import Suite, Why, cached, checkout, pytest, virtual_environment

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ["admin", "client", "consumer", "coordinator", "fetcher", "pep492", "producer", "sender", "transactional_consumer",
         "transactional_producer"]


class Aiokafka(Suite):
    NAME = "aiokafka"
    VERSION = "0.14.0"
    LEFT_OUT = [("test_sasl", "SASL and Kerberos"), ("unit tests", "need no broker")]
    EXPLAINED = [Why("*ssl*", "left out by design: TLS comes with the security issue")]

    def prepare(self):
        source = checkout("TIDEGATE_SUITE_AIOKAFKA", "tests/_testutil.py")

        # Only the tests: beside them, the source would hide the package, which has compiled parts.
        def make(home):
            shutil.copytree(source / "tests", home / "tests")
            (home / "tests" / "ssl_cert").mkdir(exist_ok=True)
            (home / "pytest.ini").write_text("[pytest]\n")
            (home / "bin").mkdir()
            (home / "bin" / "ktutil").write_text("#!/bin/sh\n")
            (home / "bin" / "ktutil").chmod(0o755)
        self.home = cached(f"aiokafka-{self.VERSION}", make)
        self.python = virtual_environment("aiokafka", f"aiokafka=={self.VERSION}", "pytest", "pytest-asyncio", "pytest-mock",
                                          "pytest-timeout", "async-timeout", "cramjam", "crc32c")

    def run(self, broker, log):
        # The suite wants to start its own.
        broker.stop()
        return pytest(self.python, self, self.home, ["--docker-image=any:4.1.1", "--no-pull",
                                                     *(f"tests/test_{part}.py" for part in PARTS)], log, {
            "PYTHONPATH": str(HERE / "shims"), "TIDEGATE_SUITE_HARNESS": str(HERE.parent / "clients"),
            "TIDEGATE_SUITE_BROKER": "kafka" if isinstance(broker, Kafka) else "tidegate",
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}"})
