"""Kafka's own command line tools, from the Maven artifacts, pointed at a broker; what they print is checked."""

import itertools
import json
import pathlib
import re
import time
import traceback

import confluent_kafka

from harness import environment, wire
from harness.kafka import run_tool
from harness.report import same
from suite import FAILED, PASSED, NotRun, Suite

RECORDS = 20000
# States of a transaction, as they are stored.
ONGOING, COMPLETE_COMMIT = 1, 4
UNKNOWN_TOPIC_OR_PARTITION = 3


class Tools(Suite):
    NAME = "Kafka's command line tools"
    VERSION = "4.1.1"
    CONFIGS = {"num.partitions": "1"}

    def prepare(self):
        try:
            environment.jars("kafka-4.1")
        except (OSError, RuntimeError) as error:
            raise NotRun(f"Maven: {error}"[:300]) from error

    def run(self, broker, log):
        outcomes = {}
        bench = Bench(broker, log)
        for check in CHECKS:
            started = time.monotonic()
            try:
                check(bench)
                outcomes[check.__name__] = (PASSED, "")
            except Exception as error:  # one tool that fails must not hide the others
                outcomes[check.__name__] = (FAILED, " ".join(f"{type(error).__name__}: {error}".split())[:600])
                bench.note(traceback.format_exc())
            print(f"  {outcomes[check.__name__][0]} {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
        return outcomes


class Bench:
    """A broker, and a place for files that tools read."""

    def __init__(self, broker, log):
        self.broker = broker
        self.home = pathlib.Path(broker.home)
        self.log = log

    def tool(self, name, *arguments, given=None, timeout=120):
        said = run_tool(name, "--bootstrap-server", self.broker.bootstrap, *arguments, given=given, timeout=timeout)
        self.note(f"$ {name} {' '.join(map(str, arguments))}\n{said}")
        return said

    def refused(self, name, *arguments):
        """What a tool says that must fail."""
        try:
            said = self.tool(name, *arguments)
        except RuntimeError as error:
            self.note(str(error))
            return str(error)
        raise AssertionError(f"{name} {arguments} did not fail: {said}")

    def file(self, name, content):
        path = self.home / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def topic(self, name, partitions=1, **configs):
        settings = [part for key, value in configs.items() for part in ("--config", f"{key.replace('_', '.')}={value}")]
        self.tool("kafka-topics", "--create", "--topic", name, "--partitions", partitions, "--replication-factor", 1, *settings)
        return name

    def fill(self, topic, count):
        self.tool("kafka-console-producer", "--topic", topic, given="".join(f"record-{n}\n" for n in range(count)))

    def note(self, text):
        with open(self.log, "a") as out:
            out.write(text + "\n")


def contains(text, *wanted):
    for one in wanted:
        if not re.search(one, text):
            raise AssertionError(f"no {one!r} in: {text}")


def lacks(text, *unwanted):
    for one in unwanted:
        if re.search(one, text):
            raise AssertionError(f"{one!r} in: {text}")


def kafka_topics(bench):
    bench.topic("t-topics", 3, retention_ms=3600000)
    contains(bench.tool("kafka-topics", "--list"), r"(?m)^t-topics$")
    described = bench.tool("kafka-topics", "--describe", "--topic", "t-topics")
    contains(described, r"PartitionCount: 3", r"ReplicationFactor: 1", r"retention\.ms=3600000", r"Partition: 2\s+Leader: \d+")
    contains(bench.refused("kafka-topics", "--create", "--topic", "t-topics"), "already exists")
    bench.tool("kafka-topics", "--create", "--if-not-exists", "--topic", "t-topics")
    bench.tool("kafka-topics", "--alter", "--topic", "t-topics", "--partitions", 5)
    contains(bench.tool("kafka-topics", "--describe", "--topic", "t-topics"), "PartitionCount: 5")
    contains(bench.refused("kafka-topics", "--alter", "--topic", "t-topics", "--partitions", 2), "InvalidPartitions")
    contains(bench.refused("kafka-topics", "--create", "--topic", "t-two", "--replication-factor", 2), "InvalidReplicationFactor")
    contains(bench.refused("kafka-topics", "--create", "--topic", "t-bad", "--config", "no.such.config=1"), "InvalidConfig|no.such.config")
    for state in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        lacks(bench.tool("kafka-topics", "--describe", state), r"t-topics")
    bench.tool("kafka-topics", "--delete", "--topic", "t-topics")
    lacks(bench.tool("kafka-topics", "--list"), r"t-topics")


def kafka_configs_topics(bench):
    topic = bench.topic("t-configs")
    about = ("--entity-type", "topics", "--entity-name", topic)
    bench.tool("kafka-configs", *about, "--alter", "--add-config", "cleanup.policy=[compact,delete],segment.ms=60000")
    contains(bench.tool("kafka-configs", *about, "--describe"), r"cleanup\.policy=compact,delete", r"segment\.ms=60000",
             "DYNAMIC_TOPIC_CONFIG")
    bench.tool("kafka-configs", *about, "--alter", "--delete-config", "segment.ms")
    described = bench.tool("kafka-configs", *about, "--describe")
    lacks(described, r"segment\.ms")
    every = bench.tool("kafka-configs", *about, "--describe", "--all")
    contains(every, r"min\.insync\.replicas=1", r"max\.message\.bytes=\d+", "DEFAULT_CONFIG")
    contains(bench.refused("kafka-configs", *about, "--alter", "--add-config", "retention.ms=soon"), "InvalidConfig|retention.ms")


def kafka_configs_brokers(bench):
    node = bench.tool("kafka-broker-api-versions").split("(id: ")[1].split(" ")[0]
    every = bench.tool("kafka-configs", "--entity-type", "brokers", "--entity-name", node, "--describe", "--all")
    contains(every, r"log\.retention\.hours=\d+", r"message\.max\.bytes=\d+", r"num\.partitions=1", "STATIC_BROKER_CONFIG|DEFAULT_CONFIG")
    default = ("--entity-type", "brokers", "--entity-default")
    bench.tool("kafka-configs", *default, "--alter", "--add-config", "message.max.bytes=2000000")
    contains(bench.tool("kafka-configs", *default, "--describe"), r"message\.max\.bytes=2000000")
    topic = bench.topic("t-cluster-default")
    contains(bench.tool("kafka-configs", "--entity-type", "topics", "--entity-name", topic, "--describe", "--all"),
             r"max\.message\.bytes=2000000")
    bench.tool("kafka-configs", *default, "--alter", "--delete-config", "message.max.bytes")
    lacks(bench.tool("kafka-configs", *default, "--describe"), "2000000")


def kafka_configs_quotas(bench):
    about = ("--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-name", "reporter")
    bench.tool("kafka-configs", *about, "--alter", "--add-config", "producer_byte_rate=1048576,request_percentage=50")
    contains(bench.tool("kafka-configs", *about, "--describe"), r"producer_byte_rate=1048576", r"request_percentage=50")
    bench.tool("kafka-configs", *about, "--alter", "--delete-config", "producer_byte_rate")
    described = bench.tool("kafka-configs", *about, "--describe")
    lacks(described, "producer_byte_rate")
    contains(described, "request_percentage=50")


def kafka_configs_groups(bench):
    about = ("--entity-type", "groups", "--entity-name", "g-configs")
    bench.tool("kafka-configs", *about, "--alter", "--add-config", "consumer.session.timeout.ms=50000")
    contains(bench.tool("kafka-configs", *about, "--describe"), r"consumer\.session\.timeout\.ms=50000")


def kafka_console_producer_and_consumer(bench):
    topic = bench.topic("t-console")
    bench.tool("kafka-console-producer", "--topic", topic, "--property", "parse.key=true", "--property", "key.separator=:",
               "--property", "parse.headers=true", "--property", "headers.delimiter=|",
               "--compression-codec", "zstd", given="h:1|k1:one\nh:2|k2:two\nh:3|k3:three\n")
    shown = ["--property", "print.key=true", "--property", "print.headers=true", "--property", "print.offset=true",
             "--property", "print.partition=true"]
    said = bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 3, *shown)
    same(said.splitlines(), [f"Partition:0\tOffset:{n}\th:{n + 1}\tk{n + 1}\t{word}" for n, word in enumerate(("one", "two", "three"))])
    said = bench.tool("kafka-console-consumer", "--topic", topic, "--partition", 0, "--offset", 1, "--max-messages", 2,
                      "--isolation-level", "read_committed")
    same(said.splitlines(), ["two", "three"])


