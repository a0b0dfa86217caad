"""The one scenario that every client runs, in terms of `adapters.base`. Run by run.py, one process for each client."""

import argparse
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import adapters
from adapters.base import Context, Send
from harness import environment, wire
from harness.report import Report, same, until

MATCH = {"tidegate.plugin.match.field": "value", "tidegate.plugin.match.op": "contains",
         "tidegate.plugin.match.value": "keep"}
PRODUCE_MATCH = {"tidegate.produce.chain": "match", **MATCH}
CONSUME_MATCH = {"tidegate.consume.chain": "match", **MATCH}
ROUTE = {"tidegate.produce.chain": "route", "tidegate.plugin.route.field": "key",
         "tidegate.plugin.route.table": "eu=orders-eu;us=orders-us", "tidegate.plugin.route.default": "keep",
         "tidegate.plugin.route.mode": "move"}


class Scenario:
    def __init__(self, client, context, report):
        self.client, self.context, self.report = client, context, report
        self.port = int(context.bootstrap.rsplit(":", 1)[1])

    def run(self, plugins):
        for codec in self.client.codecs:
            self._case(f"produce and read back, {codec}", self.codec, codec)
        self._case("idempotent producer", self.idempotent)
        self._case("group of two, commit, resume", self.group)
        self._case("seek to the beginning, the end, an offset and a time", self.seek)
        if not plugins:
            return
        self._case("binding what is not uploaded is refused in words", self.refused)
        self._case("filtered topic", self.filtered)
        self._case("filtered topic, every codec", self.filtered_codecs)
        self._case("topic with a consume chain", self.consume_chain)
        self._case("routed topics", self.routed)
        self._case("all-filtered topic", self.all_filtered)

    def codec(self, codec):
        topic = f"codec-{codec}"
        self.client.create_topic(topic, 2)
        headers = (("trace", b"one"), ("trace", b"two"))
        sends = [Send(f"k{i}".encode(), f"value {i} ".encode() * 20, i // 50, headers=headers) for i in range(100)]
        offsets = self.client.produce(topic, sends, codec)
        if offsets is not None:
            same(offsets, [i % 50 for i in range(100)], "offsets that the producer was told")
        for partition in (0, 1):
            read = self._read(topic, partition, "beginning", 50)
            same([(r.offset, r.key, r.value, r.headers) for r in read],
                 [(i, s.key, s.value, headers) for i, s in enumerate(sends[partition * 50:][:50])], "records")
        with wire.Connection(self.port) as raw:
            _, _, batches = wire.fetch(raw, topic, 0, 0)
        same({b.codec for b in batches}, {wire.CODECS[codec]}, "codec of the stored batches")
        same([b.crc_holds() for b in batches], [True] * len(batches), "CRC of the stored batches")

    def idempotent(self):
        self.client.create_topic("idempotent", 1)
        sends = [Send(None, f"{i}".encode() * 50) for i in range(500)]
        for start in (0, 200):
            offsets = self.client.produce("idempotent", sends[start:start + 300 if start else 200], idempotent=True)
            if offsets is not None:
                same(offsets, list(range(start, 500 if start else 200)), "offsets that the producer was told")
        same([r.value for r in self._read("idempotent", 0, "beginning", 500)], [s.value for s in sends], "values")
        with wire.Connection(self.port) as raw:
            _, _, batches = wire.fetch(raw, "idempotent", 0, 0)
        same(batches[0].producer_id >= 0 and batches[0].base_sequence, 0, "first sequence of a real producer id")

    def group(self):
        topic, group, partitions = "grouped", "pair", 4
        self.client.create_topic(topic, partitions)
        one = self.client.member(group, [topic])
        two = self.client.member(group, [topic])
        try:
            until(lambda: self._split(one, two, partitions),
                  lambda: f"two members share {partitions} partitions: {one.assignment()} and {two.assignment()}", 60)
            self._spread(topic, partitions, 0, 25)
            until(lambda: one._alive() and two._alive() and len(one.records) + len(two.records) >= 100,
                  lambda: f"100 records, got {len(one.records)} + {len(two.records)}")
            same(sorted(r.value for r in one.records + two.records), sorted(self._values(partitions, 0, 25)), "values")
            same(min(len(one.records), len(two.records)) > 0, True, "both members got some")
            for member in (one, two):
                in_order = {}
                for record in member.records:
                    in_order.setdefault(record.partition, []).append(record.offset)
                same(in_order, {p: list(range(25)) for p in in_order}, "offsets of a member")
                member.commit()
            until(lambda: self.client.committed(group, topic) == {p: 25 for p in range(partitions)},
                  lambda: f"committed 25 of each partition: {self.client.committed(group, topic)}")
        finally:
            one.close()
            two.close()
        self._spread(topic, partitions, 25, 30)
        resumed = self.client.member(group, [topic])
        try:
            got = resumed.wait(20, 60)
            same(sorted(r.value for r in got), sorted(self._values(partitions, 25, 30)), "values after the resume")
            until(lambda: resumed.assignment() == set(range(partitions)), "one member has every partition")
        finally:
            resumed.close()

    def seek(self):
        topic, start = "sought", int(time.time() * 1000) - 3_600_000
        self.client.create_topic(topic, 1)
        for half in (range(10), range(10, 20)):
            stamps = [start + 1000 * i if self.client.sets_timestamps else None for i in half]
            self.client.produce(topic, [Send(None, b"%d" % i, 0, t) for i, t in zip(half, stamps)])
        everything = self._read(topic, 0, "beginning", 20)
        same([r.offset for r in everything], list(range(20)), "offsets from the beginning")
        if self.client.sets_timestamps:
            same([r.timestamp for r in everything], [start + 1000 * i for i in range(20)], "timestamps")
        same([r.offset for r in self._read(topic, 0, 7, 13)], list(range(7, 20)), "offsets from 7")
        target = everything[12].timestamp - (500 if self.client.sets_timestamps else 0)
        expected = [r.offset for r in everything if r.timestamp >= target]
        same([r.offset for r in self._read(topic, 0, ("time", target), len(expected))], expected, "offsets from a time")
        at_end = self.client.reader(topic, 0, "end")
        try:
            self.client.produce(topic, [Send(None, b"after", 0)])
            same([(r.offset, r.value) for r in at_end.wait(1)], [(20, b"after")], "records from the end")
            if hasattr(at_end, "seek"):
                at_end.seek(topic, 0, 18)
                same([r.offset for r in at_end.wait(4)][1:], [18, 19, 20], "offsets after seeking back to 18")
        finally:
            at_end.close()

    def refused(self):
        self.client.create_topic("refused", 1)
        try:
            self.client.set_configs("refused", {"tidegate.produce.chain": "nosuchplugin"})
        except Exception as error:
            words = str(error)
            if self.client.tells_reasons:
                same("nosuchplugin" in words and "push" in words, True, f"a sentence that helps, not: {words}")
        else:
            raise AssertionError("a chain with an unknown plugin was accepted")

    def filtered(self):
        """Bound when created; idempotent and plain; positions and told offsets stay those of the unfiltered records."""
        topic = "filtered"
        self.client.create_topic(topic, 1, PRODUCE_MATCH)
        for turn, idempotent in enumerate((False, True)):
            sends = [Send(b"k", b"%s %d" % (b"keep" if i % 3 == 0 else b"lose", i), 0) for i in range(120)]
            offsets = self.client.produce(topic, sends, idempotent=idempotent)
            if offsets is not None:
                same(offsets, list(range(turn * 120, turn * 120 + 120)), "offsets that the producer was told")
        read = self._read(topic, 0, "beginning", 80)
        same([(r.offset, r.value) for r in read],
             [(turn * 120 + i, b"keep %d" % i) for turn in (0, 1) for i in range(0, 120, 3)], "what was kept, and where")
        same(self.client.end_offsets(topic, 1), {0: 240}, "end offset")

    def filtered_codecs(self):
        """Bound to a topic that is there already, through the client's own way to change configs."""
        for codec in self.client.codecs:
            topic = f"filtered-{codec}"
            self.client.create_topic(topic, 1)
            self.client.set_configs(topic, PRODUCE_MATCH)
            sends = [Send(None, b"%s %d " % (b"keep" if i % 2 else b"lose", i) * 10, 0) for i in range(60)]
            self.client.produce(topic, sends, codec)
            read = self._read(topic, 0, "beginning", 30)
            same([(r.offset, r.value) for r in read],
                 [(i, s.value) for i, s in enumerate(sends) if i % 2], f"what was kept, {codec}")

    def consume_chain(self):
        topic = "consume-filtered"
        self.client.create_topic(topic, 1)
        sends = [Send(None, b"%s %d" % (b"keep" if i % 4 == 0 else b"lose", i), 0) for i in range(100)]
        self.client.produce(topic, sends, "gzip")
        same([r.value for r in self._read(topic, 0, "beginning", 100)], [s.value for s in sends], "values before")
        self.client.set_configs(topic, CONSUME_MATCH)
        read = self._read(topic, 0, "beginning", 25)
        same([(r.offset, r.value) for r in read], [(i, sends[i].value) for i in range(0, 100, 4)], "values after")
        same(self.client.end_offsets(topic, 1), {0: 100}, "end offset")

    def routed(self):
        for topic in ("orders-eu", "orders-us"):
            self.client.create_topic(topic, 1)
        self.client.create_topic("orders", 1, ROUTE)
        keys = [(b"eu", b"us", b"asia")[i % 3] for i in range(90)]
        self.client.produce("orders", [Send(k, b"order %d" % i, 0, headers=(("n", b"1"),)) for i, k in enumerate(keys)])
        for topic, key in (("orders-eu", b"eu"), ("orders-us", b"us"), ("orders", b"asia")):
            read = self._read(topic, 0, "beginning", 30)
            same([(r.key, r.value, r.headers) for r in read],
                 [(k, b"order %d" % i, (("n", b"1"),)) for i, k in enumerate(keys) if k == key], f"records of {topic}")
        same(self.client.end_offsets("orders-eu", 1), {0: 30}, "a target is dense")

    def all_filtered(self):
        """Nothing is ever sent, yet the consumer gets to the end and what it commits by itself moves past the gap."""
        topic, group = "all-filtered", "patient"
        self.client.create_topic(topic, 1, PRODUCE_MATCH)
        self.client.produce(topic, [Send(None, b"lose %d" % i, 0) for i in range(200)])
        same(self.client.end_offsets(topic, 1), {0: 200}, "end offset")
        member = self.client.member(group, [topic], auto_commit=True)
        try:
            until(lambda: member._alive() and member.position(topic, 0) in (None, 200),
                  lambda: f"position 200: {member.position(topic, 0)}")
            if self.client.commits_gaps:
                until(lambda: self.client.committed(group, topic) == {0: 200},
                      lambda: f"committed 200, lag 0: {self.client.committed(group, topic)}")
            self.client.produce(topic, [Send(None, b"keep me", 0)])
            same([(r.offset, r.value) for r in member.wait(1)], [(200, b"keep me")], "the one record kept")
            self.client.produce(topic, [Send(None, b"lose %d" % i, 0) for i in range(10)])
            until(lambda: member._alive() and member.position(topic, 0) in (None, 211), "position 211")
            end = 211 if self.client.commits_gaps else 201
            until(lambda: self.client.committed(group, topic) == {0: end},
                  lambda: f"committed {end}: {self.client.committed(group, topic)}")
        finally:
            member.close()

    def _case(self, name, run, *arguments):
        with self.report.case(name):
            run(*arguments)

    def _read(self, topic, partition, where, count):
        """The first `count` records from `where`; more than asked for would show in a comparison."""
        reader = self.client.reader(topic, partition, where)
        try:
            return reader.wait(count)
        finally:
            reader.close()

    def _spread(self, topic, partitions, start, end):
        self.client.produce(topic, [Send(None, v, p) for p in range(partitions)
                                    for v in self._values_of(p, start, end)])

    def _values(self, partitions, start, end):
        return [v for p in range(partitions) for v in self._values_of(p, start, end)]

    @staticmethod
    def _values_of(partition, start, end):
        return [b"p%d n%d" % (partition, i) for i in range(start, end)]

    @staticmethod
    def _split(one, two, partitions):
        one._alive(), two._alive()
        a, b = one.assignment(), two.assignment()
        return a and b and not a & b and a | b == set(range(partitions))


def tidegate_cli(bootstrap, admin):
    """Runs `tidegate` commands against the broker under test."""
    binary = str(environment.tidegate())
    environ = {**os.environ, "TIDEGATE_BOOTSTRAP": bootstrap, "TIDEGATE_ADMIN": admin}

    def run(*arguments):
        done = subprocess.run([binary, *map(str, arguments)], env=environ, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"tidegate {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
        return done.stdout
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=list(adapters.NAMES))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--admin", help="the broker's admin address; without it the plugin checks are left out")
    options = parser.parse_args()
    report = Report(options.client)
    context = Context(options.bootstrap, options.admin and tidegate_cli(options.bootstrap, options.admin))
    client = adapters.load(options.client, context)
    try:
        Scenario(client, context, report).run(plugins=bool(options.admin))
    finally:
        client.close()
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
