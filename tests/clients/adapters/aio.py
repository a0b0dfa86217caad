"""aiokafka: asyncio. Each producer, admin client and consumer runs in an event loop of its own thread."""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from .base import MAX_REQUEST_BYTES, MEMBER_OPTIONS, BaseClient, PollingMember, Record

WAIT = 30


class Client(BaseClient):
    def create_topic(self, topic, partitions=1, configs=None):
        self._admin(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})]),
                    "topic_errors")

    def delete_topic(self, topic):
        self._admin(lambda admin: admin.delete_topics([topic]), "topic_error_codes")

    def list_topics(self):
        return self._admin(lambda admin: admin.list_topics())

    def describe_topic(self, topic):
        (found,) = self._admin(lambda admin: admin.describe_topics([topic]))
        return {p["partition"]: {"leader": p["leader"], "replicas": p["replicas"], "isr": p["isr"]}
                for p in found["partitions"]}

    def create_partitions(self, topic, total):
        self._admin(lambda admin: admin.create_partitions({topic: NewPartitions(total)}), "topic_errors")

    def describe_configs(self, topic):
        return self._configs(ConfigResourceType.TOPIC, topic)

    def describe_broker_configs(self):
        return self._configs(ConfigResourceType.BROKER, str(self.describe_cluster()["brokers"][0]))

    def _configs(self, kind, name):
        (answer,) = self._admin(lambda admin: admin.describe_configs([ConfigResource(kind, name)]))
        ((code, words, _, _, entries),) = answer.resources
        _raise(code, words)
        return {entry[0]: entry[1] for entry in entries}

    def set_configs(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))
        for answer in self._admin(lambda admin: admin.alter_configs([resource])):
            for code, words, *_ in answer.resources:
                _raise(code, words)

    def describe_cluster(self):
        found = self._admin(lambda admin: admin.describe_cluster())
        return {"brokers": [b["node_id"] for b in found["brokers"]], "controller": found["controller_id"],
                "cluster": found["cluster_id"]}

    def delete_records(self, topic, partition, offset):
        at = TopicPartition(topic, partition)
        return self._admin(lambda admin: admin.delete_records({at: RecordsToDelete(offset)}))[at]

    def list_groups(self):
        return [group for group, _ in self._admin(lambda admin: admin.list_consumer_groups())]

    def describe_group(self, group):
        (answer,) = self._admin(lambda admin: admin.describe_consumer_groups([group]))
        ((code, _, state, _, _, members, *_),) = answer.groups
        _raise(code)
        return {"state": state, "members": len(members)}

    def committed(self, group, topic):
        found = self._admin(lambda admin: admin.list_consumer_group_offsets(group))
        return {tp.partition: meta.offset for tp, meta in found.items() if tp.topic == topic and meta.offset >= 0}

    def list_offsets(self, topic, partition, where):
        at = TopicPartition(topic, partition)

        async def ask(consumer):
            if where == "earliest":
                return (await consumer.beginning_offsets([at]))[at]
            if where == "latest":
                return (await consumer.end_offsets([at]))[at]
            return (await consumer.offsets_for_times({at: where}))[at].offset
        return self._with(AIOKafkaConsumer, ask, "stop")

    def produce(self, topic, sends, codec="none", idempotent=False, acks="all", client_id="compat", one_by_one=False):
        async def run():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.context.bootstrap, acks=acks if acks == "all" else int(acks), linger_ms=20,
                compression_type=None if codec == "none" else codec, enable_idempotence=idempotent, client_id=client_id,
                max_request_size=MAX_REQUEST_BYTES)
            await producer.start()
            try:
                return await sent(producer, topic, sends, one_by_one)
            finally:
                await producer.stop()
        return asyncio.run(run())

    def member(self, group, topics, auto_commit=False, **options):
        return AioMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit, **options).begin()

    def reader(self, topic, partition, where, **options):
        return AioMember(self.context.bootstrap, None, start=(topic, partition, where), **options).begin()

    def transactional(self, id, timeout_ms=60000):
        return Transactional(self.context.bootstrap, id, timeout_ms)

    def _admin(self, use, errors=None):
        """The answer; `errors` is a field of it with tuples of a name, a code and maybe words."""
        answer = self._with(AIOKafkaAdminClient, use, "close")
        for _, code, *words in getattr(answer, errors) if errors else ():
            _raise(code, *words)
        return answer

    def _with(self, kind, use, end):
        async def run():
            made = kind(bootstrap_servers=self.context.bootstrap)
            await made.start()
            try:
                return await use(made)
            finally:
                await getattr(made, end)()
        return asyncio.run(run())


