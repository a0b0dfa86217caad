#!/usr/bin/env python3
"""Transactions through unmodified clients: confluent-kafka (which adds partitions itself) and Kafka's Java client 4.1 (KIP-890,
part 2), across fencing, timeouts, consumer offsets, and brokers killed in the middle.

Needs the release build (`make build`). Run by run.py as `transactions`, or by itself. Standard library and the pinned clients.
"""

import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import environment

environment.enter()

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.broker import Broker
from harness.report import Report, same, until

CONFIGS = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "transaction.state.log.num.partitions": "5",
    "offsets.topic.num.partitions": "5",
}
KILLS = 4


def main():
    report = Report("transactions")
    with Broker("transactions", CONFIGS) as broker:
        world = World(broker)
        for case in (commits_and_aborts, fences, carries_offsets, times_out, survives_a_kill, ends_everywhere_the_same):
            with report.case(f"confluent-kafka {case.__name__.replace('_', ' ')}"):
                case(world)
        java = None
        with report.case("the Java program compiles"):
            java = Java(broker)
        for command in ("commits", "fences", "offsets", "timeout", "admin") if java else ():
            with report.case(f"java 4.1 {command}"):
                java.run(command)
        if java:
            with report.case("java 4.1 ends everywhere the same while the broker is killed"):
                java_ends_everywhere_the_same(world, java)
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    sys.exit(report.finish())


class World:
    """Topics and clients of one broker."""

    def __init__(self, broker):
        self.broker = broker
        self.made = 0

    def topic(self, partitions=1):
        self.made += 1
        name = f"t{self.made}"
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        return name

    def producer(self, transactional_id, **more):
        producer = Producer({
            "bootstrap.servers": self.broker.bootstrap, "transactional.id": transactional_id, "linger.ms": 0,
            "reconnect.backoff.max.ms": 500, **{key.replace("_", "."): value for key, value in more.items()},
        })
        producer.init_transactions(30)
        return producer

    def read(self, topic, isolation="read_committed"):
        """Every record's value up to the end that this isolation shows, which is the whole log where nothing is open."""
        consumer = Consumer({
            "bootstrap.servers": self.broker.bootstrap, "group.id": "reader", "isolation.level": isolation,
            "enable.auto.commit": False, "enable.partition.eof": True,
        })
        try:
            partitions = consumer.list_topics(topic, 30).topics[topic].partitions
            consumer.assign([TopicPartition(topic, index, 0) for index in partitions])
            values, ended, deadline = [], set(), time.monotonic() + 30
            while len(ended) < len(partitions):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic} did not end; {len(values)} records so far")
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    ended.add(message.partition())
                else:
                    values.append(message.value().decode())
            return values
        finally:
            consumer.close()

    def committed(self, group, topic):
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": group})
        try:
            [found] = consumer.committed([TopicPartition(topic, 0)], 30)
            return found.offset
        finally:
            consumer.close()


def commits_and_aborts(world):
    topic = world.topic()
    producer = world.producer("commits")
    for n, end in enumerate(["commit", "abort", "commit", "abort"]):
        producer.begin_transaction()
        for i in range(3):
            producer.produce(topic, f"{end} {n} {i}")
        producer.flush(30)
        (producer.commit_transaction if end == "commit" else producer.abort_transaction)(30)
    until(lambda: len(world.read(topic)) >= 6, "the commits to be read")
    same(world.read(topic), [f"commit {n} {i}" for n in (0, 2) for i in range(3)])
    same(len(world.read(topic, "read_uncommitted")), 12)


def fences(world):
    topic = world.topic()
    old = world.producer("fences")
    old.begin_transaction()
    old.produce(topic, "old")
    old.flush(30)
    new = world.producer("fences")
    new.begin_transaction()
    new.produce(topic, "new")
    new.commit_transaction(30)
    try:
        old.commit_transaction(30)
        raise AssertionError("a fenced producer committed")
    except KafkaException as error:
        same(error.args[0].fatal(), True, f"fatal, of {error}")
    same(world.read(topic), ["new"])


def carries_offsets(world):
    source, target = world.topic(), world.topic()
    plain = Producer({"bootstrap.servers": world.broker.bootstrap})
    for n in range(20):
        plain.produce(source, str(n))
    plain.flush(30)
    consumer = Consumer({
        "bootstrap.servers": world.broker.bootstrap, "group.id": "carrier", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    })
    producer = world.producer("carrier")
    try:
        consumer.subscribe([source])
        taken, ended = [], 0
        while len(taken) < 20:
            message = consumer.poll(1)
            if message is None or message.error():
                continue
            taken.append(message.value().decode())
            if len(taken) % 5 == 0:
                producer.begin_transaction()
                for value in taken[-5:]:
                    producer.produce(target, value)
                positions = consumer.position(consumer.assignment())
                producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
                # The second is aborted: its records and its offsets must both be missing until the next one.
                (producer.abort_transaction if len(taken) == 10 else producer.commit_transaction)(30)
                ended += 1
                expected = {5: 5, 10: 5, 15: 15, 20: 20}[len(taken)]
                until(lambda: world.committed("carrier", source) == expected,
                      lambda: f"{expected} committed, but {world.committed('carrier', source)}")
        same(ended, 4)
        same(world.read(target), [str(n) for n in [*range(5), *range(10, 20)]])
    finally:
        consumer.close()