def kafka_console_consumer_groups(bench):
    topic = bench.topic("t-console-groups")
    bench.fill(topic, 4)
    for protocol in ("classic", "consumer"):
        said = bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 4,
                          "--group", f"g-console-{protocol}", "--consumer-property", f"group.protocol={protocol}")
        same(len(said.splitlines()), 4, protocol)
        contains(bench.tool("kafka-consumer-groups", "--describe", "--group", f"g-console-{protocol}"),
                 rf"{topic}\s+0\s+4\s+4\s+0")


def kafka_consumer_groups(bench):
    topic = bench.topic("t-groups")
    bench.fill(topic, 10)
    about = ("--group", "g-offsets")
    bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 10, *about)
    contains(bench.tool("kafka-consumer-groups", "--list"), r"(?m)^g-offsets$")
    contains(bench.tool("kafka-consumer-groups", "--describe", *about), rf"g-offsets\s+{topic}\s+0\s+10\s+10\s+0")
    contains(bench.tool("kafka-consumer-groups", "--describe", "--state", *about), r"Empty\s+0")
    bench.tool("kafka-consumer-groups", "--describe", "--members", "--verbose", *about)
    reset = ("kafka-consumer-groups", "--reset-offsets", "--topic", topic, *about)
    contains(bench.tool(*reset, "--shift-by", -3, "--dry-run"), rf"{topic}\s+0\s+7")
    bench.tool(*reset, "--shift-by", -3, "--execute")
    contains(bench.tool("kafka-consumer-groups", "--describe", *about), rf"{topic}\s+0\s+7\s+10\s+3")
    bench.tool(*reset, "--to-earliest", "--execute")
    contains(bench.tool("kafka-consumer-groups", "--describe", *about), rf"{topic}\s+0\s+0\s+10\s+10")
    bench.tool(*reset, "--to-datetime", "2020-01-01T00:00:00.000", "--execute")
    contains(bench.tool("kafka-consumer-groups", "--describe", *about), rf"{topic}\s+0\s+0\s+10\s+10")
    contains(bench.tool("kafka-consumer-groups", "--delete-offsets", "--topic", topic, *about), "Successful")
    contains(bench.tool("kafka-consumer-groups", "--delete", *about), "success")
    lacks(bench.tool("kafka-consumer-groups", "--list"), "g-offsets")


