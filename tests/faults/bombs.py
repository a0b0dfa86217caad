"""Decompression bombs in every codec: batches whose records expand to a gigabyte, sent to a topic where they are opened.

Each is refused with MESSAGE_TOO_LARGE and a sentence, within seconds and within a few times what a batch may decompress
to; the same bytes are stored where nobody opens them. Small frames that would cost much time are refused or answered too.
The frames are made by hand, so that a bomb is one frame and not many that were joined.
"""

import struct
import sys
import time
import zlib

import crc32c
from common import MATCH, create, read_all
from confluent_kafka import Producer
from harness import wire
from harness.broker import Broker
from harness.report import Report, same

GIB = 1 << 30
MOST_DECODED = 16 << 20  # tidegate.max.decoded.bytes
FRAME_CAP = 100 << 20
MESSAGE_TOO_LARGE = 10
# What a decoder may keep beside its output, whatever the limit; see record/src/compression.rs.
DECODER = 16 << 20


def main():
    report = Report("bombs")
    configs = {"tidegate.max.decoded.bytes": str(MOST_DECODED), "socket.request.max.bytes": str(FRAME_CAP)}
    with Broker("bombs", configs) as broker:
        broker.push("match")
        large = {"max.message.bytes": str(FRAME_CAP)}
        create(broker.bootstrap, "chained", 1, {**large, **MATCH, "tidegate.produce.chain": "match"})
        create(broker.bootstrap, "recoded", 1, {**large, "compression.type": "uncompressed"})
        create(broker.bootstrap, "plain", 1, large)
        with report.case("a normal client before"):
            works(broker, 10)
        for codec, payload in bombs():
            batch = batch_of(codec, payload)
            for topic in ("chained", "recoded"):
                with report.case(f"{codec}: {len(payload) >> 10} KiB that are 1 GiB, to a topic that is {topic}"):
                    refused(broker, topic, batch)
            with report.case(f"{codec}: the same bytes, to a topic where nobody opens them"):
                with wire.Connection(broker.port) as connection:
                    same(wire.produce(connection, "plain", 0, batch)[0], 0, "error code")
            del batch
        for name, codec, payload in slow_ones():
            with report.case(f"{name}: {len(payload) >> 10} KiB are looked through in time"):
                started = time.monotonic()
                with wire.Connection(broker.port) as connection:
                    code, _ = wire.produce_told(connection, "chained", 0, batch_of(codec, payload))
                same(code != 0, True, "refused")
                took = time.monotonic() - started
                same(took < 5, True, f"{took:.1f} s within 5 s")
        with report.case("a normal client after"):
            works(broker, 20)
        with report.case("the broker stops cleanly"):
            same(broker.starts, 1, "starts")
            same(broker.stop(), 0, "exit code")
    sys.exit(report.finish())


def refused(broker, topic, batch):
    broker.reset_peak()
    before = broker.memory()
    started = time.monotonic()
    with wire.Connection(broker.port, timeout=60) as connection:
        code, said = wire.produce_told(connection, topic, 0, batch)
    took = time.monotonic() - started
    same(code, MESSAGE_TOO_LARGE, f"error code, with `{said}`")
    same(str(MOST_DECODED) in (said or ""), True, f"the limit is named in `{said}`")
    same(took < 10, True, f"{took:.1f} s within 10 s")
    # The frame, once as it arrives in parts; then the output, which is copied when it grows.
    bound = 2 * len(batch) + 3 * MOST_DECODED + DECODER
    more = broker.memory("VmHWM") - before
    same(more <= bound, True, f"{more >> 20} MiB more within {bound >> 20}")


