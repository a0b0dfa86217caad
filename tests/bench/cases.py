"""What is measured: each case runs on one broker at a time and gives figures, whose ratios have goals."""

import dataclasses
import json
import re
import subprocess
import sys
import time

import brokers
from harness import environment
from harness.kafka import run_tool

GENERATOR = environment.TARGET / "release" / "tidegate-bench"
CLIENT = environment.ROOT / "tests" / "bench" / "librdkafka.py"
MATCH = {"tidegate.produce.chain": "match", "tidegate.plugin.match.field": "value", "tidegate.plugin.match.op": "contains",
         "tidegate.plugin.match.value": "keep"}
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
FLUSHED = {"flush.messages": "1"}
RELAXED = {"flush.ms": "1000"}

# (ratio of Tidegate's figure to Kafka's, whether it is a floor or a ceiling)
FASTER, NOT_SLOWER = (1.5, "floor"), (1.0, "floor")
HALF, THIRD, TENTH, TWENTIETH = (1 / 2, "ceiling"), (1 / 3, "ceiling"), (1 / 10, "ceiling"), (1 / 20, "ceiling")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Of one case on one broker."""
    seconds: float
    bytes: int
    latency_seconds: float
    idle_partitions: int

    def settle(self):
        return max(2.0, self.seconds)


QUICK = Bounds(seconds=1.5, bytes=300_000_000, latency_seconds=5, idle_partitions=200)
FULL = Bounds(seconds=3, bytes=1_000_000_000, latency_seconds=10, idle_partitions=1000)


@dataclasses.dataclass(frozen=True)
class Durability:
    label: str
    acks: str
    tidegate: dict
    kafka: dict
    # Whether both promise the same; else the case is there for comparison, without a goal.
    equal: bool


UNSYNCED = Durability("acks=1", "1", {}, {}, True)
SYNCED = Durability("acks=all, synced", "-1", {}, FLUSHED, True)
STRICTER = Durability("acks=all, Kafka unsynced", "-1", {}, {}, False)
LAXER = Durability("acks=1, Kafka synced", "1", {}, FLUSHED, False)
RELAXED_BOTH = Durability("acks=all, both unsynced (flush.ms here)", "-1", RELAXED, {}, True)


class Case:
    """Subclasses have `name`, `goals` ({figure: goal or None}), `quick` and `measure(broker, side, bounds)`."""
    quick = False
    # A broker of its own instead of the one that all cases share.
    own_broker = False

    def prepare(self, broker, side, bounds):
        """Once on each broker, before the rounds."""

    def finish(self, broker, side):
        """Once on each broker, after the rounds."""


class Topic(Case):
    """A case on a topic of its own for each round, which is deleted again."""

    def __init__(self, name, durability=UNSYNCED, partitions=1, chain=False, quick=False, goals=None):
        self.name, self.durability, self.partitions, self.chain, self.quick = name, durability, partitions, chain, quick
        self.goals = goals or self.default_goals()
        self.round = 0

    def default_goals(self):
        goal = self.durability.equal
        faster = NOT_SLOWER if self.chain else FASTER
        return {"MB/s": faster if goal else None, "CPU s/GB": HALF if goal and not self.chain else None}

    def measure(self, broker, side, bounds):
        self.round += 1
        topic = f"{re.sub('[^a-z0-9]+', '-', self.name.lower())}-{self.round}"
        configs = {**(self.durability.tidegate if side == "tidegate" else self.durability.kafka),
                   **(MATCH if self.chain and side == "tidegate" else {})}
        brokers.create(broker, topic, self.partitions, configs)
        try:
            with Metered(broker, bounds) as metered:
                figures = self.load(broker, topic, bounds)
        finally:
            brokers.delete(broker, topic)
        return {**figures, **metered.figures(figures.get("bytes"))}

    def load(self, broker, topic, bounds):
        raise NotImplementedError


class Metered:
    """What the broker costs from here to where it is quiet again."""

    def __init__(self, broker, bounds):
        self.broker, self.bounds = broker, bounds

    def __enter__(self):
        self.broker.reset_peak()
        self.cpu = brokers.cpu_seconds(self.broker)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            brokers.settle(self.broker, self.bounds.settle())
            self.cpu = brokers.cpu_seconds(self.broker) - self.cpu
            self.peak = self.broker.memory("VmHWM")

    def figures(self, moved):
        figures = {"broker_cpu_seconds": self.cpu, "peak MB": self.peak / 1e6}
        return {**figures, "CPU s/GB": self.cpu / (moved / 1e9)} if moved else figures


class Produce(Topic):
    """Flat out, from two connections with five requests in flight each."""

    def __init__(self, size, partitions=1, codec="none", durability=UNSYNCED, batch=16_000, keep=100, label="produce", **more):
        name = f"{label} {_size(size)}, {_count(partitions)}, {codec}, {durability.label}"
        self.options = {"record-bytes": size, "batch-bytes": batch, "codec": codec, "keep": keep, "connections": 2, "window": 5}
        super().__init__(name, durability, partitions, **more)

    def load(self, broker, topic, bounds):
        figures = generate("produce", broker, topic, partitions=self.partitions, acks=self.durability.acks,
                           seconds=bounds.seconds, bytes=bounds.bytes, **self.options)
        return {**figures, "MB/s": figures["bytes"] / figures["seconds"] / 1e6}


class Tail(Topic):
    """Consumers that keep up with a producer that runs flat out: bytes are counted once, however many read them."""

    def __init__(self, consumers, partitions=1, durability=UNSYNCED, **more):
        self.consumers = consumers
        name = f"tail, {consumers} consumer{'s' * (consumers > 1)}, {_size(1000)}, {_count(partitions)}, {durability.label}"
        super().__init__(name, durability, partitions, **more)

    def load(self, broker, topic, bounds):
        figures = generate("fanout", broker, topic, partitions=self.partitions, acks=self.durability.acks,
                           consumers=self.consumers, seconds=bounds.seconds, bytes=bounds.bytes / min(self.consumers, 4),
                           connections=1, timeout=300)
        if figures["consumed_records"] != figures["records"] * self.consumers:
            raise RuntimeError(f"{figures['consumed_records']:.0f} of {figures['records']:.0f} records were consumed")
        return {**figures, "MB/s": figures["bytes"] / figures["seconds"] / 1e6}


class FromStart(Case):
    """One consumer reads what was written before, more than the tail cache holds."""

    def __init__(self, partitions=1, consumers=1, quick=False):
        self.partitions, self.consumers, self.quick = partitions, consumers, quick
        self.name = f"from the start, {consumers} consumer{'s' * (consumers > 1)}, {_size(1000)}, {_count(partitions)}"
        self.topic = f"from-start-{partitions}-{consumers}"
        self.goals = {"MB/s": FASTER, "CPU s/GB": HALF}

    def prepare(self, broker, side, bounds):
        brokers.create(broker, self.topic, self.partitions)
        generate("produce", broker, self.topic, partitions=self.partitions, acks="1", seconds=60, bytes=bounds.bytes)
        brokers.settle(broker, 10)

    def measure(self, broker, side, bounds):
        with Metered(broker, bounds) as metered:
            figures = generate("consume", broker, self.topic, partitions=self.partitions, consumers=self.consumers, timeout=300)
        return {**figures, "MB/s": figures["bytes"] / figures["seconds"] / 1e6, **metered.figures(figures["bytes"])}

    def finish(self, broker, side):
        brokers.delete(broker, self.topic)


class Latency(Topic):
    """Ten records of 1 KB in a batch, a hundred batches a second: from when a batch is due to its ack, and to its consumer."""

    def __init__(self, durability, **more):
        super().__init__(f"latency, 100 batches/s, {durability.label}", durability, **more)

    def default_goals(self):
        goal = THIRD if self.durability.equal else None
        # With acks=1 a producer waits for no sync, yet Tidegate's consumers are shown nothing that a power cut can take back,
        # unless the topic is relaxed; Kafka's are. So what consumers wait for is not the same promise.
        receive = None if self.durability is UNSYNCED else goal
        return {"ack p50 ms": None, "ack p99 ms": goal, "ack p99.9 ms": None, "receive p50 ms": None,
                "receive p99 ms": receive, "receive p99.9 ms": None}

    def load(self, broker, topic, bounds):
        figures = generate("latency", broker, topic, acks=self.durability.acks, rate=1000, **{"batch-bytes": 10_000},
                           seconds=bounds.latency_seconds)
        return {**figures, **{f"{what} {shown} ms": figures[f"{what}_{key}_ms"]
                              for what in ("ack", "receive") for key, shown in PERCENTILES.items()}}


class Floor(Case):
    """The rate of `Latency` to a thread that only answers, or only syncs, in turns with the brokers: what nobody can be quicker than."""

    def __init__(self, durability, quick=False):
        self.durability, self.quick = durability, quick
        self.name = f"floor: no broker, 100 batches/s, {durability.label}"
        self.goals = {"ack p50 ms": None, "ack p99 ms": None, "ack p99.9 ms": None}

    def measure(self, broker, side, bounds):
        figures = child([str(GENERATOR), "floor", "--directory", str(broker.data), "--acks", self.durability.acks, "--rate", "1000",
                         "--batch-bytes", "10000", "--seconds", str(bounds.latency_seconds)], bounds.latency_seconds + 60)
        return {**figures, **{f"ack {shown} ms": figures[f"ack_{key}_ms"] for key, shown in PERCENTILES.items()}}


class Idle(Case):
    """A broker that does nothing: how soon it is there, and what it takes, without topics and with many partitions."""
    own_broker = True

    def __init__(self, quick=False):
        self.name, self.quick = "idle", quick
        self.goals = {"start s": TWENTIETH, "idle MB": TENTH, "idle MB with partitions": TENTH,
                      "start s with partitions": TWENTIETH}

    def measure(self, broker, side, bounds):
        figures = {"start s": brokers.start_seconds(broker)}
        brokers.settle(broker, 10)
        figures["idle MB"] = broker.memory() / 1e6
        brokers.create(broker, "many", bounds.idle_partitions)
        brokers.settle(broker, 10)
        figures["idle MB with partitions"] = broker.memory() / 1e6
        if broker.stop() != broker.STOPPED:
            raise RuntimeError(f"it did not stop cleanly:\n{broker.tail()}")
        figures["start s with partitions"] = brokers.start_seconds(broker)
        return {**figures, "partitions": bounds.idle_partitions}


class PerfTest(Topic):
    """Kafka's own kafka-producer-perf-test and kafka-consumer-perf-test, on one topic; they share the cores with the broker."""

    def __init__(self, durability, **more):
        super().__init__(f"kafka-*-perf-test, {_size(1000)}, 6 partitions, {durability.label}", durability, 6, **more)

    def default_goals(self):
        goal = FASTER if self.durability.equal else None
        return {"produce MB/s": goal, "produce p99 ms": None, "consume MB/s": goal, "CPU s/GB": HALF if goal else None}

    def load(self, broker, topic, bounds):
        count = min(bounds.bytes, 400_000_000) // 1000
        acks = {"-1": "all"}.get(self.durability.acks, self.durability.acks)
        said = run_tool("kafka-producer-perf-test", "--topic", topic, "--num-records", count, "--record-size", 1000,
                        "--throughput", -1, "--producer-props", f"bootstrap.servers={broker.bootstrap}", f"acks={acks}",
                        timeout=300)
        last = said.strip().splitlines()[-1]
        read = run_tool("kafka-consumer-perf-test", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--messages", count,
                        "--timeout", 60_000, timeout=300)
        names, values = ([cell.strip() for cell in line.split(",")] for line in _csv(read))
        consumed = dict(zip(names, values))
        return {"bytes": count * 2000, "produce MB/s": float(re.search(r"\(([\d.]+) MB/sec\)", last)[1]) * 1.048576,
                "produce p99 ms": float(re.search(r"(\d+) ms 99th", last)[1]),
                "consume MB/s": float(consumed["fetch.MB.sec"]) * 1.048576}


