#!/usr/bin/env python3
"""Writes what real clients send into the corpus: their frames, and the batches of each codec, as lines called `sent-`.

    capture.py          after `make build`; runs in the virtual environment of tests/clients

A forwarder stands between librdkafka, kafka-python, aiokafka and a broker, and keeps the first frame of each client, API and
version. Batches are read back from the broker, which stores them as they were sent.
"""

import asyncio
import os
import pathlib
import socket
import struct
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import environment, wire

environment.enter()

import aiokafka
import kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from harness.broker import Broker, free_port

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
# Longer frames say nothing more.
MOST = 1500
VALUES = [b"a value that repeats, a value that repeats, %d" % number for number in range(5)]


class Tap:
    """Forwards connections to the broker and keeps frames on the way there: {name: bytes with their length}."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.client = ""
        self.frames = {}

    def start(self, port):
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port):
        while True:
            client, _ = self.listener.accept()
            broker = socket.create_connection(("127.0.0.1", port))
            for pump in (self._up, self._down):
                threading.Thread(target=pump, args=(client, broker), daemon=True).start()

    def _up(self, client, broker):
        data = b""
        while part := self._receive(client, broker):
            data += part
            while len(data) >= 4 and len(data) >= 4 + struct.unpack_from(">i", data)[0]:
                size = 4 + struct.unpack_from(">i", data)[0]
                key, version = struct.unpack_from(">hh", data, 4)
                if size <= MOST:
                    self.frames.setdefault(f"sent-{self.client}-{key}-v{version}", data[:size])
                data = data[size:]

    def _down(self, client, broker):
        while self._receive(broker, client):
            pass

    @staticmethod
    def _receive(source, target):
        try:
            part = source.recv(1 << 16)
            target.sendall(part)
        except OSError:
            part = b""
        if not part:
            for end in (source, target):
                end.close()
        return part


def main():
    tap = Tap()
    os.environ["TIDEGATE_CFG_ADVERTISED_LISTENERS"] = f"PLAINTEXT://127.0.0.1:{tap.port}"
    with Broker("capture") as broker:
        tap.start(broker.port)
        bootstrap = f"127.0.0.1:{tap.port}"
        for client, drive in (("librdkafka", librdkafka), ("kafka-python", kafka_python), ("aiokafka", aiokafka_)):
            tap.client = client
            drive(bootstrap)
        batches = dict(stored(broker))
    keep("frames", tap.frames)
    keep("batches", {name: b"\0" + batch.bytes for name, batch in batches.items()})
    keep("decompress", {name: bytes([batch.codec, 255]) + batch.bytes[61:] for name, batch in batches.items()})


def librdkafka(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(f"librdkafka-{codec}", 1, 1) for codec in CODECS]
    for future in admin.create_topics(topics).values():
        future.result(30)
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 200,
                             "enable.idempotence": codec != "none"})
        for value in VALUES:
            producer.produce(f"librdkafka-{codec}", value, b"key", headers={"h": b"1"})
        producer.flush(30)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "librdkafka", "auto.offset.reset": "earliest"})
    consumer.subscribe(["librdkafka-lz4"])
    while consumer.poll(1.0) is None:
        pass
    consumer.commit(asynchronous=False)
    consumer.close()
    for future in [admin.list_consumer_groups(), *admin.describe_consumer_groups(["librdkafka"]).values(),
                   *admin.describe_configs([ConfigResource("topic", "librdkafka-lz4")]).values(),
                   *admin.delete_consumer_groups(["librdkafka"]).values(), admin.describe_cluster()]:
        future.result(30)


def kafka_python(bootstrap):
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([kafka.admin.NewTopic(f"kafka-python-{codec}", 1, 1) for codec in CODECS])
    for codec in CODECS:
        producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, linger_ms=200,
                                       compression_type=None if codec == "none" else codec)
        for value in VALUES:
            producer.send(f"kafka-python-{codec}", value, b"key", headers=[("h", b"1")])
        producer.close()
    consumer = kafka.KafkaConsumer("kafka-python-zstd", bootstrap_servers=bootstrap, group_id="kafka-python",
                                   auto_offset_reset="earliest")
    next(consumer)
    consumer.commit()
    consumer.close()
    admin.close()


def aiokafka_(bootstrap):
    async def drive():
        for codec in CODECS:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=200,
                                                 compression_type=None if codec == "none" else codec)
            await producer.start()
            sent = [await producer.send(f"aiokafka-{codec}", value, key=b"key") for value in VALUES]
            await asyncio.gather(*sent)
            await producer.stop()
        consumer = aiokafka.AIOKafkaConsumer("aiokafka-gzip", bootstrap_servers=bootstrap, group_id="aiokafka",
                                             auto_offset_reset="earliest")
        await consumer.start()
        await consumer.getone()
        await consumer.stop()

    asyncio.run(drive())


def stored(broker):
    with wire.Connection(broker.port) as connection:
        for client in ("librdkafka", "kafka-python", "aiokafka"):
            for codec in CODECS:
                error, _, batches = wire.fetch(connection, f"{client}-{codec}", 0, 0)
                if error or not batches:
                    raise RuntimeError(f"{client} with {codec}: error {error}, {len(batches)} batches")
                yield f"sent-{client}-{codec}", batches[0]


def keep(target, seeds):
    path = HERE / "corpus" / f"{target}.hex"
    others = [line for line in path.read_text().splitlines() if not line.startswith("sent-")]
    path.write_text("\n".join([*others, *(f"{name} {data.hex()}" for name, data in sorted(seeds.items()))]) + "\n")
    print(f"{target}: {len(seeds)} of real clients")


if __name__ == "__main__":
    main()