def works(broker, total):
    """10 more records are written, and all `total` that the filter keeps are read."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "compression.type": "zstd"})
    told = []
    for number in range(10):
        producer.produce("chained", b"keep %d" % number, on_delivery=lambda error, _: told.append(error))
    producer.flush(20)
    same(told, [None] * 10, "answers")
    same(len(read_all(broker.bootstrap, "chained", 0)), total, "records read")


def bombs():
    """(codec, bytes that decompress to a gigabyte of zeros)"""
    yield "gzip", gzip_of(GIB)
    yield "snappy", snappy_block(GIB)
    yield "snappy", XERIAL + (struct.pack(">I", len(SNAPPY_MIB)) + SNAPPY_MIB) * 1024
    yield "lz4", lz4_frame(lz4_block(4 << 20), 256)
    yield "zstd", zstd_frame(GIB)


def slow_ones():
    """(name, codec, bytes of a mebibyte that hold next to nothing): many small parts, each of which costs something."""
    empty_gzip = zlib_member(b"")
    yield "gzip members of nothing", "gzip", empty_gzip * ((1 << 20) // len(empty_gzip))
    yield "lz4 frames of nothing", "lz4", lz4_frame(b"", 0) * ((1 << 20) // 11)
    yield "lz4 blocks of one byte", "lz4", lz4_frame(b"\x10x", (1 << 20) // 6)
    yield "snappy blocks of nothing", "snappy", XERIAL + b"\0\0\0\x01\0" * ((1 << 20) // 5)
    empty_zstd = zstd_frame(0)
    yield "zstd frames of nothing", "zstd", empty_zstd * ((1 << 20) // len(empty_zstd))


def batch_of(codec, payload):
    """A batch that claims one record and carries `payload` in place of the compressed records."""
    checked = struct.pack(">hiqqqhii", wire.CODECS[codec], 0, 1, 1, -1, -1, -1, 1) + payload
    head = struct.pack(">ibI", 0, 2, crc32c.crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def gzip_of(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(size >> 20)) + packer.flush()


def zlib_member(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def snappy_block(size):
    """Its length, one literal zero, then copies of 64 bytes from one byte back."""
    copies, rest = divmod(size - 1, 64)
    copy = lambda length: bytes([(length - 1) << 2 | 2]) + b"\x01\0"
    return wire.unsigned_varint(size) + b"\0\0" + copy(64) * copies + (copy(rest) if rest else b"")


XERIAL = b"\x82SNAPPY\0" + struct.pack(">II", 1, 1)
SNAPPY_MIB = snappy_block(1 << 20)


def lz4_block(size):
    """One literal zero, a match of all but the last five bytes from one byte back, and these as literals."""
    match = size - 1 - 5 - 4
    tail = b"\x50" + bytes(5)
    return b"\x1f\0\x01\0" + b"\xff" * ((match - 15) // 255) + bytes([(match - 15) % 255]) + tail


def lz4_frame(block, count):
    """Version 1, independent blocks of at most 4 MiB, no checksums but the header's: the second byte of its xxHash32."""
    head = b"\x60\x70"
    return (b"\x04\x22\x4d\x18" + head + LZ4_HEADER_CHECKSUM + (struct.pack("<I", len(block)) + block) * count
            + b"\0\0\0\0")


def xxhash32_short(data):
    """xxHash32 of less than four bytes, seed 0."""
    mask = 0xFFFFFFFF
    hashed = 374761393 + len(data)
    for byte in data:
        hashed = (hashed + byte * 374761393) & mask
        hashed = ((hashed << 11 | hashed >> 21) & mask) * 2654435761 & mask
    hashed = (hashed ^ hashed >> 15) * 2246822519 & mask
    hashed = (hashed ^ hashed >> 13) * 3266489917 & mask
    return hashed ^ hashed >> 16


LZ4_HEADER_CHECKSUM = bytes([xxhash32_short(b"\x60\x70") >> 8 & 0xFF])


def zstd_frame(size):
    """A window of 1 MiB, then blocks of 128 KiB that repeat one byte, in four bytes each (RFC 8878)."""
    block = 128 << 10
    whole, rest = divmod(size, block)
    lengths = [block] * whole + [rest]
    frame = b"\x28\xb5\x2f\xfd\0\x50"
    for at, length in enumerate(lengths):
        last = at == len(lengths) - 1
        header = struct.pack("<I", length << 3 | (1 << 1 if length else 0) | last)[:3]
        frame += header + (b"\0" if length else b"")
    return frame


if __name__ == "__main__":
    main()