def _raise(code, *words):
    if code:
        raise RuntimeError(f"error {code}: {words}")


async def sent(producer, topic, sends, one_by_one=False):
    """The offsets of all of it, once it is acknowledged; acks=0 tells none."""
    futures = []
    for s in sends:
        futures.append(await producer.send(topic, value=s.value, key=s.key, partition=s.partition, timestamp_ms=s.timestamp,
                                           headers=list(s.headers)))
        if one_by_one:
            await futures[-1]
    return [told and told.offset for told in [await future for future in futures]]


class Transactional:
    def __init__(self, bootstrap, id, timeout_ms):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self._do(self._open(bootstrap, id, timeout_ms))

    async def _open(self, bootstrap, id, timeout_ms):
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=id, transaction_timeout_ms=timeout_ms)
        await self.producer.start()

    def begin(self):
        self._do(self.producer.begin_transaction())

    def send(self, topic, sends):
        self._do(sent(self.producer, topic, sends))

    def send_offsets(self, group, topic, offsets):
        positions = {TopicPartition(topic, p): o for p, o in offsets.items()}
        self._do(self.producer.send_offsets_to_transaction(positions, group))

    def commit(self):
        self._do(self.producer.commit_transaction())

    def abort(self):
        self._do(self.producer.abort_transaction())

    def close(self):
        self._do(self.producer.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _do(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(WAIT)


class AioMember(PollingMember, ConsumerRebalanceListener):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False, **options):
        super().__init__()
        options = {**MEMBER_OPTIONS, **options}
        self.options = {
            "bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest",
            "enable_auto_commit": auto_commit, "auto_commit_interval_ms": 200, "heartbeat_interval_ms": 500,
            "session_timeout_ms": options["session_ms"], "fetch_max_wait_ms": 100, "metadata_max_age_ms": 5000,
            "isolation_level": options["isolation"], "group_instance_id": options["instance"],
        }
        self.topics, self.start_at = topics, start

    def open(self):
        self.loop = asyncio.new_event_loop()
        self._do(self._open())

    async def _open(self):
        self.consumer = AIOKafkaConsumer(**self.options)
        await self.consumer.start()
        if self.topics:
            self.consumer.subscribe(self.topics, listener=self)
            return
        topic, partition, where = self.start_at
        at = TopicPartition(topic, partition)
        self.consumer.assign([at])
        if where == "beginning":
            await self.consumer.seek_to_beginning(at)
        elif where == "end":
            await self.consumer.seek_to_end(at)
        elif isinstance(where, tuple):
            self.consumer.seek(at, (await self.consumer.offsets_for_times({at: where[1]}))[at].offset)
        else:
            self.consumer.seek(at, where)
        await self.consumer.position(at)

    def poll_records(self, seconds):
        polled = self._do(self.consumer.getmany(timeout_ms=int(seconds * 1000)))
        return [Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for records in polled.values() for r in records]

    def shut(self):
        self._do(self.consumer.stop())
        self.loop.close()

    def on_partitions_assigned(self, assigned):
        self.holds(tp.partition for tp in assigned)

    def on_partitions_revoked(self, revoked):
        self.holds(())

    def position(self, topic, partition):
        at = TopicPartition(topic, partition)
        return self.ask(lambda: self._do(self.consumer.position(at)) if at in self.consumer.assignment() else -1)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition), offset))

    def commit(self):
        self.ask(lambda: self._do(self.consumer.commit()))

    def _do(self, awaitable):
        return self.loop.run_until_complete(awaitable)
