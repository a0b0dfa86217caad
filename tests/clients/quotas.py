#!/usr/bin/env python3
"""Client quotas as real clients meet them: Kafka's Java client and its kafka-configs tool, and librdkafka.

Rates are checked as bounds on bytes in a time, never as exact times. One broker whose windows are a second long.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import environment
from harness.broker import Broker
from harness.kafka import Tool
from harness.report import Report, same

DRIVER = pathlib.Path(__file__).resolve().parent / "adapters" / "Quotas.java"
RATE = 100_000
SECONDS = 6
CONFIGS = {
    # What a second allows may come at once; beyond that clients are held to the rate.
    "quota.window.num": "2", "quota.window.size.seconds": "1",
    "controller.quota.window.num": "1", "controller.quota.window.size.seconds": "1",
}


def main():
    report = Report("quotas")
    with report.case("installed"):
        environment.java(DRIVER, "client-4.1")
        environment.jars("kafka-4.1")
    if not report.failed:
        with Broker("quotas", CONFIGS) as broker:
            run(report, broker)
            with report.case("the broker stops cleanly"):
                same(broker.stop(), 0, "exit code")
    sys.exit(report.finish())


def run(report, broker):
    with report.case("Java's Admin sets, describes and removes quotas"):
        same(java(broker, "admin"), {
            "all": "5", "alice": "1000.0,12.5", "default-user": "3.0", "contains": "2", "contains-only": "1", "default": "1",
            "any-user": "3", "bad-key": "InvalidRequestException", "bad-entity": "InvalidRequestException", "left": "0",
        })
    with report.case("kafka-configs sets and describes quotas and dynamic configs"):
        with Tool("kafka-configs") as configs:
            kafka_configs(broker, lambda *what: configs.run("--bootstrap-server", broker.bootstrap, *what))
    broker.cli("topic", "create", "quotas", "--partitions", 1)
    with report.case("a Java producer is held to its rate, and told for how long"):
        set_quota(broker, "java-slow", f"producer_byte_rate={RATE}")
        bounded(java(broker, "produce", "java-slow", SECONDS))
    with report.case("a producer without a quota is not"):
        free = java(broker, "produce", "java-free", 2)
        same(float(free["throttled"]), 0.0, "throttle time")
        if float(free["bytes"]) <= 4 * RATE:
            raise AssertionError(f"only {free} without a quota")
    with report.case("a Java consumer is held to its rate, and told for how long"):
        set_quota(broker, "java-slow", f"consumer_byte_rate={RATE}")
        # A fetch is answered with at most what a window allows, and the rest of a batch.
        bounded(java(broker, "consume", "java-slow", SECONDS), RATE + 16 * 1024)
    with report.case("Java's Admin is refused what it creates too fast, and tries again by itself"):
        set_quota(broker, "mutator", "controller_mutation_rate=5")
        told = java(broker, "mutate")
        same((told["error"], told["last"]), ("ThrottlingQuotaExceededException", "created"))
        if int(told["throttle-ms"]) <= 0 or int(told["created"]) < 1:
            raise AssertionError(f"{told}")
    with report.case("librdkafka is held to its rates, and hears of it"):
        librdkafka(broker)
    with report.case("tidegate quota shows what is set, as JSON and as a table"):
        table = broker.cli("quota", "describe", "--client-id", "java-slow")
        if "producer_byte_rate" not in table or str(RATE) not in table:
            raise AssertionError(table)
        broker.cli("quota", "alter", "--client-id", "java-slow", "--delete", "producer_byte_rate",
                   "--delete", "consumer_byte_rate")
        same(broker.cli("quota", "describe", "--client-id", "java-slow", "-o", "json").strip(), "[]")
    with report.case("the metrics count who was throttled"):
        metrics = broker.get("/metrics")
        for quota in ("producer_byte_rate", "consumer_byte_rate", "controller_mutation_rate"):
            line = f'tidegate_quota_throttled_total{{quota="{quota}"}}'
            same(line in metrics, True, line)


def java(broker, *arguments):
    """What the driver measured."""
    command = [*environment.java(DRIVER, "client-4.1", "512m"), broker.bootstrap, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def set_quota(broker, client_id, quota):
    broker.cli("quota", "alter", "--client-id", client_id, "-q", quota)


def bounded(told, request=64 * 1024):
    """A window's worth at once, the rate from then on, and one request that went over, of so many bytes."""
    count, seconds = float(told["bytes"]), float(told["seconds"])
    allowed = RATE * (1 + seconds) + request
    if not RATE <= count <= allowed:
        raise AssertionError(f"{count:.0f} bytes in {seconds:.1f} s, {allowed:.0f} were allowed")
    if not float(told["throttled"]) > 0:
        raise AssertionError(f"never told to wait: {told}")


