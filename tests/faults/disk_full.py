"""A full disk: writes are refused with KAFKA_STORAGE_ERROR, reads go on, writes resume when there is room, nothing
acknowledged is lost."""

import os
import sys
import time

from common import create
from disks import Disk
from harness import wire
from harness.broker import Broker
from harness.report import Report, same, until

STORAGE_ERROR = 56
VALUE = 64 << 10


def main():
    report = Report("disk full")
    with report.case("a full disk, and room again"):
        with Disk("ext4", 300) as disk:
            full(disk)
    sys.exit(report.finish())


def full(disk):
    ballast = disk.path / "ballast"
    with open(ballast, "wb") as file:
        file.write(bytes(140 << 20))
        file.flush()
        os.fsync(file.fileno())
    broker = Broker("disk-full")
    broker.data = disk.path / "data"
    try:
        broker.start()
        create(broker.bootstrap, "t")
        with wire.Connection(broker.port) as connection:
            acked = {}
            error = fill(connection, acked)
            same(error, STORAGE_ERROR, "error of the first refused produce")
            print(f"     {len(acked)} batches of {VALUE >> 10} KiB acknowledged before the disk was full")
            same(produce(connection, -1)[0], STORAGE_ERROR, "error of the next one")
            same(read(connection), acked, "what is read while the disk is full")
            same("\ntidegate_store_online 1\n" in broker.get("/metrics"), True, "the store stays online")
            ballast.unlink()
            until(lambda: keep(connection, acked), "a produce is taken again", 60)
        said = broker.log.read_text()
        same((said.count("the disk is full"), said.count("there is room on the disk again")), (1, 1), "what the log says of it")
        broker.kill()
        broker.start()
        with wire.Connection(broker.port) as connection:
            found = read(connection)
            missing = [offset for offset, value in acked.items() if found.get(offset) != value]
            same(missing, [], "acknowledged records that a restart does not have")
        same(broker.stop(), 0, "exit code of a clean stop")
    except Exception:
        print(f"the broker's log ends:\n{broker.tail()}")
        raise
    finally:
        broker.close()


def produce(connection, number):
    value = b"%8d" % number + os.urandom(VALUE)
    error, offset = wire.produce(connection, "t", 0, wire.record_batch([value], int(time.time() * 1000)))
    return error, offset, value[:8]


def fill(connection, acked):
    for number in range(10_000):
        error, offset, name = produce(connection, number)
        if error:
            return error
        acked[offset] = name
    raise AssertionError("the disk never was full")


def keep(connection, acked):
    error, offset, name = produce(connection, len(acked))
    if error == 0:
        acked[offset] = name
    return error == 0


def read(connection):
    """{offset: how its value begins}."""
    offset, found = 0, {}
    while True:
        error, high_watermark, batches = wire.fetch(connection, "t", 0, offset, max_wait_ms=0)
        same(error, 0, "error of a fetch")
        if not batches:
            return found
        for batch in batches:
            found[batch.base_offset] = value_of(batch.bytes)
            offset = batch.last_offset + 1


def value_of(data):
    """The first eight bytes of the value of the only record."""
    at = 61
    for field in range(6):
        if field == 1:  # attributes
            at += 1
            continue
        while data[at] & 0x80:
            at += 1
        at += 1
    return data[at:at + 8]


if __name__ == "__main__":
    main()