def kafka_groups(bench):
    topic = bench.topic("t-all-groups")
    bench.fill(topic, 1)
    bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 1, "--group", "g-listed")
    contains(bench.tool("kafka-groups", "--list"), r"g-listed\s+Classic\s+consumer")


def kafka_producer_and_consumer_perf_test(bench):
    topic = bench.topic("t-perf", 2)
    contains(run_perf(bench, topic), rf"{RECORDS} records sent")
    said = bench.tool("kafka-consumer-perf-test", "--topic", topic, "--messages", RECORDS, "--timeout", 30000)
    same(int(said.splitlines()[1].split(", ")[4]), RECORDS, "records")


def run_perf(bench, topic, *arguments):
    """The one tool without --bootstrap-server."""
    said = run_tool("kafka-producer-perf-test", "--topic", topic, "--num-records", RECORDS, "--record-size", 100,
                    "--throughput", -1, "--producer-props", f"bootstrap.servers={bench.broker.bootstrap}", "acks=all",
                    *arguments)
    bench.note(said)
    return said


def kafka_producer_perf_test_with_transactions(bench):
    topic = bench.topic("t-perf-transactions")
    contains(run_perf(bench, topic, "--transaction-duration-ms", 200, "--transactional-id", "perf"), rf"{RECORDS} records sent")
    said = bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", RECORDS,
                      "--isolation-level", "read_committed", "--timeout-ms", 30000)
    same(len(said.splitlines()), RECORDS, "committed records")


