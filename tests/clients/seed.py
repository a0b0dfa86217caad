"""The three programs of the article (seed/), run as they stand against `tidegate serve --config server.properties`.

As design/seed/README.md says, consumer_assign.py runs with its topic argument dropped and its two missing lines added.
Where port 9092 or /tmp/kafka-logs is taken, copies with another port or directory are used, and the run says so.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import environment
from harness.broker import free_port
from harness.report import Report, same, until

SHARED = environment.ROOT.parent / "shared" / "design" / "seed"
OWN = environment.CLIENTS / "seed"
FILES = ("producer.py", "consumer.py", "consumer_assign.py", "server.properties")
LOGS = pathlib.Path("/tmp/kafka-logs")


class Seed:
    def __init__(self, home, report):
        self.home, self.report = home, report
        source = SHARED if SHARED.is_dir() else OWN
        self.text = {name: (source / name).read_text() for name in FILES}
        self.logs = LOGS
        self.processes = []
        if _taken(9092):
            self._move_port(free_port())
        if LOGS.exists():
            self.logs = home / "kafka-logs"
            print(f"{LOGS} exists: server.properties runs with log.dirs={self.logs}")
            self._replace("server.properties", str(LOGS), str(self.logs))
        self._replace("consumer_assign.py", "KafkaConsumer('my-topic', ", "KafkaConsumer(")
        self.text["consumer_assign.py"] = ("from kafka import TopicPartition\nprocess_message = print\n"
                                           + self.text["consumer_assign.py"])
        for name, text in self.text.items():
            (home / name).write_text(text)

    def run(self):
        broker_log = self.home / "broker.log"
        broker = self._start([str(environment.tidegate()), "serve", "--config", "server.properties", "--admin",
                              f"127.0.0.1:{free_port()}"], broker_log)
        with self.report.case("the broker takes server.properties as it is, and names zookeeper.connect in a warning"):
            until(lambda: broker.poll() is not None or "ready" in broker_log.read_text(), "ready")
            same(broker.poll(), None, "exit code of the broker")
            warned = [line for line in broker_log.read_text().splitlines() if "zookeeper.connect" in line]
            same(any("warn" in line.lower() for line in warned), True, f"a warning, not {warned}")
        if broker.poll() is None:
            with self.report.case("producer.py"):
                self._produce()
            with self.report.case("consumer.py prints what producer.py sends"):
                self._consume("consumer.py")
            with self.report.case("consumer_assign.py processes what producer.py sends"):
                self._consume("consumer_assign.py")
            with self.report.case("the broker stops cleanly"):
                broker.send_signal(signal.SIGTERM)
                same(broker.wait(30), 0, "exit code")
        if self.report.failed:
            print(f"the broker's log:\n{broker_log.read_text()[-4000:]}")

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.logs, ignore_errors=True)

    def _consume(self, program):
        """The consumer starts at the end of the topic, so producing is repeated until it is there to see a record."""
        output = self.home / f"{program}.out"
        process = self._start([sys.executable, "-u", program], output)

        def seen():
            if process.poll() is not None:
                raise RuntimeError(f"{program} exited {process.returncode}: {output.read_text()[-2000:]}")
            self._produce()
            return "some_message_bytes" in output.read_text()
        until(seen, lambda: f"a message printed: {output.read_text()[-2000:]}", 60)
        process.kill()
        process.wait()

    def _produce(self):
        subprocess.run([sys.executable, "producer.py"], cwd=self.home, check=True, timeout=60, capture_output=True)

    def _start(self, command, output):
        with open(output, "wb") as out:
            process = subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        self.processes.append(process)
        return process

    def _move_port(self, port):
        print(f"port 9092 is taken: the programs run rewritten to {port}")
        self._replace("server.properties", "localhost:9092", f"localhost:{port}")
        self._replace("producer.py", "localhost:9092", f"localhost:{port}")
        for name in ("consumer.py", "consumer_assign.py"):
            self._replace(name, "group_id=", f"bootstrap_servers='localhost:{port}', group_id=")

    def _replace(self, name, old, new):
        if old not in self.text[name]:
            raise AssertionError(f"{name} no longer has {old!r}")
        self.text[name] = self.text[name].replace(old, new)


def _taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main():
    report = Report("seed")
    with tempfile.TemporaryDirectory(prefix="tidegate-seed-") as home:
        seed = Seed(pathlib.Path(home), report)
        try:
            seed.run()
        finally:
            seed.end()
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
