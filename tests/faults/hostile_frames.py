"""Hostile bytes to every API and version that ApiVersions tells: the broker answers or closes, and its memory stays bounded.

Tiny frames claim arrays of 2^31-1; frames at the cap carry honest counts; frames are cut short; length prefixes lie.
The broker's peak memory must stay within twice the frame cap over what it used before, and a normal client must still work.
"""

import struct
import sys

from common import create, read_all
from confluent_kafka import Producer
from harness import wire
from harness.broker import Broker
from harness.report import Report, same

FRAME_CAP = 100 << 20  # socket.request.max.bytes
# All but Produce are small by nature, and the broker takes no more of them in one frame.
SMALL_CAP = 1 << 20
SERVED = {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 32, 33, 37, 44, 60}
HUGE = struct.pack(">i", 2**31 - 1)
HUGE_COMPACT = wire.unsigned_varint(2**31)  # compact arrays carry their length plus one
# Requests that may rightly wait, or that with acks=0 have no answer.
MAY_WAIT = {wire.PRODUCE, wire.FETCH, 11, 14}
STR = wire.string
# How each API goes on to its first array at its lowest version, and one small element of it; (b"", b"\0\0"), an array
# of empty strings at once, where nothing else is said. Compact forms, for the highest version, follow below.
SHAPES = {
    0: (struct.pack(">hhi", -1, -1, 1000), STR("t") + b"\0\0\0\0"),
    1: (struct.pack(">iiiib", -1, 0, 0, 1 << 20, 0), STR("t") + b"\0\0\0\0"),
    2: (struct.pack(">i", -1), STR("t") + b"\0\0\0\0"),
    8: (STR("g") + struct.pack(">i", -1) + STR("") + struct.pack(">q", -1), STR("t") + b"\0\0\0\0"),
    9: (STR("g"), STR("t") + b"\0\0\0\0"),
    11: (STR("g") + struct.pack(">i", 10000) + STR("") + STR("consumer"), STR("p") + b"\0\0\0\0"),
    14: (STR("g") + struct.pack(">i", 1) + STR("m"), STR("m") + b"\0\0\0\0"),
    19: (b"", STR("") + struct.pack(">ihii", 1, 1, 0, 0)),
    32: (b"", b"\x02" + STR("t") + struct.pack(">i", -1)),
    33: (b"", b"\x02" + STR("t") + struct.pack(">i", 0)),
    44: (b"", b"\x02" + STR("t") + struct.pack(">i", 0)),
    37: (b"", STR("t") + struct.pack(">ii", 2, -1)),
}
COMPACT = {
    3: (b"", bytes(16) + b"\x01\0"),
    10: (b"\0", b"\x01"),
    15: (b"", b"\x01"),
    16: (b"", b"\x01"),
    20: (b"", b"\x01" + bytes(16) + b"\0"),
    42: (b"", b"\x01"),
}


