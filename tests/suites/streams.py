"""A Kafka Streams word count with processing.guarantee=exactly_once_v2, killed and started again in the middle."""

import pathlib
import signal
import subprocess
import tempfile

from harness import environment
from harness.kafka import java
from suite import FAILED, PASSED, NotRun, Suite, bounded

PROGRAM = pathlib.Path(__file__).with_name("WordCount.java")
HALF = 3000


class Streams(Suite):
    NAME = "Kafka Streams word count, exactly_once_v2"
    VERSION = "4.1.1"

    def prepare(self):
        try:
            environment.jars("kafka-4.1")
        except (OSError, RuntimeError) as error:
            raise NotRun(f"Maven: {error}"[:300]) from error

    def run(self, broker, log):
        with tempfile.TemporaryDirectory() as state:
            return self._run(broker, log, state)

    def _run(self, broker, log, state):
        def program(*arguments, limit=240):
            code = bounded(java(PROGRAM, *arguments[:1], broker.bootstrap, *arguments[1:]), log, limit)
            if code != 0:
                raise AssertionError(f"WordCount {arguments} exited {code}; see {log}")

        outcomes = {}

        def step(name, action):
            try:
                action()
                outcomes[name] = (PASSED, "")
            except (AssertionError, TimeoutError) as error:
                outcomes[name] = (FAILED, str(error)[:300])
            return outcomes[name][0] == PASSED

        counter = Counter(broker, log, state)
        try:
            if not step("topics and the first half", lambda: program("feed", 0, HALF)):
                return outcomes
            counter.start()
            if not step("counting has begun", lambda: program("await", 1)):
                return outcomes
            counter.kill()
            step("the second half", lambda: program("feed", HALF, 2 * HALF))
            counter.start()
            step("exact after a kill of the application", lambda: program("verify", 2 * HALF))
            step("the broker starts again", broker.restart)
            step("the third part", lambda: program("feed", 2 * HALF, 3 * HALF))
            step("exact after a restart of the broker", lambda: program("verify", 3 * HALF))
        finally:
            counter.kill()
        return outcomes


class Counter:
    """The application's process."""

    def __init__(self, broker, log, state):
        self.command = java(PROGRAM, "count", broker.bootstrap, state)
        self.log = log
        self.process = None

    def start(self):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([str(part) for part in self.command], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
