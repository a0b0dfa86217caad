"""A power cut under load: the file system below the broker stops dead, what was not synced is gone.

With acks=all every acknowledged record must be there afterwards, whatever the round. A relaxed topic (`flush.messages`) may lose
what no sync covered, which must be less than its window and the end of the log only; a topic with acks=1 likewise.
TIDEGATE_POWER_CUT_ROUNDS rounds (3), alternately on ext4 and xfs; in every other pair of them the records are so large that write
buffers fill: files of the write-ahead log, tables and blob files come and go while the power is cut.
"""

import os
import sys
import threading
import time

from common import create, read_all
from confluent_kafka import Producer
from disks import Disk
from harness.broker import Broker
from harness.report import Report, Skip, same, until

ROUNDS = int(os.environ.get("TIDEGATE_POWER_CUT_ROUNDS", "3"))
PARTITIONS = 2
# Records of a relaxed partition that may be lost: what waits for the sync, and what is written while it runs.
WINDOW = 2000
IN_FLIGHT = 4000
# Bytes of a value, in turn, and how many of the large ones fill a write buffer of 64 MB twice and a half.
SMALL, LARGE = 100, 6000
LARGE_GOAL = 27_000
TOPICS = {"synced": ("all", {}), "relaxed": ("all", {"flush.messages": str(WINDOW), "flush.ms": "3600000"}),
          "leader": ("1", {})}


class Load(threading.Thread):
    """Numbered records to every partition of one topic, until told to stop; remembers what was acknowledged."""

    def __init__(self, bootstrap, topic, acks, size):
        super().__init__(daemon=True)
        self.topic, self.stopping, self.filling = topic, False, b"x" * size
        self.cut = False
        self.acked = [{} for _ in range(PARTITIONS)]  # sequence -> offset
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "enable.idempotence": acks == "all",
                                  "linger.ms": 1, "batch.num.messages": 100, "message.timeout.ms": 3000, "log_level": 0})

    def run(self):
        sequence = 0
        while not self.stopping:
            for partition in range(PARTITIONS):
                self.producer.produce(self.topic, b"%d:%s" % (sequence, self.filling), partition=partition,
                                      on_delivery=self._told(partition, sequence))
            sequence += 1
            self.producer.poll(0)
            while len(self.producer) > IN_FLIGHT / 2 and not self.stopping:
                self.producer.poll(0.02)

    def close(self):
        self.stopping = True
        self.join(30)
        self.producer.purge()
        self.producer.poll(0)

    def count(self):
        return sum(map(len, self.acked))

    def _told(self, partition, sequence):
        def told(error, message):
            if error is None and not self.cut:
                self.acked[partition][sequence] = message.offset()
        return told


def main():
    report = Report("power cut")
    totals = {"acknowledged": 0, "lost": 0}
    losses = {topic: [] for topic in TOPICS}
    for number in range(ROUNDS):
        kind = ("ext4", "xfs")[number % 2]
        size = LARGE if number // 2 % 2 else SMALL
        with report.case(f"round {number + 1} on {kind}, values of {size} bytes"):
            one_round(kind, number, size, totals, losses)
    if totals["acknowledged"]:
        print(f"     acks=all: {totals['lost']} of {totals['acknowledged']} acknowledged records lost in {ROUNDS} rounds")
        for topic in ("relaxed", "leader"):
            print(f"     {topic}: lost {losses[topic]} of each round's acknowledged records")
    sys.exit(report.finish())


def one_round(kind, number, size, totals, losses):
    with Disk(kind) as disk:
        broker = Broker("power-cut")
        broker.data = disk.path / "data"
        try:
            broker.start()
            for topic, (_, configs) in TOPICS.items():
                create(broker.bootstrap, topic, PARTITIONS, configs)
            loads = [Load(broker.bootstrap, topic, acks, size) for topic, (acks, _) in TOPICS.items()]
            for load in loads:
                load.start()
            # At another place of the log each time, but not later and later.
            goal = (1000 if size == LARGE else 4000) + number % 7 * 1500
            at_all = LARGE_GOAL if size == LARGE else 0
            counts = lambda: [load.count() for load in loads]
            until(lambda: min(counts()) >= goal and sum(counts()) >= at_all,
                  lambda: f"{goal} records of each acknowledged, {at_all} in all: {counts()}", 90)
            # What is answered while the file system goes down does not count: an fdatasync that meets the shutdown may succeed
            # for bytes that are gone (a loop of write and fdatasync alone shows it, in 1 of 25 rounds on ext4).
            for load in loads:
                load.cut = True
            disk.cut_power()
            time.sleep(0.2)
            for load in loads:
                load.close()
            broker.kill()
            disk.remount()
            broker.start()
            for load in loads:
                lost = verify(broker, load)
                losses[load.topic].append(lost)
                if load.topic == "synced":
                    totals["acknowledged"] += load.count()
                    totals["lost"] += lost
                    same(lost, 0, "acknowledged records lost with acks=all")
                elif lost > PARTITIONS * (WINDOW + IN_FLIGHT):
                    raise AssertionError(f"{load.topic}: {lost} records lost, more than a sync would have covered")
            goes_on(broker)
            same(broker.stop(), 0, "exit code of a clean stop")
        except Exception:
            print(f"the broker's log ends:\n{broker.tail()}")
            raise
        finally:
            broker.close()


def verify(broker, load):
    """How many acknowledged records are gone. What is there is right, and what is gone is the end."""
    lost = 0
    for partition in range(PARTITIONS):
        found = {offset: int(value.split(b":")[0]) for offset, _, value in read_all(broker.bootstrap, load.topic, partition)}
        end = max(found, default=-1) + 1
        same(sorted(found), list(range(end)), f"offsets of {load.topic} {partition}: no hole before the end")
        for sequence, offset in load.acked[partition].items():
            if offset >= end:
                lost += 1
            else:
                same(found[offset], sequence, f"the record at offset {offset} of {load.topic} {partition}")
    return lost


def goes_on(broker):
    """The broker takes more after it."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "enable.idempotence": True})
    failed = []
    for topic in TOPICS:
        producer.produce(topic, b"0:again", partition=0, on_delivery=lambda error, _: error and failed.append(str(error)))
    same(producer.flush(30), 0, "records not answered after the restart")
    same(failed, [], "errors after the restart")


if __name__ == "__main__":
    main()
