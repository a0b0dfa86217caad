"""confluent-kafka: librdkafka 2.16 behind Python."""

from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, ElectionType, KafkaError, Producer,
                             TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

from .base import MAX_REQUEST_BYTES, MEMBER_OPTIONS, BaseClient, PollingMember, Record

SPECIAL = {"beginning": 0, "end": 1}
SPECS = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max_timestamp": OffsetSpec.max_timestamp}
WAIT = 30
# A restarting broker is not news; what goes wrong comes as an error.
QUIET = {"log_level": 2, "reconnect.backoff.max.ms": 500}


class Client(BaseClient):
    @property
    def admin(self):
        """A new one each time: librdkafka 2.16 hangs on its cached coordinator once a restart has made it bootstrap again."""
        return AdminClient({"bootstrap.servers": self.context.bootstrap, **QUIET})

    def _one(self, call):
        """The only result of a call of the admin client, which gives futures by name."""
        admin = self.admin
        (future,) = call(admin).values()
        return future.result(WAIT)

    def create_topic(self, topic, partitions=1, configs=None):
        self._one(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})]))

    def delete_topic(self, topic):
        self._one(lambda admin: admin.delete_topics([topic]))

    def list_topics(self):
        return list(self.admin.list_topics(timeout=WAIT).topics)

    def describe_topic(self, topic):
        found = self._one(lambda admin: admin.describe_topics(TopicCollection([topic])))
        return {p.id: {"leader": p.leader.id, "replicas": [n.id for n in p.replicas], "isr": [n.id for n in p.isr]}
                for p in found.partitions}

    def create_partitions(self, topic, total):
        self._one(lambda admin: admin.create_partitions([NewPartitions(topic, total)]))

    def describe_configs(self, topic):
        return self._configs(ResourceType.TOPIC, topic)

    def describe_broker_configs(self):
        return self._configs(ResourceType.BROKER, str(self.describe_cluster()["brokers"][0]))

    def _configs(self, kind, name):
        found = self._one(lambda admin: admin.describe_configs([ConfigResource(kind, name)]))
        return {key: entry.value for key, entry in found.items()}

    def set_configs(self, topic, configs):
        self._alter(topic, [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in configs.items()])

    def delete_config(self, topic, name):
        self._alter(topic, [ConfigEntry(name, "", incremental_operation=AlterConfigOpType.DELETE)])

    def _alter(self, topic, entries):
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self._one(lambda admin: admin.incremental_alter_configs([resource]))

    def describe_cluster(self):
        admin = self.admin
        found = admin.describe_cluster().result(WAIT)
        return {"brokers": [n.id for n in found.nodes], "controller": found.controller and found.controller.id,
                "cluster": found.cluster_id}

    def elect_leader(self, topic, partition):
        admin = self.admin
        (error,) = admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, partition)]).result(WAIT).values()
        return error.name() if error else ""

    def delete_records(self, topic, partition, offset):
        return self._one(lambda admin: admin.delete_records([TopicPartition(topic, partition, offset)])).low_watermark

    def list_offsets(self, topic, partition, where):
        spec = SPECS[where]() if where in SPECS else OffsetSpec.for_timestamp(where)
        return self._one(lambda admin: admin.list_offsets({TopicPartition(topic, partition): spec})).offset

    def end_offsets(self, topic, partitions):
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        admin = self.admin
        return {tp.partition: f.result(WAIT).offset for tp, f in admin.list_offsets(asked).items()}

    def list_groups(self):
        admin = self.admin
        return [group.group_id for group in admin.list_consumer_groups().result(WAIT).valid]

    def describe_group(self, group):
        found = self._described(group)
        return {"state": found.state.name.title().replace("_", ""), "members": len(found.members)}

    def group_type(self, group):
        return self._described(group).type.name.lower()

    def _described(self, group):
        return self._one(lambda admin: admin.describe_consumer_groups([group]))

    def delete_group(self, group):
        self._one(lambda admin: admin.delete_consumer_groups([group]))

    def committed(self, group, topic):
        """{partition: offset} as the coordinator has it."""
        found = self._one(lambda admin: admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {tp.partition: tp.offset for tp in found.topic_partitions if tp.topic == topic and tp.offset >= 0}

    def alter_offsets(self, group, topic, offsets):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p, o) for p, o in offsets.items()])
        for at in self._one(lambda admin: admin.alter_consumer_group_offsets([asked])).topic_partitions:
            if at.error:
                raise RuntimeError(str(at.error))

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        producer = Producer({"bootstrap.servers": self.context.bootstrap, "compression.type": codec,
                             "enable.idempotence": idempotent, "acks": acks, "linger.ms": 20, "client.id": client_id,
                             "message.max.bytes": MAX_REQUEST_BYTES, "message.timeout.ms": 30000, **QUIET})
        return sent(producer, topic, sends, one_by_one)

    def member(self, group, topics, auto_commit=False, **options):
        return ConfluentMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit, **options).begin()

    def reader(self, topic, partition, where, **options):
        return ConfluentMember(self.context.bootstrap, "readers", start=(topic, partition, where), **options).begin()

    def transactional(self, id, timeout_ms=60000):
        return Transactional(self.context.bootstrap, id, timeout_ms)


