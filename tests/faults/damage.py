"""Bit flips and truncations over every kind of file of a stopped broker's stores: each is detected or harmless.

Three stores: one that was stopped, where everything is in tables and blobs; one that was killed a while after its last write,
where it is in the write-ahead log; and one that was stopped, started, written again and killed, which has both. After each damage
`tidegate store verify` looks, then a broker starts and everything is read. Never: a record that is wrong or silently gone, a crash, a program
that does not come back, a verify that says nothing of what a reader misses.
TIDEGATE_DAMAGES damages of each store (14), chosen by TIDEGATE_SEED so that every kind of file has its turn.
"""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from common import create
from confluent_kafka import Producer
from harness import environment, wire
from harness.broker import Broker
from harness.report import Report, same

DAMAGES = int(os.environ.get("TIDEGATE_DAMAGES", "14"))
SEED = int(os.environ.get("TIDEGATE_SEED", "1"))
PARTITIONS = 2
TOPICS = {"small": 40, "large": 3000}  # bytes of a value: in the tree, and in blobs
RECORDS = 400
# The lock says nothing, and the log is for people.
SPARED = re.compile(r"^(LOCK|LOG.*)$")


def main():
    report = Report("damage")
    rng = random.Random(SEED)
    for name, end in STORES.items():
        broker = Broker(f"damage-{name}")
        try:
            with report.case(f"a {name} broker's stores"):
                expected = filled(broker, end)
                pristine = broker.home / "pristine"
                shutil.copytree(broker.data, pristine)
            if report.failed:
                break
            one_store(report, name, broker, pristine, expected, rng)
        finally:
            broker.close()
    sys.exit(report.finish())


def filled(broker, end):
    """{(topic, partition): {offset: value}} of what was acknowledged."""
    broker.start()
    for topic in TOPICS:
        create(broker.bootstrap, topic, PARTITIONS)
    expected = {}
    write(broker, expected, RECORDS)
    end(broker, expected)
    return expected


def write(broker, expected, records):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                         "batch.num.messages": 20, "log_level": 2})
    before = sum(map(len, expected.values()))
    for topic, size in TOPICS.items():
        for number in range(records):
            value = b"%d:" % number + random.Random(number).randbytes(size)
            producer.produce(topic, value, partition=number % PARTITIONS, on_delivery=told(expected))
    same(producer.flush(60), 0, "records not answered")
    same(sum(map(len, expected.values())) - before, records * len(TOPICS), "records acknowledged")


def stopped(broker, _):
    broker.stop()


def killed(broker, _):
    # The floor is at most a second old.
    time.sleep(2.5)
    broker.kill()


def restarted(broker, expected):
    broker.stop()
    broker.start()
    write(broker, expected, RECORDS // 4)
    killed(broker, expected)


def told(expected):
    def on_delivery(error, message):
        if error is None:
            expected.setdefault((message.topic(), message.partition()), {})[message.offset()] = message.value()
    return on_delivery


def one_store(report, name, broker, pristine, expected, rng):
    kinds = {}
    for path in sorted(p for p in pristine.rglob("*") if p.is_file() and p.parent.name in ("log", "metadata")):
        if not SPARED.match(path.name) and path.stat().st_size:
            kind = f"{path.parent.name}/{path.suffix or re.sub('[0-9-]', '', path.name)}"
            kinds.setdefault(kind, []).append(path.relative_to(pristine))
    outcomes = {}
    turns = sorted(kinds) * (DAMAGES // len(kinds) + 1)
    with report.case(f"{DAMAGES} damages of a {name} broker's stores: {', '.join(sorted(kinds))}"):
        for number, kind in enumerate(turns[:max(DAMAGES, len(kinds))]):
            path = rng.choice(kinds[kind])
            shutil.rmtree(broker.data)
            shutil.copytree(pristine, broker.data)
            what = damage(broker.data / path, rng, number // len(kinds))
            try:
                outcome = look(broker, expected)
            except Exception as error:
                raise AssertionError(f"{path}: {what}: {error}") from error
            outcomes.setdefault(kind, []).append(outcome)
    for kind, found in sorted(outcomes.items()):
        counts = ", ".join(f"{found.count(outcome)} {outcome}" for outcome in sorted(set(found)))
        print(f"     {name} {kind}: {counts}")


def damage(path, rng, turn):
    size = path.stat().st_size
    if turn % 2:
        length = rng.choice([0, size // 2, size - 1, rng.randrange(size)])
        with open(path, "r+b") as file:
            file.truncate(length)
        return f"cut from {size} to {length} bytes"
    at, bit = rng.randrange(size), rng.randrange(8)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    return f"bit {bit} of byte {at} of {size}"


def look(broker, expected):
    """`refused`, `detected` or `harmless`; raises for everything else."""
    verify = subprocess.run([str(environment.tidegate()), "store", "verify", "--data-dir", str(broker.data)],
                            capture_output=True, text=True, timeout=60)
    if verify.returncode not in (0, 1) or "panicked" in verify.stderr:
        raise AssertionError(f"verify exited {verify.returncode}: {verify.stderr[-2000:]}")
    try:
        broker.start()
    except RuntimeError as error:
        if broker.process.returncode != 1 or "panicked" in str(error):
            raise
        same(verify.returncode, 1, f"exit code of verify where the broker refuses ({broker.tail(2)})")
        return "refused"
    try:
        outcome = read(broker, expected)
    finally:
        broker.kill()
    if "panicked" in broker.tail(200):
        raise AssertionError(f"a panic: {broker.tail()}")
    if outcome == "detected" and verify.returncode == 0:
        raise AssertionError("verify did not find what a reader was refused for")
    return outcome


def read(broker, expected):
    refused = False
    with wire.Connection(broker.port) as connection:
        for (topic, partition), records in expected.items():
            offset, found = 0, {}
            while offset < max(records) + 1:
                error, high_watermark, batches = wire.fetch(connection, topic, partition, offset, max_wait_ms=0)
                if error or not batches:
                    break
                for batch in batches:
                    if not batch.crc_holds():
                        raise AssertionError(f"a batch with a broken CRC from {topic} {partition} at {batch.base_offset}")
                    found.update(values(batch))
                    offset = batch.last_offset + 1
            wrong = [at for at, value in found.items() if records.get(at) != value]
            same(wrong[:3], [], f"records of {topic} {partition} that are not what was written")
            if error:
                refused = True
            elif len(found) < len(records):
                raise AssertionError(f"{topic} {partition}: {len(records) - len(found)} records are silently gone")
    return "detected" if refused else "harmless"


def values(batch):
    """{offset: value} of an uncompressed batch."""
    data, at, found = batch.bytes, 61, {}
    for _ in range(batch.count):
        length, at = varint(data, at)
        end, at = at + length, at + 1
        _, at = varint(data, at)
        delta, at = varint(data, at)
        key, at = varint(data, at)
        at += max(key, 0)
        size, at = varint(data, at)
        found[batch.base_offset + delta] = data[at:at + size]
        at = end
    return found


def varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at


STORES = {"stopped": stopped, "killed": killed, "restarted": restarted}

if __name__ == "__main__":
    main()