class Hostile:
    def __init__(self, broker):
        self.broker = broker
        self.connection = None
        self.sent = self.answered = self.closed = self.waiting = 0

    def send(self, frame, may_wait, patience=10.0):
        """Sends one frame on the open connection or a new one; the broker must answer, close, or rightly wait."""
        self.sent += 1
        try:
            if self.connection is None:
                self.connection = wire.Connection(self.broker.port)
            self.connection.socket.settimeout(60)
            self.connection.send(frame)
            self.connection.socket.settimeout(0.02 if may_wait else patience)
            if self.connection.receive() is not None:
                self.answered += 1
                return
            self.closed += 1
        except TimeoutError:
            if not may_wait:
                self.drop()
                raise TimeoutError(f"no answer in {patience} s to API {frame[:4].hex()}, {len(frame)} bytes: "
                                   f"{frame[:48].hex()}")
            self.waiting += 1
        except OSError:
            self.closed += 1
        self.drop()
        if not self.broker.alive():
            raise RuntimeError(f"the broker died of {frame[:64].hex()}")

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def main():
    report = Report("hostile frames")
    with Broker("hostile-frames", {"socket.request.max.bytes": str(FRAME_CAP)}) as broker:
        create(broker.bootstrap, "t")  # what the frames name
        create(broker.bootstrap, "normal")
        with report.case("a normal client before"):
            works(broker, 100)
        with wire.Connection(broker.port) as connection:
            apis = wire.api_versions(connection)
        same(SERVED - apis.keys(), set(), "APIs that ApiVersions leaves out")
        broker.reset_peak()
        baseline = broker.memory()
        hostile = Hostile(broker)
        with report.case("lengths of 2^31-1 in tiny frames, every API and version"):
            for key, version in every(apis):
                for body in tiny_bodies():
                    for header in (wire.request_header, wire.flexible_header):
                        hostile.send(header(key, version, 1) + body, key in MAY_WAIT)
        bounded(report, broker, baseline, "after the tiny frames")
        with report.case("requests cut short at every byte"):
            for key, version in every(apis):
                body = honest(3, *SHAPES.get(key, (b"", b"\0\0")))
                for cut in range(min(len(body), 40)):
                    hostile.send(wire.request_header(key, version, 1) + body[:cut], key in MAY_WAIT)
            for cut in range(10):
                hostile.send(wire.request_header(3, 1, 1)[:cut], False)
        with report.case("frames that end before their length"):
            for _ in range(50):
                with wire.Connection(broker.port) as connection:
                    connection.socket.sendall(struct.pack(">i", FRAME_CAP) + wire.request_header(3, 1, 1) + b"\0")
        with report.case("length prefixes over the cap and below zero"):
            for prefix in (FRAME_CAP + 1, 2**31 - 1, -1, -2**31):
                refused_prefix(broker, prefix)
        with report.case("unknown APIs and versions"):
            for key, version in ((-1, 0), (9999, 0), (32767, 32767), (3, 999), (0, -1), (18, 999)):
                hostile.send(wire.request_header(key, version, 1) + bytes(64), key == 0)
        bounded(report, broker, baseline, "after the broken frames")
        for cap, label in ((SMALL_CAP, "1 MiB"), (FRAME_CAP, "the cap")):
            with report.case(f"frames of {label} with honest counts, every API and version"):
                for key, version in every(apis):
                    if cap == SMALL_CAP or version == max(apis[key][0], 3 if key == 0 else 0) or version == apis[key][1]:
                        for frame in full_frames(key, version, cap):
                            hostile.send(frame, key in MAY_WAIT - {wire.PRODUCE}, patience=60)
                            del frame
        bounded(report, broker, baseline, "after the full frames")
        hostile.drop()
        print(f"     {hostile.sent} frames: {hostile.answered} answered, {hostile.closed} closed, "
              f"{hostile.waiting} left waiting")
        with report.case("a normal client after"):
            works(broker, 200)
        with report.case("the broker stops cleanly"):
            same(broker.starts, 1, "starts")
            same(broker.stop(), 0, "exit code")
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    sys.exit(report.finish())


def every(apis):
    for key, (low, high) in sorted(apis.items()):
        for version in range(low, high + 1):
            yield key, version


def tiny_bodies():
    """An array's length cannot be placed without a schema, so it is tried at every likely distance from the header."""
    for lead in range(0, 25):
        yield bytes(lead) + HUGE + bytes(12)
        yield bytes(lead) + HUGE_COMPACT + bytes(12)
    for lead in range(0, 6):
        yield STR("g") + bytes(lead) + HUGE + HUGE
        yield b"\x02g" + bytes(lead) + HUGE_COMPACT + HUGE_COMPACT
        yield b"\x01" * lead + HUGE_COMPACT * 3
    yield HUGE * 8
    yield HUGE_COMPACT * 8
    yield b"\xff" * 64


def honest(count, prefix, element):
    return prefix + struct.pack(">i", count) + element * count


def full_frames(key, version, cap):
    """Frames of `cap` bytes: one in the plain form of old versions, one in the compact form of new ones."""
    head = wire.request_header(key, version, 1)
    prefix, element = SHAPES.get(key, (b"", b"\0\0"))
    yield head + honest((cap - len(head) - len(prefix) - 4) // len(element), prefix, element)
    head = wire.flexible_header(key, version, 1)
    prefix, element = COMPACT.get(key, (b"", b"\x01\0"))
    count = (cap - len(head) - len(prefix) - 5) // len(element)
    yield head + prefix + wire.unsigned_varint(count + 1) + element * count


def refused_prefix(broker, prefix):
    with wire.Connection(broker.port, timeout=10) as connection:
        try:
            connection.socket.sendall(struct.pack(">i", prefix) + wire.request_header(3, 1, 1))
            same(connection.socket.recv(1), b"", f"answer to a frame of {prefix} bytes")
        except ConnectionResetError:
            pass


def bounded(report, broker, baseline, when):
    peak = broker.memory("VmHWM")
    limit = baseline + 2 * FRAME_CAP
    report.check(f"peak memory {when}: {peak >> 20} MiB, at most {baseline >> 20} + 2 x {FRAME_CAP >> 20}",
                 peak <= limit, f"{peak} > {limit}")


def works(broker, total):
    """100 more records are written, and all `total` are read."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "enable.idempotence": True})
    told = []
    for number in range(100):
        producer.produce("normal", b"%d" % number, on_delivery=lambda error, _: told.append(error))
    producer.flush(20)
    same(told, [None] * 100, "answers")
    same(len(read_all(broker.bootstrap, "normal", 0)), total, "records read")


if __name__ == "__main__":
    main()