def sent(producer, topic, sends, one_by_one=False):
    """The offsets of all of it, once it is acknowledged."""
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
        if one_by_one:
            producer.flush(WAIT)
    left = producer.flush(WAIT)
    if left or errors:
        raise RuntimeError(f"{left} records unanswered, errors {errors[:3]}")
    return offsets


class Transactional:
    def __init__(self, bootstrap, id, timeout_ms):
        self.bootstrap = bootstrap
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": id,
                                  "transaction.timeout.ms": timeout_ms, "linger.ms": 5, **QUIET})
        self.producer.init_transactions(WAIT)
        self.begin = self.producer.begin_transaction

    def send(self, topic, sends):
        sent(self.producer, topic, sends)

    def send_offsets(self, group, topic, offsets):
        member = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, **QUIET})
        try:
            positions = [TopicPartition(topic, p, o) for p, o in offsets.items()]
            self.producer.send_offsets_to_transaction(positions, member.consumer_group_metadata(), WAIT)
        finally:
            member.close()

    def commit(self):
        self.producer.commit_transaction(WAIT)

    def abort(self):
        self.producer.abort_transaction(WAIT)

    def close(self):
        pass


class ConfluentMember(PollingMember):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False, **options):
        super().__init__()
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": auto_commit, "auto.commit.interval.ms": 200, "fetch.wait.max.ms": 100,
            **settings({**MEMBER_OPTIONS, **options}), **QUIET,
        })
        self.topics, self.start_at = topics, start
        self.held = set()

    def open(self):
        if self.topics:
            self.consumer.subscribe(self.topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
            return
        topic, partition, where = self.start_at
        low, high = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), WAIT)
        if where in SPECIAL:
            offset = (low, high)[SPECIAL[where]]
        elif isinstance(where, tuple):
            offset = self.consumer.offsets_for_times([TopicPartition(topic, partition, where[1])], WAIT)[0].offset
        else:
            offset = where
        self.consumer.assign([TopicPartition(topic, partition, offset)])

    def _assigned(self, _, added):
        self._changed({(tp.topic, tp.partition) for tp in added}, set())

    def _revoked(self, _, gone):
        self._changed(set(), {(tp.topic, tp.partition) for tp in gone})

    def _changed(self, added, gone):
        self.held = (self.held | added) - gone
        self.holds(partition for _, partition in self.held)

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

    def position(self, topic, partition):
        return self.ask(lambda: self.consumer.position([TopicPartition(topic, partition)])[0].offset)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition, offset)))

    def commit(self):
        self.ask(lambda: self.consumer.commit(asynchronous=False))


def settings(options):
    """A member's options as librdkafka names them."""
    named = {"isolation.level": options["isolation"], "group.protocol": options["protocol"]}
    if options["protocol"] == "classic":
        named.update({"partition.assignment.strategy": options["assignor"], "session.timeout.ms": options["session_ms"],
                      "heartbeat.interval.ms": 500})
    if options["instance"]:
        named["group.instance.id"] = options["instance"]
    if options["remote_assignor"]:
        named["group.remote.assignor"] = options["remote_assignor"]
    return named
