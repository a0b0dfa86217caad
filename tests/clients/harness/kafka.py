"""Apache Kafka 4.1 in the same place as Tidegate: the second broker, which says what a test should expect.

    with Kafka("bench", {"log.flush.interval.messages": "1"}, heap="1g") as kafka:
        ... kafka.bootstrap, kafka.pid, kafka.data, kafka.log, kafka.tool("kafka-topics", "--list")
"""

import base64
import pathlib
import re
import subprocess
import uuid

from . import environment
from .process import Server, free_port

VERSION = "4.1"
# The classes behind the scripts of Kafka's distribution.
TOOLS = {
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "kafka-dump-log": "kafka.tools.DumpLogSegments",
}


class Kafka(Server):
    """A KRaft node that is broker and controller. `configs` come on top of what a single node needs."""

    READY = re.compile(r"Kafka Server started")
    # What Java makes of SIGTERM.
    STOPPED = 143

    def __init__(self, name="kafka", configs=None, heap="512m"):
        super().__init__(name)
        self.data = self.home / "data"
        self.heap = heap
        self.properties = self.home / "server.properties"
        controller = f"127.0.0.1:{free_port()}"
        self.configs = {
            "process.roles": "broker,controller",
            "node.id": "0",
            "controller.quorum.voters": f"0@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data,
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "300",
            **(configs or {}),
        }

    def start(self, timeout=180.0):
        return super().start(timeout)

    def command(self):
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in self.configs.items()))
        if self.starts == 1:
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            self.tool("kafka-storage", "format", "--config", self.properties, f"--cluster-id={cluster}")
        return java("kafka.Kafka", self.properties, heap=self.heap, log="warn",
                    properties={"org.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer": "info"})

    def tool(self, name, *arguments, given=None, timeout=120):
        """Runs one of Kafka's own command line tools against this broker and returns its standard output."""
        if name != "kafka-storage":
            arguments = ("--bootstrap-server", self.bootstrap, *arguments)
        return run_tool(name, *arguments, given=given, timeout=timeout)


def run_tool(name, *arguments, given=None, timeout=120):
    """Runs one of Kafka's own command line tools, whatever broker it is pointed at, and returns its standard output."""
    command = java(TOOLS[name], *arguments, options=environment.QUICK_JAVA)
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout,
                          **({} if given is not None else {"stdin": subprocess.DEVNULL}))
    if done.returncode != 0:
        raise RuntimeError(f"{name} {' '.join(map(str, arguments))} exited {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


class Tool:
    """One tool in one process, for who runs it many times; what it is given and answers is that of `run_tool`."""

    def __init__(self, name):
        self.name = name
        program = pathlib.Path(__file__).with_name("Tools.java")
        command = [*environment.java(program, f"kafka-{VERSION}"), TOOLS[name]]
        command.insert(1, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments):
        print(*arguments, sep="\t", file=self.process.stdin, flush=True)
        code, _, said = self.process.stdout.readline().partition(" ")
        text = base64.b64decode(said).decode()
        if code != "0":
            raise RuntimeError(f"{self.name} {' '.join(map(str, arguments))} exited {code}: {text}")
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait(30)


def java(main, *arguments, heap="256m", log="error", properties=None, options=()):
    """The command line of one of Kafka's programs; what it logs goes to standard error."""
    settings = {"org.slf4j.simpleLogger.defaultLogLevel": log, **(properties or {})}
    return ["java", f"-Xmx{heap}", *options, "-Djava.awt.headless=true",
            *(f"-D{key}={value}" for key, value in settings.items()),
            "-cp", f"{environment.jars(f'kafka-{VERSION}')}/*", main, *map(str, arguments)]