def kafka_configs(broker, tool):
    user = ("--entity-type", "users", "--entity-name", "bob")
    tool("--alter", *user, "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048")
    tool("--alter", "--entity-type", "clients", "--entity-default", "--add-config", "request_percentage=200")
    tool("--alter", "--entity-type", "ips", "--entity-name", "10.0.0.9", "--add-config", "connection_creation_rate=7")
    # The tool goes on to ask for the user's SCRAM credentials, which this version does not have, and fails at that.
    try:
        said = tool("--describe", *user)
    except RuntimeError as failed:
        said = str(failed)
        same("UnsupportedVersionException" in said, True, said)
    for part in ("producer_byte_rate=1024.0", "consumer_byte_rate=2048.0"):
        same(part in said, True, f"{part} in {said}")
    same("request_percentage=200.0" in tool("--describe", "--entity-type", "clients", "--entity-default"), True)
    same("connection_creation_rate=7.0" in tool("--describe", "--entity-type", "ips"), True)
    tool("--alter", *user, "--delete-config", "producer_byte_rate,consumer_byte_rate")
    tool("--alter", "--entity-type", "clients", "--entity-default", "--delete-config", "request_percentage")
    tool("--alter", "--entity-type", "ips", "--entity-name", "10.0.0.9", "--delete-config", "connection_creation_rate")
    same(broker.cli("quota", "describe", "-o", "json").strip(), "[]")

    one, every = ("--entity-type", "brokers", "--entity-name", "1"), ("--entity-type", "brokers", "--entity-default")
    tool("--alter", *every, "--add-config", "log.retention.ms=7200000")
    tool("--alter", *one, "--add-config", "log.retention.ms=3600000,max.connections.per.ip=900")
    said = tool("--describe", *one)
    for part in ("log.retention.ms=3600000", "DYNAMIC_BROKER_CONFIG:log.retention.ms=3600000",
                 "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7200000", "max.connections.per.ip=900"):
        same(part in said, True, f"{part} in {said}")
    same("log.retention.ms=7200000" in tool("--describe", *every), True)
    tool("--alter", *one, "--delete-config", "log.retention.ms,max.connections.per.ip")
    tool("--alter", *every, "--delete-config", "log.retention.ms")
    loggers = ("--entity-type", "broker-loggers", "--entity-name", "1")
    same("root=INFO" in tool("--describe", *loggers), True)
    tool("--alter", *loggers, "--add-config", "tidegate_broker=DEBUG")
    same("tidegate_broker=DEBUG" in tool("--describe", *loggers), True)
    tool("--alter", *loggers, "--delete-config", "tidegate_broker")
    same("tidegate_broker=INFO" in tool("--describe", *loggers), True)
    try:
        tool("--alter", *one, "--add-config", "no.such.config=1")
    except RuntimeError as refused:
        same("no.such.config" in str(refused), True, "the sentence")
    else:
        raise AssertionError("a config that does not exist was taken")


def librdkafka(broker):
    """confluent-kafka in the virtual environment of the other clients."""
    set_quota(broker, "rdkafka-slow", f"producer_byte_rate={RATE}")
    done = subprocess.run([str(environment.python()), "-c", RDKAFKA, broker.bootstrap, str(SECONDS)], capture_output=True,
                          text=True, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    bounded(dict(line.split(" ", 1) for line in done.stdout.splitlines()))


RDKAFKA = """
import sys, time
from confluent_kafka import Producer
waits, acknowledged = [0], [0]
def delivered(error, message):
    acknowledged[0] += 0 if error else len(message.value())
producer = Producer({"bootstrap.servers": sys.argv[1], "client.id": "rdkafka-slow", "batch.size": 16384, "linger.ms": 5,
                     "queue.buffering.max.kbytes": 64, "throttle_cb": lambda event: waits.append(event.throttle_time)})
value, began = bytes(range(250)) * 32, time.monotonic()
while time.monotonic() - began < float(sys.argv[2]):
    try:
        producer.produce("quotas", value, on_delivery=delivered)
        producer.poll(0)
    except BufferError:
        producer.poll(0.05)
print("bytes", acknowledged[0])
print("seconds", time.monotonic() - began)
print("throttled", max(waits))
producer.purge()
"""


if __name__ == "__main__":
    main()