def kafka_verifiable_producer_and_consumer(bench):
    topic = bench.topic("t-verifiable", 2)
    said = bench.tool("kafka-verifiable-producer", "--topic", topic, "--max-messages", 1000, "--acks", -1)
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    same(sum(event["name"] == "producer_send_success" for event in events), 1000, "acknowledged")
    for protocol in ("classic", "consumer"):
        said = bench.tool("kafka-verifiable-consumer", "--topic", topic, "--max-messages", 1000, "--group-id", f"g-verifiable-{protocol}",
                          "--reset-policy", "earliest", "--group-protocol", protocol)
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        same(sum(event["count"] for event in events if event["name"] == "records_consumed"), 1000, protocol)
        same([event for event in events if event["name"] == "offsets_committed" and not event["success"]], [], "refused commits")


def kafka_get_offsets(bench):
    topic = bench.topic("t-get-offsets")
    bench.fill(topic, 7)
    for when, expected in (("latest", 7), ("earliest", 0), ("max-timestamp", None), ("earliest-local", 0), (0, 0)):
        said = bench.tool("kafka-get-offsets", "--topic", topic, "--time", when).strip()
        if expected is None:
            contains(said, rf"^{topic}:0:\d+$")
        else:
            same(said, f"{topic}:0:{expected}", when)


def kafka_log_dirs(bench):
    topic = bench.topic("t-log-dirs")
    bench.fill(topic, 100)
    said = bench.tool("kafka-log-dirs", "--describe", "--topic-list", topic)
    told = json.loads(said[said.index("{"):])
    partition = told["brokers"][0]["logDirs"][0]["partitions"][0]
    same(partition["partition"], f"{topic}-0")
    same((partition["size"] > 500, partition["offsetLag"], partition["isFuture"]), (True, 0, False), str(partition))


def kafka_delete_records(bench):
    topic = bench.topic("t-delete-records")
    bench.fill(topic, 9)
    wanted = bench.file("delete.json", {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 4}]})
    contains(bench.tool("kafka-delete-records", "--offset-json-file", wanted), r"low_watermark: 4")
    same(bench.tool("kafka-get-offsets", "--topic", topic, "--time", "earliest").strip(), f"{topic}:0:4")


def kafka_transactions(bench):
    topic = bench.topic("t-transactions")
    run_perf(bench, topic, "--transaction-duration-ms", 200, "--transactional-id", "seen")
    contains(bench.tool("kafka-transactions", "list"), r"seen\s+\S+\s+\d+\s+CompleteCommit")
    contains(bench.tool("kafka-transactions", "describe", "--transactional-id", "seen"), r"seen\s+\d+\s+\d+\s+CompleteCommit")
    contains(bench.tool("kafka-transactions", "describe-producers", "--topic", topic, "--partition", 0), r"ProducerId\s+ProducerEpoch")
    node = bench.tool("kafka-broker-api-versions").split("(id: ")[1].split(" ")[0]
    bench.tool("kafka-transactions", "find-hanging", "--broker-id", node)


def kafka_broker_api_versions(bench):
    said = bench.tool("kafka-broker-api-versions")
    contains(said, r"Produce\(0\): \d+ to 13", r"Fetch\(1\): 4 to (17|18)", r"ApiVersions\(18\): 0 to 4")
    lacks(said, r"CreateTopics\(19\): UNSUPPORTED", r"DescribeCluster\(60\): UNSUPPORTED")


