"""SIGKILL under load: after the restart every acknowledged record is there, once, in order, at the offset it was told.

Idempotent producers with acks=all write without pause to a plain topic, to one with a filter and to one whose router copies
every record; the broker is killed ROUNDS times. The producers live through it: what they retry must be told from what
they already wrote.
"""

import os
import sys
import threading

from common import MATCH, create, read_all
from confluent_kafka import Producer
from harness.broker import Broker
from harness.report import Report, same, until

ROUNDS = int(os.environ.get("TIDEGATE_CRASH_ROUNDS", "5"))
ACKED_PER_ROUND = 3000
PARTITIONS = 2
PRODUCERS = 3
ROUTE = {"tidegate.produce.chain": "route", "tidegate.plugin.route.field": "value",
         "tidegate.plugin.route.table": "nothing=copies", "tidegate.plugin.route.default": "topic:copies",
         "tidegate.plugin.route.mode": "copy"}
TOPICS = {"plain": {}, "filtered": {"tidegate.produce.chain": "match", **MATCH}, "routed": ROUTE}


class Load(threading.Thread):
    """One idempotent producer that writes numbered records to every partition of every topic until told to stop."""

    def __init__(self, number, bootstrap):
        super().__init__(daemon=True)
        self.number = number
        self.acked = {}  # (topic, partition) -> {sequence: offset}
        self.sent = {}  # (topic, partition) -> count
        self.errors = []
        self.stopping = False
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 2,
            "message.timeout.ms": 120000, "request.timeout.ms": 5000, "reconnect.backoff.max.ms": 200,
            "retry.backoff.ms": 50, "compression.type": ("none", "lz4", "gzip")[number % 3],
            "batch.num.messages": 200, "log_level": 0,
        })

    def run(self):
        while not self.stopping:
            for topic in TOPICS:
                for partition in range(PARTITIONS):
                    self._send(topic, partition)
            # Throttled by what is in flight: a queue of a million records would only blur the crash.
            self.producer.poll(0.002)
            while len(self.producer) > 2000 and not self.stopping:
                self.producer.poll(0.05)
        self.producer.flush(120)

    def count(self):
        return sum(map(len, self.acked.values()))

    def _send(self, topic, partition):
        at = (topic, partition)
        sequence = self.sent.get(at, 0)
        self.sent[at] = sequence + 1
        self.producer.produce(topic, value(self.number, partition, sequence), partition=partition, key=b"%d" % self.number,
                              on_delivery=lambda error, message: self._told(at, sequence, error, message))

    def _told(self, at, sequence, error, message):
        if error:
            self.errors.append(str(error))
        else:
            self.acked.setdefault(at, {})[sequence] = message.offset()


def value(producer, partition, sequence):
    """Two of three records pass the filter."""
    return b"%d:%d:%d:%s" % (producer, partition, sequence, b"lose" if sequence % 3 == 2 else b"keep") + b"." * 80


def main():
    report = Report("crash")
    broker = Broker("crash")
    try:
        with report.case("load under which the broker is killed"):
            broker.start()
            loads = loaded(broker, report)
        if not report.failed:
            for topic in TOPICS:
                with report.case(f"{topic}: every acknowledged record once, in order, at its offset"):
                    verify(broker, topic, loads)
            with report.case("routed copies: each exactly once, in the order of its source"):
                verify_copies(broker)
            with report.case("a clean stop after the crashes"):
                same(broker.restart().stop(), 0, "exit code")
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    finally:
        broker.close()
    sys.exit(report.finish())


def loaded(broker, report):
    """Runs the producers through ROUNDS crashes and returns them, all their records answered."""
    broker.push("match")
    broker.push("route")
    create(broker.bootstrap, "copies", PARTITIONS)
    for topic, configs in TOPICS.items():
        create(broker.bootstrap, topic, PARTITIONS, configs)
    loads = [Load(number, broker.bootstrap) for number in range(PRODUCERS)]
    for load in loads:
        load.start()
    acked = lambda: sum(load.count() for load in loads)
    for number in range(ROUNDS):
        goal = acked() + ACKED_PER_ROUND
        until(lambda: acked() >= goal, lambda: f"{goal} records acknowledged, {acked()} so far; "
              f"errors {[load.errors[:2] for load in loads]}", 60)
        broker.kill()
        broker.start()
        report.check(f"restarted after crash {number + 1}, {acked()} records acknowledged", broker.alive())
    goal = acked() + ACKED_PER_ROUND
    until(lambda: acked() >= goal, "producers go on after the last crash", 60)
    for load in loads:
        load.stopping = True
    for load in loads:
        load.join(150)
        same(load.errors[:3], [], "errors told to a producer that retries")
        same(load.count(), sum(load.sent.values()), "records acknowledged of those sent")
    return loads


def verify(broker, topic, loads):
    for partition in range(PARTITIONS):
        expected = {}
        for load in loads:
            for sequence, offset in load.acked[(topic, partition)].items():
                sent = value(load.number, partition, sequence)
                if topic != "filtered" or b"keep" in sent:
                    same(expected.setdefault(offset, sent), sent, f"the one record told to be at offset {offset}")
        found = read_all(broker.bootstrap, topic, partition)
        same(len(found), len({v for _, _, v in found}), "records without the repeated")
        missing = expected.keys() - {offset for offset, _, _ in found}
        same(sorted(missing)[:5], [], f"acknowledged offsets that are lost ({len(missing)})")
        same([(o, v) for o, _, v in found], sorted(expected.items()), "the partition")
        same_order(found)


def verify_copies(broker):
    """The router copies everything, so the targets hold what the sources hold; order is per source and target partition."""
    sources = [v for p in range(PARTITIONS) for _, _, v in read_all(broker.bootstrap, "routed", p)]
    copies = []
    for partition in range(PARTITIONS):
        found = read_all(broker.bootstrap, "copies", partition)
        same_order(found)
        copies += [v for _, _, v in found]
    same(len(copies), len(set(copies)), "copies without the repeated")
    same(sorted(copies), sorted(sources), "values of the copies")


def same_order(found):
    """Of each producer and source partition, sequences rise with offsets."""
    last = {}
    for offset, _, data in found:
        producer, partition, sequence = map(int, data.split(b":")[:3])
        if sequence <= last.get((producer, partition), -1):
            raise AssertionError(f"offset {offset}: {data[:40]} after {last[producer, partition]}")
        last[producer, partition] = sequence


if __name__ == "__main__":
    main()
