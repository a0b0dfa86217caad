"""librdkafka's broker tests, whose sources ship inside the crate rdkafka-sys; once for each group protocol."""

import json
import os
import pathlib
import re
import shlex
import shutil

from harness import environment
from harness.kafka import TOOLS, java
from suite import AUTHORIZER, FAILED, PASSED, SKIPPED, Suite, Why, bounded, built, cached, crate, ended

# Tests whose parts are run one by one: they are long, end with the first failure, and have in their midst what is left out here.
ADMIN, SOURCE = "0081_admin", "0081-admin.c"
SUBTESTS = re.compile(r"^(?:static void )?(do_test_\w+)\((?:rd_kafka_t|const char|rd_kafka_type_t)", re.MULTILINE)
ONE_REPLICA = pathlib.Path(__file__).resolve().parent / "shims" / "one_replica.c"
RAPIDJSON = pathlib.Path("/usr/include/rapidjson/rapidjson.h")


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
        Why("0109_auto_create_topics", "left out by design: ACLs come with the security issue; its four cases without them pass"),
        Why("0077_compaction", "Kafka's own tool of 4.1 refuses the segment.bytes that it wants"),
        Why("*UserScramCredentials*", "left out by design: SCRAM comes with the security issue"),
    ]

    def prepare(self):
        source = crate("rdkafka-sys", self.CRATE) / "librdkafka"
        if not RAPIDJSON.exists():
            # Four tests read their statistics with it and are skipped without.
            built(["apt-get", "install", "-q", "-y", "--no-remove", "rapidjson-dev"], env={"DEBIAN_FRONTEND": "noninteractive"})

        def make(home):
            shutil.copytree(source, home / "librdkafka", symlinks=True)
            # Files of a crate are all as old as each other, which make(1) is content with.
            built(["./configure", "--disable-ssl", "--disable-gssapi", "--disable-curl"], cwd=home / "librdkafka")
            built(["make", f"-j{os.cpu_count()}", "libs"], cwd=home / "librdkafka", limit_seconds=3600)
            built(["make", f"-j{os.cpu_count()}", "-C", "tests", "test-runner"], cwd=home / "librdkafka", limit_seconds=3600)
        home = cached(f"librdkafka-{self.VERSION}", make)
        self.home = home / "librdkafka" / "tests"
        self.one_replica = home / "one_replica.so"
        built(["cc", "-shared", "-fPIC", "-o", self.one_replica, ONE_REPLICA, "-ldl"])

    def run(self, broker, log):
        conf = log.with_suffix(".conf")
        conf.write_text(f"bootstrap.servers={broker.bootstrap}\ntest.topic.random=true\n")
        env = {"RDKAFKA_TEST_CONF": str(conf), "LD_LIBRARY_PATH": f"{self.home.parent / 'src'}:{self.home.parent / 'src-cpp'}",
               "TEST_CONSUMER_GROUP_PROTOCOL": self.PROTOCOL, "CI": "true", "BROKERS": broker.bootstrap,
               "KAFKA_PATH": str(distribution(log.with_suffix(".kafka")))}
        outcomes = self._runner(log, self.LIMIT_SECONDS, {**env, "TESTS_SKIP": ADMIN[:4], "LD_PRELOAD": str(self.one_replica)})
        for subtest in self.subtests():
            said = self._runner(log.with_suffix(f".{subtest}.log"), 300, {**env, "TESTS": ADMIN[:4], "SUBTESTS": f"{subtest}:"})
            outcomes[f"{ADMIN}: {subtest}"] = next((one for one in said.values() if one[0] == FAILED), (PASSED, ""))
        return outcomes

    def _runner(self, log, limit_seconds, env):
        report = log.with_suffix(".json")
        for file in (log, report):
            file.unlink(missing_ok=True)
        # -L: only what needs a broker; -E: no faults injected into sockets.
        command = ["./test-runner", "-L", "-E", "-p4", "-V", "4.1.0", "-s", self.SCENARIO]
        code = bounded(command, log, limit_seconds, cwd=self.home, env={**env, "TEST_REPORT": str(report)})
        return ended(_outcomes(log, report), code)

    def subtests(self):
        if self.SCENARIO != "default":
            return []
        found = SUBTESTS.findall((self.home / SOURCE).read_text())
        # Without a helper of others, and the one that calls all.
        return [name for name in dict.fromkeys(found) if name not in ("do_test_acls_count", "do_test_apis")]


class LibrdkafkaNoAutoCreate(Librdkafka):
    NAME = "librdkafka, scenario noautocreate"
    CONFIGS = {**Librdkafka.CONFIGS, "auto.create.topics.enable": "false"}
    SCENARIO = "noautocreate"


class Librdkafka848(Librdkafka):
    NAME = "librdkafka, KIP-848 groups"
    PROTOCOL = "consumer"
    EXPLAINED = [
        *Librdkafka.EXPLAINED,
        Why("0045_resubscribe_with_regex", "wants a first assignment without the topics of a regular expression, which Kafka resolves after it has "
            "answered; here the first answer has them"),
        Why("0045_subscribe_many_updates", "fails now and then under load, where a heartbeat is answered within a millisecond: a subscription that "
            "follows an unsubscribe is then lost in the client; on Apache Kafka too (18 of 25 runs) with group.coordinator.append.linger.ms=0"),
    ]


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


# [0053_stats                  /  0.000s] WARN: SKIPPING TEST: RapidJSON >=1.1.0 not available
SKIPPING = re.compile(r"^\[(\d{4}\w+)\s*/[^\]]*\] WARN: SKIPPING TEST: (.*)$", re.MULTILINE)
# ### Test "0081_admin (do_test_X:3122: with temp queue)" failed at test.c:6808:test_X() at Thu Nov 26 21:29:32 2026: ###
FAILING = re.compile(r'^### Test "(\d{4}\w+)[^"]*" failed at .*: ###\n(.*)$', re.MULTILINE)
COLOR = re.compile(r"\x1b\[[0-9;]*m")
# Those of another scenario are skipped without a word.
NOT_CHOSEN = re.compile(r"$|Filtered due to|included in TESTS_SKIP list")


def _outcomes(log, report):
    """States from the runner's report, reasons from what it prints; without the tests that were not chosen."""
    text = COLOR.sub("", log.read_text(errors="replace"))
    said = {**dict(SKIPPING.findall(text)), **dict(FAILING.findall(text))}
    states = {"PASSED": PASSED, "SKIPPED": SKIPPED}
    outcomes = {}
    for name, test in (json.loads(report.read_text())["tests"] if report.exists() else {}).items():
        reason = said.get(name, "")
        if test["state"] != "DNS" and name != "<MAIN>" and not (test["state"] == "SKIPPED" and NOT_CHOSEN.match(reason)):
            outcomes[name] = (states.get(test["state"], FAILED), reason[:300])
    return outcomes