def kafka_leader_election(bench):
    bench.topic("t-election")
    said = bench.tool("kafka-leader-election", "--election-type", "preferred", "--topic", "t-election", "--partition", 0)
    contains(said, "already elected|Successfully completed|Valid replica")


def kafka_reassign_partitions(bench):
    topic = bench.topic("t-reassign")
    node = int(bench.tool("kafka-broker-api-versions").split("(id: ")[1].split(" ")[0])
    move = bench.file("move.json", {"version": 1, "topics": [{"topic": topic}]})
    said = bench.tool("kafka-reassign-partitions", "--generate", "--topics-to-move-json-file", move, "--broker-list", node)
    contains(said, "Proposed partition reassignment configuration", rf'"replicas":\[{node}\]')
    plan = bench.file("plan.json", {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [node]}]})
    contains(bench.tool("kafka-reassign-partitions", "--execute", "--reassignment-json-file", plan), "Successfully started")
    contains(bench.tool("kafka-reassign-partitions", "--verify", "--reassignment-json-file", plan), "is completed")
    contains(bench.tool("kafka-reassign-partitions", "--list"), "No partition reassignments found")
    elsewhere = bench.file("elsewhere.json", {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [node + 7]}]})
    bench.refused("kafka-reassign-partitions", "--execute", "--reassignment-json-file", elsewhere)


def kafka_features(bench):
    said = bench.tool("kafka-features", "describe")
    contains(said, r"Feature: transaction\.version\s.*FinalizedVersionLevel: 2", r"Feature: group\.version\s.*FinalizedVersionLevel: 1")


def kafka_cluster(bench):
    contains(cluster(bench, "cluster-id"), r"Cluster ID: \S+")
    contains(cluster(bench, "list-endpoints"), rf"127\.0\.0\.1\s+{bench.broker.port}")


def cluster(bench, command):
    """Here the command stands before the options."""
    said = run_tool("kafka-cluster", command, "--bootstrap-server", bench.broker.bootstrap)
    bench.note(said)
    return said


def kafka_e2e_latency(bench):
    topic = bench.topic("t-latency")
    # Broker, topic, records, acks, bytes of a record: this tool takes no options yet.
    contains(run_tool("kafka-e2e-latency", bench.broker.bootstrap, topic, 50, "all", 100), r"Percentiles")


def kafka_console_consumer_formatters(bench):
    """Kafka's own readers of what coordinators write."""
    topic = bench.topic("t-formatters")
    bench.fill(topic, 5)
    run_perf(bench, topic, "--transaction-duration-ms", 200, "--transactional-id", "ended")
    bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 5, "--group", "g-formatted")
    begun = begin(bench, topic, "begun")
    ended, ongoing = (transaction_states(bench, transactional_id) for transactional_id in ("ended", "begun"))
    begun.commit_transaction()
    # Older states may be compacted away, on both brokers.
    same(ended[-1]["transactionStatus"], COMPLETE_COMMIT, f"the last of {ended}")
    same((ongoing[-1]["transactionStatus"], ongoing[-1]["transactionPartitions"]), (ONGOING, [{"topic": topic, "partitionIds": [0]}]))
    said = internal(bench, "__consumer_offsets", "OffsetsMessageFormatter")
    committed = [row["value"]["data"]["offset"] for row in said if row["key"]["data"]["group"] == "g-formatted"]
    same(committed[-1], 5, "committed offset")
    said = internal(bench, "__consumer_offsets", "GroupMetadataMessageFormatter")
    members = [len(row["value"]["data"]["members"]) for row in said if row["key"]["data"]["group"] == "g-formatted"]
    same(members[-1], 0, f"members of the group: {members}")


