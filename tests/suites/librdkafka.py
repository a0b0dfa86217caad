"""librdkafka's broker tests, whose sources ship inside the crate rdkafka-sys; once for each group protocol."""

import os
import re
import shutil

from suite import FAILED, PASSED, SKIPPED, Suite, bounded, built, cached, crate, ended


class Librdkafka(Suite):
    NAME = "librdkafka"
    VERSION = "2.12.1"
    CRATE = "4.10.0+2.12.1"
    CONFIGS = {"num.partitions": "4"}
    LIMIT_SECONDS = 2400
    PROTOCOL = "classic"
    EXPLAINED = []

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
        libraries = f"{self.home.parent / 'src'}:{self.home.parent / 'src-cpp'}"
        # -L: only what needs a broker; -Q -E is `make quick`: smaller figures, no faults injected into sockets.
        code = bounded(["./test-runner", "-L", "-Q", "-E", "-p4", "-V", "4.1.0"], log, self.LIMIT_SECONDS, cwd=self.home,
                       env={"RDKAFKA_TEST_CONF": str(conf), "LD_LIBRARY_PATH": libraries,
                            "TEST_CONSUMER_GROUP_PROTOCOL": self.PROTOCOL, "CI": "true"})
        return ended(_outcomes(log), code)


class Librdkafka848(Librdkafka):
    NAME = "librdkafka, KIP-848 groups"
    PROTOCOL = "consumer"


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