class Librdkafka(Topic):
    """librdkafka through confluent-kafka, in a process of its own."""

    def __init__(self, durability, **more):
        super().__init__(f"librdkafka, {_size(1000)}, 6 partitions, {durability.label}", durability, 6, **more)

    def default_goals(self):
        goal = FASTER if self.durability.equal else None
        return {"produce MB/s": goal, "consume MB/s": goal, "CPU s/GB": HALF if goal else None}

    def load(self, broker, topic, bounds):
        count = min(bounds.bytes, 300_000_000) // 1000
        return child([sys.executable, str(CLIENT), broker.bootstrap, topic, str(count), "1000", self.durability.acks], 300)


def all_cases():
    """Every case, in the order of the table."""
    matrix = [Produce(size, partitions, codec, durability, batch=max(16_000, size),
                      quick=codec == "none" and (size, partitions) in ((1000, 1), (100, 16)))
              for durability in (UNSYNCED, SYNCED) for size in (100, 1000, 10_000) for partitions in (1, 16)
              for codec in ("none", "lz4")]
    return [
        *matrix,
        *(Produce(1000, partitions, durability=durability) for durability in (STRICTER, LAXER, RELAXED_BOTH)
          for partitions in (1, 16)),
        *(Produce(size, 1, durability=durability, chain=True, keep=keep, label=f"filter keeps {keep} %, produce",
                  quick=size == 1000 and durability is UNSYNCED)
          for durability in (UNSYNCED, SYNCED) for size in (100, 1000) for keep in (100, 50)),
        Tail(1, quick=True), Tail(1, 16), Tail(10, quick=True), Tail(10, 16), Tail(1, durability=SYNCED),
        FromStart(quick=True), FromStart(16), FromStart(1, 10),
        *(Latency(durability, quick=durability.equal)
          for durability in (UNSYNCED, SYNCED, STRICTER, LAXER, RELAXED_BOTH)),
        *(Floor(durability, quick=True) for durability in (UNSYNCED, SYNCED)),
        *(tool(durability, quick=False) for tool in (PerfTest, Librdkafka) for durability in (UNSYNCED, SYNCED)),
        Idle(quick=True),
    ]


