"""confluent-kafka: librdkafka 2.16 behind Python."""

import threading

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec,
                                   ResourceType)

from .base import BaseClient, PollingMember, Record

SPECIAL = {"beginning": 0, "end": 1}


class Client(BaseClient):
    @property
    def admin(self):
        """A new one each time: librdkafka 2.16 hangs on its cached coordinator once a restart has made it bootstrap again."""
        return AdminClient({"bootstrap.servers": self.context.bootstrap, "log_level": 2})

    def create_topic(self, name, partitions=1, configs=None):
        admin = self.admin
        admin.create_topics([NewTopic(name, partitions, 1, config=configs or {})])[name].result(30)

    def set_configs(self, topic, configs):
        entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in configs.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        admin = self.admin
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(30)

    def produce(self, topic, sends, codec="none", idempotent=False):
        producer = Producer({"bootstrap.servers": self.context.bootstrap, "compression.type": codec,
                             "enable.idempotence": idempotent, "acks": "all", "linger.ms": 20,
                             "message.timeout.ms": 30000, "log_level": 2})
        offsets, errors = [None] * len(sends), []

        def delivered(index):
            def told(error, message):
                if error:
                    errors.append(error)
                else:
                    offsets[index] = message.offset()
            return told

        for index, send in enumerate(sends):
            extra = {} if send.timestamp is None else {"timestamp": send.timestamp}
            if send.partition is not None:
                extra["partition"] = send.partition
            producer.produce(topic, value=send.value, key=send.key, headers=list(send.headers),
                             on_delivery=delivered(index), **extra)
        left = producer.flush(30)
        if left or errors:
            raise RuntimeError(f"{left} records unanswered, errors {errors[:3]}")
        return offsets

    def member(self, group, topics, auto_commit=False):
        return ConfluentMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit).begin()

    def reader(self, topic, partition, where):
        return ConfluentMember(self.context.bootstrap, "readers", start=(topic, partition, where)).begin()

    def committed(self, group, topic):
        """{partition: offset} as the coordinator has it."""
        admin = self.admin
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        found = asked[group].result(30).topic_partitions
        return {tp.partition: tp.offset for tp in found if tp.topic == topic and tp.offset >= 0}

    def end_offsets(self, topic, partitions):
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        admin = self.admin
        return {tp.partition: f.result(30).offset for tp, f in admin.list_offsets(asked).items()}


class ConfluentMember(PollingMember):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False):
        super().__init__()
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": auto_commit, "auto.commit.interval.ms": 200, "heartbeat.interval.ms": 500,
            "session.timeout.ms": 10000, "fetch.wait.max.ms": 100, "partition.assignment.strategy": "range",
            # A restarting broker is not news; what goes wrong comes as an error.
            "log_level": 2, "reconnect.backoff.max.ms": 500,
        })
        self.topics, self.start_at = topics, start
        self.held = set()
        self.guard = threading.Lock()

    def open(self):
        if self.topics:
            self.consumer.subscribe(self.topics)
            return
        topic, partition, where = self.start_at
        low, high = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)
        if where in SPECIAL:
            offset = (low, high)[SPECIAL[where]]
        elif isinstance(where, tuple):
            offset = self.consumer.offsets_for_times([TopicPartition(topic, partition, where[1])], 30)[0].offset
        else:
            offset = where
        self.consumer.assign([TopicPartition(topic, partition, offset)])

    def poll_records(self, seconds):
        found = []
        for message in self.consumer.consume(500, seconds):
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise RuntimeError(str(message.error()))
            found.append(Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1],
                                message.key(), message.value(), tuple(message.headers() or ())))
        return found

    def shut(self):
        self.consumer.close()

    def assignment(self):
        return self.ask(lambda: {tp.partition for tp in self.consumer.assignment()})

    def position(self, topic, partition):
        return self.ask(lambda: self.consumer.position([TopicPartition(topic, partition)])[0].offset)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition, offset)))

    def commit(self):
        self.ask(lambda: self.consumer.commit(asynchronous=False))
