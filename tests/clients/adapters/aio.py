"""aiokafka: asyncio. Each producer, admin client and consumer runs in an event loop of its own thread."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from .base import BaseClient, PollingMember, Record


class Client(BaseClient):
    def create_topic(self, name, partitions=1, configs=None):
        async def create(admin):
            answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
            for topic, code, *words in answer.topic_errors:
                if code:
                    raise RuntimeError(f"{topic}: error {code} {words}")
        self._with_admin(create)

    def set_configs(self, topic, configs):
        async def alter(admin):
            for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))]):
                for code, words, *_ in answer.resources:
                    if code:
                        raise RuntimeError(f"error {code}: {words}")
        self._with_admin(alter)

    def produce(self, topic, sends, codec="none", idempotent=False):
        async def run():
            producer = AIOKafkaProducer(bootstrap_servers=self.context.bootstrap, acks="all", linger_ms=20,
                                        compression_type=None if codec == "none" else codec,
                                        enable_idempotence=idempotent)
            await producer.start()
            try:
                futures = [await producer.send(topic, value=s.value, key=s.key, partition=s.partition,
                                               timestamp_ms=s.timestamp, headers=list(s.headers)) for s in sends]
                return [(await future).offset for future in futures]
            finally:
                await producer.stop()
        return _run(run())

    def member(self, group, topics, auto_commit=False):
        return AioMember(self.context.bootstrap, group, topics=topics, auto_commit=auto_commit).begin()

    def reader(self, topic, partition, where):
        return AioMember(self.context.bootstrap, None, start=(topic, partition, where)).begin()

    def committed(self, group, topic):
        async def ask(admin):
            found = await admin.list_consumer_group_offsets(group)
            return {tp.partition: meta.offset for tp, meta in found.items() if tp.topic == topic and meta.offset >= 0}
        return self._with_admin(ask)

    def end_offsets(self, topic, partitions):
        async def ask():
            consumer = AIOKafkaConsumer(bootstrap_servers=self.context.bootstrap)
            await consumer.start()
            try:
                ends = await consumer.end_offsets([TopicPartition(topic, p) for p in range(partitions)])
                return {tp.partition: offset for tp, offset in ends.items()}
            finally:
                await consumer.stop()
        return _run(ask())

    def _with_admin(self, use):
        async def run():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.context.bootstrap)
            await admin.start()
            try:
                return await use(admin)
            finally:
                await admin.close()
        return _run(run())


class AioMember(PollingMember):
    def __init__(self, bootstrap, group, topics=None, start=None, auto_commit=False):
        super().__init__()
        self.options = {
            "bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest",
            "enable_auto_commit": auto_commit, "auto_commit_interval_ms": 200, "heartbeat_interval_ms": 500,
            "session_timeout_ms": 10000, "fetch_max_wait_ms": 100, "metadata_max_age_ms": 5000,
        }
        self.topics, self.start_at = topics, start

    def open(self):
        self.loop = asyncio.new_event_loop()
        self._do(self._open())

    async def _open(self):
        self.consumer = AIOKafkaConsumer(**self.options)
        await self.consumer.start()
        if self.topics:
            self.consumer.subscribe(self.topics)
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

    def assignment(self):
        return self.ask(lambda: {tp.partition for tp in self.consumer.assignment()})

    def position(self, topic, partition):
        at = TopicPartition(topic, partition)
        return self.ask(lambda: self._do(self.consumer.position(at)) if at in self.consumer.assignment() else -1)

    def seek(self, topic, partition, offset):
        self.ask(lambda: self.consumer.seek(TopicPartition(topic, partition), offset))

    def commit(self):
        self.ask(lambda: self._do(self.consumer.commit()))

    def _do(self, awaitable):
        return self.loop.run_until_complete(awaitable)


def _run(awaitable):
    return asyncio.run(awaitable)