def begin(bench, topic, transactional_id):
    """A producer in the middle of a transaction, whose last state names the topic: compaction leaves it there."""
    begun = confluent_kafka.Producer({"bootstrap.servers": bench.broker.bootstrap, "transactional.id": transactional_id})
    begun.init_transactions()
    begun.begin_transaction()
    begun.produce(topic, b"half")
    begun.flush()
    return begun


def transaction_states(bench, transactional_id):
    said = internal(bench, "__transaction_state", "TransactionLogMessageFormatter")
    return [row["value"]["data"] for row in said if row["key"]["data"]["transactionalId"] == transactional_id]


def internal(bench, topic, formatter):
    """Records of an internal topic, as one of Kafka's formatters tells them; it is silent about kinds that are not its own."""
    said = bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--timeout-ms", 8000,
                      "--formatter", f"org.apache.kafka.tools.consumer.{formatter}")
    rows, decoder = [], json.JSONDecoder()
    # They stand one after the other, without so much as a space.
    while said := said.lstrip():
        row, end = decoder.raw_decode(said)
        rows.append(row)
        said = said[end:]
    return [row for row in rows if row["value"]]


def kafka_dump_log(bench):
    topic = bench.topic("t-dump")
    run_perf(bench, topic, "--transaction-duration-ms", 200, "--transactional-id", "dumped")
    bench.tool("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 5, "--group", "g-dumped")
    contains(dumped(bench, topic, "--print-data-log"), r"isTransactional: true isControl: true", "endTxnMarker: COMMIT")
    begun = begin(bench, topic, "dumped-begun")
    contains(dumped(bench, "__transaction_state", "--transaction-log-decoder"), r'"transactionalId":"dumped"', r'"topic":"t-dump"')
    begun.commit_transaction()
    contains(dumped(bench, "__consumer_offsets", "--offsets-decoder"), r'"group":"g-dumped"', r'"offset":5\b')


def dumped(bench, topic, *options):
    """What kafka-dump-log makes of the batches of all partitions of a topic; not one of them may be damaged."""
    files = ",".join(map(str, segments(bench, topic)))
    said = run_tool("kafka-dump-log", "--files", files, "--deep-iteration", *options)
    bench.note(said[:20000])
    contains(said, "isvalid: true")
    lacks(said, "isvalid: false", "(?i)exception", "(?i)could not", "Unknown")
    return said


def segments(bench, topic):
    """A file for each partition that holds anything: a fetch answers the batches as a segment of Kafka has them."""
    files = []
    with wire.Connection(bench.broker.port) as connection:
        for partition in itertools.count():
            batches, offset = [], 0
            while True:
                error, high_watermark, found = wire.fetch(connection, topic, partition, offset, max_wait_ms=0)
                if error == UNKNOWN_TOPIC_OR_PARTITION:
                    return files
                same(error, 0, f"error of {topic}-{partition} at {offset}")
                batches += found
                if not found or found[-1].last_offset + 1 >= high_watermark:
                    break
                offset = found[-1].last_offset + 1
            if batches:
                home = bench.home / f"{topic}-{partition}"
                home.mkdir()
                files.append(home / f"{batches[0].base_offset:020}.log")
                files[-1].write_bytes(b"".join(batch.bytes for batch in batches))


CHECKS = [kafka_broker_api_versions, kafka_topics, kafka_configs_topics, kafka_configs_brokers, kafka_configs_quotas,
          kafka_configs_groups, kafka_console_producer_and_consumer, kafka_console_consumer_groups, kafka_consumer_groups,
          kafka_groups, kafka_producer_and_consumer_perf_test, kafka_producer_perf_test_with_transactions,
          kafka_verifiable_producer_and_consumer, kafka_get_offsets, kafka_log_dirs, kafka_delete_records, kafka_transactions,
          kafka_leader_election, kafka_reassign_partitions, kafka_features, kafka_cluster, kafka_e2e_latency,
          kafka_console_consumer_formatters, kafka_dump_log]