def times_out(world):
    topic = world.topic()
    producer = world.producer("times-out", transaction_timeout_ms=1000)
    producer.begin_transaction()
    producer.produce(topic, "late")
    producer.flush(30)
    plain = Producer({"bootstrap.servers": world.broker.bootstrap})
    plain.produce(topic, "plain")
    plain.flush(30)
    same(world.read(topic), [], "records before the timeout")
    until(lambda: world.read(topic) == ["plain"], "the open transaction to be aborted")
    try:
        producer.commit_transaction(30)
        raise AssertionError("a transaction was committed after its timeout")
    except KafkaException:
        pass
    same(world.read(topic), ["plain"])


def survives_a_kill(world):
    topic = world.topic(3)
    producer = world.producer("survives")
    producer.begin_transaction()
    for n in range(3):
        producer.produce(topic, f"before {n}", partition=n)
    producer.flush(30)
    world.broker.kill()
    world.broker.start()
    same(world.read(topic), [], "records of the open transaction")
    for n in range(3):
        producer.produce(topic, f"after {n}", partition=n)
    producer.commit_transaction(60)
    until(lambda: len(world.read(topic)) == 6, "the commit to be read")


def ends_everywhere_the_same(world):
    """Many small transactions over three partitions, with the broker killed meanwhile: each is there wholly or not at all."""
    topic = world.topic(3)
    stop = threading.Event()
    acknowledged, aborted = set(), set()

    def work():
        producer, n = world.producer("everywhere"), 0
        while not stop.is_set():
            n += 1
            try:
                producer.begin_transaction()
                for partition in range(3):
                    producer.produce(topic, f"{n}", partition=partition)
                if n % 4 == 0:
                    producer.abort_transaction(60)
                    aborted.add(str(n))
                else:
                    producer.commit_transaction(60)
                    acknowledged.add(str(n))
            except KafkaException as error:
                if error.args[0].txn_requires_abort():
                    producer.abort_transaction(60)
                    aborted.add(str(n))
                else:
                    producer = world.producer("everywhere")

    with killed(world.broker, work, stop, lambda: len(acknowledged)):
        pass
    judge(world, topic, acknowledged, aborted)


class killed:
    """Kills and restarts the broker while `work` runs, each time after it has got on."""

    def __init__(self, broker, work, stop, progress):
        self.broker, self.stop, self.progress = broker, stop, progress
        self.failure = None
        self.thread = threading.Thread(target=self.guarded, args=(work,))

    def guarded(self, work):
        try:
            work()
        except BaseException as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        for _ in range(KILLS):
            goal = self.progress() + 10
            until(lambda: self.progress() >= goal or self.failure, "the transactions to go on", 90)
            self.broker.kill()
            self.broker.start()
        goal = self.progress() + 10
        until(lambda: self.progress() >= goal or self.failure, "the transactions to go on", 90)
        self.stop.set()
        self.thread.join(90)
        if self.failure:
            raise self.failure
        return self

    def __exit__(self, *_):
        pass


def judge(world, topic, acknowledged, aborted):
    """Each transaction is on all three partitions or on none, and where the client knows which, it is right."""
    def counts():
        seen = {}
        for value in world.read(topic):
            seen[value] = seen.get(value, 0) + 1
        return seen

    until(lambda: acknowledged <= set(counts()), "every acknowledged transaction to be read", 60)
    seen = counts()
    torn = {value: count for value, count in seen.items() if count != 3}
    same(torn, {}, "transactions that are not on all partitions")
    same(sorted(aborted & set(seen)), [], "aborted transactions that are read")


class Java:
    """TransactionsProgram.java: a command a process, which exits with 0 when all it checks holds."""

    def __init__(self, broker):
        self.broker = broker
        program = pathlib.Path(__file__).with_name("TransactionsProgram.java")
        self.command = [*environment.java(program, "client-4.1"), broker.bootstrap]

    def run(self, command, timeout=120):
        done = subprocess.run([*self.command, command], capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise AssertionError(f"{(done.stdout + done.stderr)[-3000:]}")

    def open(self, *command):
        return subprocess.Popen([*self.command, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                stdin=subprocess.PIPE)


def java_ends_everywhere_the_same(world, java):
    topic = world.topic(3)
    acknowledged, aborted, other = set(), set(), []
    process = java.open("loop", topic)

    def work():
        for line in process.stdout:
            what, _, n = line.strip().partition(" ")
            {"committed": acknowledged.add, "aborted": aborted.add}.get(what, lambda _: other.append(line))(n)

    class Stop:
        def set(self):
            process.stdin.close()

    with killed(world.broker, work, Stop(), lambda: len(acknowledged)):
        pass
    if process.wait(60) != 0:
        raise AssertionError("".join(other)[-3000:])
    judge(world, topic, acknowledged, aborted)


if __name__ == "__main__":
    main()
