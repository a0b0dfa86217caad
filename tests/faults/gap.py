"""The gap marker across an epoch bump, a clean restart and a kill inside the gap.

A filtered topic loses most of its records. Consumers of confluent-kafka (read_committed) and kafka-python (read_uncommitted)
must walk through the gaps: positions and commits reach the end, nothing is seen twice, nothing is reported as truncated.
The marker itself is read raw: its bytes, its place, and that it carries the epoch of the last scanned offset.
"""

import sys

from common import MATCH, create
from adapters import load
from adapters.base import Context, Send
from harness import wire
from harness.broker import Broker
from harness.report import Report, same, until

TOPIC = "gapped"
CLIENTS = ("confluent-kafka", "kafka-python")
MARKER_BYTES = 78
MARKER_PRODUCER = 1 << 62


class Gap:
    def __init__(self, broker, report):
        self.broker, self.report = broker, report
        self.clients = {name: load(name, Context(broker.bootstrap)) for name in CLIENTS}
        self.members = {}
        self.group = None
        self.kept = []  # (offset, value) of all that passed the filter
        self.end = 0

    def run(self):
        with self.report.case("consumers walk through the first gap, and the marker ends it"):
            create(self.broker.bootstrap, TOPIC, 1, {"tidegate.produce.chain": "match", **MATCH})
            self.join("walkers")
            self.send("keep", 5)
            self.send("lose", 20, "gzip")
            self.reached()
            first = self.marker(5)
        with self.report.case("a restart bumps the epoch; old and new consumers go on"):
            self.broker.restart()
            self.send("lose", 10, "lz4")
            self.reached()
            same(self.marker(5).leader_epoch > first.leader_epoch, True, "epoch of the marker after the restart")
            same(self.fetched(0)[0].leader_epoch, first.leader_epoch, "epoch of the records from before the restart")
        with self.report.case("SIGKILL inside the gap, then the first record after it"):
            self.broker.kill()
            self.broker.start()
            self.send("keep", 1)
            self.send("lose", 7, "zstd")
            self.reached()
        with self.report.case("members that resume inside a gap after a restart"):
            self.close()
            self.send("lose", 3)
            self.broker.restart()
            self.send("keep", 1)
            self.send("lose", 2)
            self.join("walkers")
            self.reached(self.kept[-1:])
            self.close()
        with self.report.case("new consumers read from the beginning across every epoch"):
            self.join("fresh")
            self.reached()
        with self.report.case("every fetch offset of the topic gets the next record or one marker, in order"):
            for offset in range(self.end):
                self.check_fetch(offset)

    def join(self, group):
        """One member for each client, in a group of its own."""
        self.group = group
        self.members = {name: client.member(f"{group}-{name}", [TOPIC]) for name, client in self.clients.items()}

    def send(self, word, count, codec="none"):
        values = [b"%s %d" % (word.encode(), self.end + i) for i in range(count)]
        offsets = self.clients["confluent-kafka"].produce(TOPIC, [Send(None, v, 0) for v in values], codec, True)
        same(offsets, list(range(self.end, self.end + count)), "offsets that the producer was told")
        if word == "keep":
            self.kept += zip(offsets, values)
        self.end += count

    def reached(self, kept=None):
        """Every member has what was kept and stands at the end; so does what it commits."""
        kept = self.kept if kept is None else kept
        for name, member in self.members.items():
            until(lambda: member._alive() and member.position(TOPIC, 0) == self.end,
                  lambda: f"{name} at {self.end}, but at {member.position(TOPIC, 0)}", 60)
            same([(r.offset, r.value) for r in member.records], kept, f"records of {name}")
            member.commit()
            group = f"{self.group}-{name}"
            until(lambda: self.clients[name].committed(group, TOPIC) == {0: self.end},
                  lambda: f"{name} committed {self.end}: {self.clients[name].committed(group, TOPIC)}")

    def marker(self, offset):
        """The marker of a fetch from `offset`, after which nothing but dropped records comes."""
        batch = self.fetched(offset)[-1]
        shape = (len(batch.bytes), batch.base_offset, batch.last_delta, batch.attributes, batch.producer_id,
                 batch.producer_epoch, batch.base_sequence, batch.count, batch.crc_holds())
        same(shape, (MARKER_BYTES, self.end - 1, 0, 0x30, MARKER_PRODUCER, 0, -1, 1, True), "the gap marker")
        return batch

    def fetched(self, offset):
        with wire.Connection(self.broker.port) as raw:
            error, high_watermark, batches = wire.fetch(raw, TOPIC, 0, offset)
        same((error, high_watermark), (0, self.end), "error and high watermark")
        return batches

    def check_fetch(self, offset):
        batches = self.fetched(offset)
        same(bool(batches), True, f"something sent for {offset}")
        same([b.control for b in batches[:-1]], [False] * (len(batches) - 1), f"markers before the last batch, {offset}")
        same([b.crc_holds() for b in batches], [True] * len(batches), f"CRC, {offset}")
        same([b.count > 0 for b in batches], [True] * len(batches), f"no empty batch, {offset}")
        same(all(b.last_offset >= offset for b in batches), True, f"nothing wholly before {offset}")
        same(batches[-1].last_offset < self.end, True, f"nothing past the high watermark, {offset}")
        epochs = [b.leader_epoch for b in batches]
        same(epochs, sorted(epochs), f"epochs rise, {offset}")

    def close(self):
        members, self.members = self.members, {}
        for member in members.values():
            member.close()


def main():
    report = Report("gap")
    with Broker("gap") as broker:
        broker.push("match")
        gap = Gap(broker, report)
        try:
            gap.run()
        finally:
            gap.close()
            for client in gap.clients.values():
                client.close()
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