def scaling_cases():
    """How cost grows with the size of batches, the number of partitions and of consumers: what plot.py draws."""
    return [
        *(Scale("batch bytes", size, Produce(min(size, 1000), 4, batch=size, label=f"batches of {size} bytes, produce"))
          for size in (256, 1000, 4000, 16_000, 64_000, 256_000)),
        *(Scale("partitions", count, Produce(1000, count, batch=4000, label="batches of 4 KB, produce"))
          for count in (1, 4, 16, 64, 256, 1000)),
        *(Scale("consumers", count, Tail(count)) for count in (1, 2, 5, 10, 20)),
    ]


class Scale(Case):
    """One point of a curve."""

    def __init__(self, axis, at, case):
        self.axis, self.at, self.case = axis, at, case
        self.name = f"scaling, {axis} {at}: {case.name}"
        self.goals = {"MB/s": None, "CPU s/GB": None}

    def measure(self, broker, side, bounds):
        return {**self.case.measure(broker, side, bounds), "axis": self.axis, "at": self.at}


def generate(command, broker, topic, timeout=None, **options):
    """Runs the generator and returns what it measured."""
    words = [word for name, value in options.items() for word in (f"--{name}", f"{value:.0f}" if name == "bytes" else str(value))]
    return child([str(GENERATOR), command, "--bootstrap", broker.bootstrap, "--topic", topic, *words],
                 timeout or options.get("seconds", 0) + 120)


def child(command, timeout):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def warm_up(broker, bounds):
    """Compiles what a JVM compiles under load; the same for both. By bytes, since a busy machine compiles late too."""
    brokers.create(broker, "warm-up", 4)
    left, until = 2 * bounds.bytes, time.monotonic() + 24 * bounds.seconds
    while left > 0 and time.monotonic() < until:
        for acks in ("1", "-1"):
            moved = generate("fanout", broker, "warm-up", partitions=4, acks=acks, seconds=bounds.seconds, bytes=bounds.bytes / 2)
            left -= moved["bytes"]
    brokers.delete(broker, "warm-up")
    brokers.settle(broker, 10)


def _csv(said):
    """The header and the line below it, of a tool that may say more before."""
    lines = said.strip().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("start.time"))
    return lines[at:at + 2]


def _size(size):
    return f"{size // 1000} KB" if size >= 1000 else f"{size} B"


def _count(partitions):
    return f"{partitions} partition{'s' * (partitions > 1)}"
