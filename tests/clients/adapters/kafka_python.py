"""kafka-python 3: a client in plain Python."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.protocol.admin import ElectionType
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from .base import MAX_REQUEST_BYTES, MEMBER_OPTIONS, BaseClient, PollingMember, Record

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
SPECS = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max_timestamp": OffsetSpec.MAX_TIMESTAMP}
WAIT = 30


class Client(BaseClient):
    def __init__(self, context):
        super().__init__(context)
        self.admin = KafkaAdminClient(bootstrap_servers=context.bootstrap)

    def create_topic(self, topic, partitions=1, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def list_topics(self):
        return self.admin.list_topics()

    def describe_topic(self, topic):
        (found,) = self.admin.describe_topics([topic])
        return {p["partition_index"]: {"leader": p["leader_id"], "replicas": p["replica_nodes"], "isr": p["isr_nodes"]}
                for p in found["partitions"]}

    def create_partitions(self, topic, total):
        self.admin.create_partitions({topic: total})

    def describe_configs(self, topic):
        return self._configs(ConfigResourceType.TOPIC, topic)

    def describe_broker_configs(self):
        return self._configs(ConfigResourceType.BROKER, str(self.describe_cluster()["brokers"][0]))

    def _configs(self, kind, name):
        found = self.admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
        return {key: entry["value"] for key, entry in found[kind.name.lower()][name].items()}

    def set_configs(self, topic, configs):
        # Left to itself, this client refuses every key that DescribeConfigs does not list for the topic already, as the
        # keys of a plugin that is yet to be bound.
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))
        _ok(self.admin.alter_configs([resource], raise_on_unknown=False)["topic"][topic])

    def delete_config(self, topic, name):
        _ok(self.admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=[name])])["topic"][topic])

    def describe_cluster(self):
        found = self.admin.describe_cluster()
        return {"brokers": [b["broker_id"] for b in found["brokers"]], "controller": found["controller_id"],
                "cluster": found["cluster_id"]}

    def log_dirs(self, topic):
        return {p["partition_index"]: p["partition_size"] for broker in self.admin.describe_log_dirs()
                for home in broker["log_dirs"] for t in home["topics"] if t["name"] == topic for p in t["partitions"]}

    def features(self):
        return {name: row["finalized"][1] for name, row in self.admin.describe_features().items() if "finalized" in row}

    def elect_leader(self, topic, partition):
        answer = self.admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, partition)], raise_errors=False)
        return str(answer.replica_election_results[0].partition_result[0].error_code or "")

    def reassign(self, topic, partition, replicas):
        for error in self.admin.alter_partition_reassignments({TopicPartition(topic, partition): replicas}).values():
            if error:
                raise error

    def list_reassignments(self):
        return [f"{tp.topic}-{tp.partition}" for tp in self.admin.list_partition_reassignments()]

    def delete_records(self, topic, partition, offset):
        at = TopicPartition(topic, partition)
        return self.admin.delete_records({at: offset})[at]["low_watermark"]

    def describe_producers(self, topic, partition):
        at = TopicPartition(topic, partition)
        return [producer.producer_id for producer in self.admin.describe_producers([at])[at].active_producers]

    def list_offsets(self, topic, partition, where):
        at = TopicPartition(topic, partition)
        return self.admin.list_partition_offsets({at: SPECS.get(where, where)})[at].offset

    def end_offsets(self, topic, partitions):
        consumer = KafkaConsumer(bootstrap_servers=self.context.bootstrap)
        try:
            ends = consumer.end_offsets([TopicPartition(topic, p) for p in range(partitions)])
            return {tp.partition: offset for tp, offset in ends.items()}
        finally:
            consumer.close()

    def list_groups(self):
        return [group["group_id"] for group in self.admin.list_groups()]

    def describe_group(self, group):
        found = self.admin.describe_groups([group])[group]
        return {"state": found["group_state"], "members": len(found["members"])}

    def delete_group(self, group):
        _ok(self.admin.delete_groups([group])[group])

    def committed(self, group, topic):
        found = self.admin.list_group_offsets({group: None})[group]
        return {tp.partition: meta.offset for tp, meta in found.items() if tp.topic == topic and meta.offset >= 0}

    def alter_offsets(self, group, topic, offsets):
        self.admin.alter_group_offsets(group, _positions(topic, offsets))

    def delete_offsets(self, group, topic, partitions):
        self.admin.delete_group_offsets(group, [TopicPartition(topic, p) for p in partitions])

    def list_transactions(self):
        return {row.transactional_id: row.state.value for rows in self.admin.list_transactions().values() for row in rows}

    def describe_transaction(self, transaction):
        found = self.admin.describe_transactions([transaction])[transaction]
        return {"state": found.state.value, "partitions": [f"{tp.topic}-{tp.partition}" for tp in found.topic_partitions]}

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        producer = KafkaProducer(bootstrap_servers=self.context.bootstrap, linger_ms=20, client_id=client_id,
                                 acks=acks if acks == "all" else int(acks), max_request_size=MAX_REQUEST_BYTES,
                                 compression_type=None if codec == "none" else codec, enable_idempotence=idempotent)
        try:
            return sent(producer, topic, sends, one_by_one)
        finally:
            producer.close(10)

    def member(self, group, topics, auto_commit=False, **options):
        return KafkaPythonMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit, **options).begin()

    def reader(self, topic, partition, where, **options):
        return KafkaPythonMember(self.context.bootstrap, None, start=(topic, partition, where), **options).begin()

    def transactional(self, id, timeout_ms=60000):
        return Transactional(self.context.bootstrap, id, timeout_ms)

    def close(self):
        self.admin.close()


def _ok(answer):
    if answer not in ("OK", "NoError"):
        raise RuntimeError(answer)


def _positions(topic, offsets):
    return {TopicPartition(topic, p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items()}


def sent(producer, topic, sends, one_by_one=False):
    """The offsets of all of it, once it is acknowledged."""
    futures = []
    for send in sends:
        futures.append(producer.send(topic, value=send.value, key=send.key, partition=send.partition,
                                     timestamp_ms=send.timestamp, headers=list(send.headers)))
        if one_by_one:
            futures[-1].get(WAIT)
    producer.flush(WAIT)
    return [future.get(WAIT).offset for future in futures]


class Transactional:
    def __init__(self, bootstrap, id, timeout_ms):
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=id, transaction_timeout_ms=timeout_ms)
        self.producer.init_transactions()
        self.begin = self.producer.begin_transaction
        self.commit = self.producer.commit_transaction
        self.abort = self.producer.abort_transaction

    def send(self, topic, sends):
        sent(self.producer, topic, sends)

    def send_offsets(self, group, topic, offsets):
        self.producer.send_offsets_to_transaction(_positions(topic, offsets), ConsumerGroupMetadata(group, -1, "", None))

    def close(self):
        self.producer.close(10)


class KafkaPythonMember(PollingMember, ConsumerRebalanceListener):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False, **options):
        super().__init__()
        options = {**MEMBER_OPTIONS, **options}
        self.options = {
            "bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest",
            "enable_auto_commit": auto_commit, "auto_commit_interval_ms": 200, "heartbeat_interval_ms": 500,
            "session_timeout_ms": options["session_ms"], "fetch_max_wait_ms": 100,
            "isolation_level": options["isolation"], "group_instance_id": options["instance"],
            "partition_assignment_strategy": [ASSIGNORS[options["assignor"]]],
        }
        self.topics, self.start_at = topics, start

    def open(self):
        self.consumer = KafkaConsumer(**self.options)
        if self.topics:
            self.consumer.subscribe(self.topics, listener=self)
            return
        topic, partition, where = self.start_at
        at = TopicPartition(topic, partition)
        self.consumer.assign([at])
        if where == "beginning":
            self.consumer.seek_to_beginning(at)
        elif where == "end":
            self.consumer.seek_to_end(at)
        elif isinstance(where, tuple):
            self.consumer.seek(at, self.consumer.offsets_for_times({at: where[1]})[at].offset)
        else:
            self.consumer.seek(at, where)
            return
        self.consumer.position(at)

    def on_partitions_assigned(self, added):
        self.holds(self.assignment() | {tp.partition for tp in added})

    def on_partitions_revoked(self, gone):
        self.holds(self.assignment() - {tp.partition for tp in gone})

    on_partitions_lost = on_partitions_revoked

    def poll_records(self, seconds):
        polled = self.consumer.poll(timeout_ms=int(seconds * 1000))
        return [Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for records in polled.values() for r in records]

    def shut(self):
        self.consumer.close()

    def position(self, topic, partition):
        at = TopicPartition(topic, partition)
        return self.ask(lambda: self.consumer.position(at) if at in self.consumer.assignment() else -1)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition), offset))

    def commit(self):
        self.ask(lambda: self.consumer.commit())
