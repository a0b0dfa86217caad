"""Consumers that ask for everything and read nothing: producers and other consumers go on, and memory stays within the budget."""

import os
import socket
import struct
import sys
import time

from common import create
from harness import wire
from harness.broker import Broker
from harness.report import Report, same, until

STALLED = 64
MEGABYTES = 64
PRODUCES = 300
# Each of the stalled asks for all 64 MB, so all together for 4 GB.
BUDGET = 128 << 20
CONFIG = {"tidegate.memory.bytes": BUDGET, "socket.request.max.bytes": 8 << 20, "tidegate.max.decoded.bytes": 8 << 20,
          "log.cleaner.enable": "false"}
# The program, its threads and what the allocator keeps to itself; the writes before have filled the rest already.
BESIDE = 48 << 20


def main():
    report = Report("slow consumers")
    with report.case(f"{STALLED} consumers that read nothing of {MEGABYTES} MB"):
        stalled()
    sys.exit(report.finish())


def stalled():
    broker = Broker("slow-consumers", CONFIG)
    sockets = []
    try:
        broker.start()
        create(broker.bootstrap, "t")
        create(broker.bootstrap, "other")
        value = os.urandom(900_000)
        with wire.Connection(broker.port) as connection:
            for _ in range(MEGABYTES):
                error, _ = wire.produce(connection, "t", 0, wire.record_batch([value], now()))
                same(error, 0, "error of a produce")
        broker.reset_peak()
        request = (wire.request_header(wire.FETCH, 4, 7) + struct.pack(">iiiib", -1, 500, 1, 1 << 30, 0)
                   + struct.pack(">i", 1) + wire.string("t") + struct.pack(">iiqi", 1, 0, 0, 1 << 30))
        for _ in range(STALLED):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", broker.port))
            client.sendall((struct.pack(">i", len(request)) + request) * 3)
            sockets.append(client)
        slowest = 0
        with wire.Connection(broker.port) as connection:
            for number in range(PRODUCES):
                begin = time.monotonic()
                error, offset = wire.produce(connection, "other", 0, wire.record_batch([b"%d" % number], now()))
                slowest = max(slowest, time.monotonic() - begin)
                same((error, offset), (0, number), "error and offset beside stalled consumers")
            begin = time.monotonic()
            # Where the others took all memory there is, they are cut off after ten seconds.
            until(lambda: read(connection), lambda: "a reader that reads gets something", 60)
            waited = time.monotonic() - begin
        peak = broker.memory("VmHWM")
        print(f"     {PRODUCES} produces beside them, the slowest in {slowest * 1000:.0f} ms; a reader waited for {waited:.1f} s; "
              f"{peak >> 20} MiB at most of a budget of {BUDGET >> 20}")
        if peak > BUDGET + BESIDE:
            raise AssertionError(f"{peak >> 20} MiB of memory")
        for client in sockets:
            client.close()
        same(broker.stop(), 0, "exit code of a clean stop")
    except Exception:
        print(f"the broker's log ends:\n{broker.tail()}")
        raise
    finally:
        broker.close()


def read(connection):
    error, high_watermark, batches = wire.fetch(connection, "other", 0, 0)
    same((error, high_watermark), (0, PRODUCES), "error and high watermark of a reader that reads")
    return batches


def now():
    return int(time.time() * 1000)


if __name__ == "__main__":
    main()
