"""librdkafka's broker tests, whose sources ship inside the crate rdkafka-sys; once for each group protocol."""

import os
import re
import shlex
import shutil

from harness import environment
from harness.kafka import TOOLS, java
from suite import AUTHORIZER, FAILED, PASSED, SKIPPED, Suite, Why, bounded, built, cached, crate, ended

# The tests inside this one are run one by one: it is long, ends with the first failure, and has ACLs in its midst.
ADMIN = "0081_admin"
SUBTESTS = re.compile(r"^(?:static void )?(do_test_\w+)\((?:rd_kafka_t|const char|rd_kafka_type_t)", re.MULTILINE)


class Librdkafka(Suite):
    NAME = "librdkafka"
    VERSION = "2.12.1"
    CRATE = "4.10.0+2.12.1"
    CONFIGS = {"num.partitions": "4", **AUTHORIZER}
    LIMIT_SECONDS = 2400
    PROTOCOL = "classic"
    SCENARIO = "default"
    EXPLAINED = [
        Why("*Acls*", "left out by design: ACLs come with the security issue"),
        Why("0115_producer_auth", "left out by design: ACLs come with the security issue"),
        Why("0119_consumer_auth", "left out by design: ACLs come with the security issue"),
        Why("*UserScramCredentials*", "left out by design: SCRAM comes with the security issue"),
    ]

    def prepare(self):
        source = crate("rdkafka-sys", self.CRATE) / "librdkafka"

        def make(home):
            shutil.copytree(source, home / "librdkafka", symlinks=True)
            # Files of a crate are all as old as each other, which make(1) is content with.
            built(["./configure", "--disable-ssl", "--disable-gssapi", "--disable-curl"], cwd=home / "librdkafka")
            built(["make", f"-j{os.cpu_count()}", "libs"], cwd=home / "librdkafka", limit_seconds=3600)
            built(["make", f"-j{os.cpu_count()}", "-C", "tests", "test-runner"], cwd=home / "librdkafka", limit_seconds=3600)
        self.home = cached(f"librdkafka-{self.VERSION}", make) / "librdkafka" / "tests"

    def run(self, broker, log):
        conf = log.with_suffix(".conf")
        conf.write_text(f"bootstrap.servers={broker.bootstrap}\ntest.topic.random=true\n")
        env = {"RDKAFKA_TEST_CONF": str(conf), "LD_LIBRARY_PATH": f"{self.home.parent / 'src'}:{self.home.parent / 'src-cpp'}",
               "TEST_CONSUMER_GROUP_PROTOCOL": self.PROTOCOL, "CI": "true", "BROKERS": broker.bootstrap,
               "KAFKA_PATH": str(distribution(log.with_suffix(".kafka")))}
        # -L: only what needs a broker; -Q -E is `make quick`: smaller figures, no faults injected into sockets.
        runner = ["./test-runner", "-L", "-Q", "-E", "-p4", "-V", "4.1.0", "-s", self.SCENARIO]
        code = bounded(runner, log, self.LIMIT_SECONDS, cwd=self.home, env={**env, "TESTS_SKIP": ADMIN[:4]})
        outcomes = ended(_outcomes(log), code)
        for subtest in self.subtests():
            part = log.with_suffix(f".{subtest}.log")
            part.unlink(missing_ok=True)
            code = bounded(runner, part, 300, cwd=self.home, env={**env, "TESTS": ADMIN[:4], "SUBTESTS": f"{subtest}:"})
            said = ended(_outcomes(part), code)
            outcomes[f"{ADMIN}: {subtest}"] = next((one for one in said.values() if one[0] == FAILED), (PASSED, ""))
        return outcomes

    def subtests(self):
        if self.SCENARIO != "default":
            return []
        found = SUBTESTS.findall((self.home / "0081-admin.c").read_text())
        # What only others call, and what is all of them.
        return [name for name in dict.fromkeys(found) if name not in ("do_test_acls_count", "do_test_apis")]


class LibrdkafkaNoAutoCreate(Librdkafka):
    NAME = "librdkafka, scenario noautocreate"
    CONFIGS = {**Librdkafka.CONFIGS, "auto.create.topics.enable": "false"}
    SCENARIO = "noautocreate"


class Librdkafka848(Librdkafka):
    NAME = "librdkafka, KIP-848 groups"
    PROTOCOL = "consumer"


def distribution(home):
    """What some tests want of Kafka's distribution: scripts that start its tools, and its jars."""
    shutil.rmtree(home, ignore_errors=True)
    (home / "bin").mkdir(parents=True)
    (home / "libs").symlink_to(environment.jars("kafka-4.1"))
    for name in ("kafka-topics", "kafka-acls"):
        script(home / "bin" / f"{name}.sh", shlex.join(java(TOOLS.get(name, "org.apache.kafka.tools.AclCommand"))) + ' "$@"')
    script(home / "bin" / "kafka-run-class.sh", f'exec java -cp "$CLASSPATH:{home}/libs/*" "$@"')
    return home


def script(path, command):
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


# |0012_produce_consume                     |     PASSED |   5.160s |
ROW = re.compile(r"^\|\s*(\d{4}\w+)\s*\|\s*(\w+)\s*\|[^|]*\|(.*)$")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def _outcomes(log):
    """What the summary at the end of the runner's output says; tests that were not chosen are not in it."""
    states = {"PASSED": PASSED, "SKIPPED": SKIPPED}
    outcomes = {}
    for line in log.read_text(errors="replace").splitlines():
        row = ROW.match(COLOR.sub("", line))
        if row and row[2] != "DNS":
            outcomes[row[1]] = (states.get(row[2], FAILED), row[3].strip())
    return outcomes
