"""kafka-python 3: a client in plain Python."""

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic

from .base import BaseClient, PollingMember, Record


class Client(BaseClient):
    def __init__(self, context):
        super().__init__(context)
        self.admin = KafkaAdminClient(bootstrap_servers=context.bootstrap)

    def create_topic(self, name, partitions=1, configs=None):
        self.admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])

    def set_configs(self, topic, configs):
        # Left to itself, this client refuses every key that DescribeConfigs does not list for the topic already, as the
        # keys of a plugin that is yet to be bound.
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))
        answer = self.admin.alter_configs([resource], raise_on_unknown=False)["topic"][topic]
        if answer != "OK":
            raise RuntimeError(answer)

    def produce(self, topic, sends, codec="none", idempotent=False):
        producer = KafkaProducer(bootstrap_servers=self.context.bootstrap, acks="all", linger_ms=20,
                                 compression_type=None if codec == "none" else codec, enable_idempotence=idempotent)
        try:
            futures = [producer.send(topic, value=s.value, key=s.key, partition=s.partition,
                                     timestamp_ms=s.timestamp, headers=list(s.headers)) for s in sends]
            producer.flush(30)
            return [future.get(30).offset for future in futures]
        finally:
            producer.close(10)

    def member(self, group, topics, auto_commit=False):
        return KafkaPythonMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit).begin()

    def reader(self, topic, partition, where):
        return KafkaPythonMember(self.context.bootstrap, None, start=(topic, partition, where)).begin()

    def committed(self, group, topic):
        found = self.admin.list_group_offsets({group: None})[group]
        return {tp.partition: meta.offset for tp, meta in found.items() if tp.topic == topic and meta.offset >= 0}

    def end_offsets(self, topic, partitions):
        consumer = KafkaConsumer(bootstrap_servers=self.context.bootstrap)
        try:
            ends = consumer.end_offsets([TopicPartition(topic, p) for p in range(partitions)])
            return {tp.partition: offset for tp, offset in ends.items()}
        finally:
            consumer.close()

    def close(self):
        self.admin.close()


class KafkaPythonMember(PollingMember):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False):
        super().__init__()
        self.options = {
            "bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest",
            "enable_auto_commit": auto_commit, "auto_commit_interval_ms": 200, "heartbeat_interval_ms": 500,
            "session_timeout_ms": 10000, "fetch_max_wait_ms": 100,
        }
        self.topics, self.start_at = topics, start

    def open(self):
        self.consumer = KafkaConsumer(**self.options)
        if self.topics:
            self.consumer.subscribe(self.topics)
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
        self.consumer.position(at)

    def poll_records(self, seconds):
        polled = self.consumer.poll(timeout_ms=int(seconds * 1000))
        return [Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for records in polled.values() for r in records]

    def shut(self):
        self.consumer.close()

    def assignment(self):
        return self.ask(lambda: {tp.partition for tp in self.consumer.assignment()})

    def position(self, topic, partition):
        at = TopicPartition(topic, partition)
        return self.ask(lambda: self.consumer.position(at) if at in self.consumer.assignment() else -1)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition), offset))

    def commit(self):
        self.ask(lambda: self.consumer.commit())
