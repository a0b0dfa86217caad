"""Raw Kafka frames over a socket: enough to say what no client says, and to see the bytes that clients hide.

Only old, non-flexible versions are spoken (ApiVersions 0, Produce 7 and 8, Fetch 4, Metadata 1, AlterClientQuotas 0): the broker serves them all.
Sources: the Kafka protocol guide; KIP-98 for the v2 record batch.
"""

import socket
import struct

import crc32c

PRODUCE, FETCH, METADATA, API_VERSIONS, ALTER_CLIENT_QUOTAS = 0, 1, 3, 18, 49
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER = struct.Struct(">qiibIhiqqqhii")  # base offset ... record count: 61 bytes


class Batch:
    """The header of one stored v2 record batch, and its bytes."""

    def __init__(self, data):
        (self.base_offset, self.length, self.leader_epoch, self.magic, self.crc, self.attributes,
         self.last_delta, self.base_timestamp, self.max_timestamp, self.producer_id, self.producer_epoch,
         self.base_sequence, self.count) = HEADER.unpack_from(data)
        self.bytes = data

    codec = property(lambda self: self.attributes & 7)
    control = property(lambda self: bool(self.attributes & 0x20))
    last_offset = property(lambda self: self.base_offset + self.last_delta)

    def crc_holds(self):
        return self.crc == crc32c.crc32c(self.bytes[21:])


class Connection:
    """One TCP connection; `call` sends a request and returns the body of its response."""

    def __init__(self, port, timeout=30.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def send(self, frame):
        """A frame without its length prefix."""
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self):
        """The next frame; None when the broker closed the connection."""
        head = self._exactly(4)
        return None if head is None else self._exactly(struct.unpack(">i", head)[0])

    def call(self, key, version, body, correlation=None):
        self.correlation = self.correlation + 1 if correlation is None else correlation
        self.send(request_header(key, version, self.correlation) + body)
        frame = self.receive()
        if frame is None:
            raise ConnectionError(f"the broker closed the connection on API {key} version {version}")
        if struct.unpack_from(">i", frame)[0] != self.correlation:
            raise AssertionError(f"correlation id {frame[:4].hex()} is not {self.correlation}")
        return frame[4:]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(min(count - len(data), 1 << 20))
            if not part:
                return None
            data += part
        return bytes(data)


def request_header(key, version, correlation, client="wire"):
    """Request header version 1; version 2 adds an empty tagged-field section, see `flexible_header`."""
    return struct.pack(">hhi", key, version, correlation) + string(client)


def flexible_header(key, version, correlation, client="wire"):
    return request_header(key, version, correlation, client) + b"\0"


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def nullable_string(data, at):
    """(the string that stands there, or None; where it ends)"""
    length = struct.unpack_from(">h", data, at)[0]
    if length < 0:
        return None, at + 2
    return data[at + 2:at + 2 + length].decode(), at + 2 + length


def api_versions(connection):
    """{key: (lowest, highest)} as the broker advertises them."""
    body = connection.call(API_VERSIONS, 0, b"")
    error, count = struct.unpack_from(">hi", body)
    if error:
        raise AssertionError(f"ApiVersions answered error {error}")
    rows = struct.iter_unpack(">hhh", body[6:6 + 6 * count])
    return {key: (low, high) for key, low, high in rows}


def varint(number):
    """Zigzag, as the fields of a record."""
    return unsigned_varint((number << 1) ^ (number >> 63))


def unsigned_varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def record_batch(values, timestamp, producer=(-1, -1, -1)):
    """One uncompressed v2 batch of records without keys."""
    records = b""
    for delta, value in enumerate(values):
        record = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(record)) + record
    pid, epoch, sequence = producer
    checked = struct.pack(">hiqqqhii", 0, len(values) - 1, timestamp, timestamp, pid, epoch, sequence,
                          len(values)) + records
    head = struct.pack(">ibI", 0, 2, crc32c.crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def produce_body(topic, partition, batch, acks=-1, timeout_ms=30000):
    """Produce version 7."""
    return (struct.pack(">hhii", -1, acks, timeout_ms, 1) + string(topic)
            + struct.pack(">iii", 1, partition, len(batch)) + batch)


def produce(connection, topic, partition, batch, acks=-1, correlation=None):
    """Returns (error code, base offset)."""
    body = connection.call(PRODUCE, 7, produce_body(topic, partition, batch, acks), correlation)
    at = 4 + 2 + len(topic.encode()) + 4 + 4
    return struct.unpack_from(">hq", body, at)


def produce_told(connection, topic, partition, batch):
    """Produce version 8: returns (error code, what the broker says of it, or None)."""
    body = connection.call(PRODUCE, 8, produce_body(topic, partition, batch))
    at = 4 + 2 + len(topic.encode()) + 4 + 4
    error, records = struct.unpack_from(">h", body, at)[0], struct.unpack_from(">i", body, at + 26)[0]
    at += 30
    said = []
    for _ in range(max(records, 0)):
        text, at = nullable_string(body, at + 4)
        said.append(text)
    said.append(nullable_string(body, at)[0])
    return error, next((text for text in said if text is not None), None)


def fetch(connection, topic, partition, offset, max_wait_ms=500, min_bytes=1, max_bytes=1 << 24):
    """Fetch version 4: returns (error code, high watermark, [Batch])."""
    body = connection.call(FETCH, 4, struct.pack(">iiiib", -1, max_wait_ms, min_bytes, max_bytes, 0)
                           + struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, partition, offset, max_bytes))
    at = 4 + 4 + 2 + len(topic.encode()) + 4
    _, error, high_watermark, _, aborted = struct.unpack_from(">ihqqi", body, at)
    at += 26 + max(aborted, 0) * 16
    size = struct.unpack_from(">i", body, at)[0]
    return error, high_watermark, split(body[at + 4:at + 4 + max(size, 0)])


def set_quota(connection, client_id, key, value):
    """Gives a client id a quota; None takes it away."""
    entity = struct.pack(">i", 1) + string("client-id") + string(client_id)
    change = struct.pack(">i", 1) + string(key) + struct.pack(">d?", value or 0.0, value is None)
    body = connection.call(ALTER_CLIENT_QUOTAS, 0, struct.pack(">i", 1) + entity + change + b"\0")
    _, count, error = struct.unpack_from(">iih", body)
    if (count, error) != (1, 0):
        raise AssertionError(f"AlterClientQuotas answered {count} entries, error {error}: {body[10:]}")


def split(data):
    """The whole batches of a record set; a partial last one is left out."""
    batches = []
    while len(data) >= 61:
        size = 12 + struct.unpack_from(">i", data, 8)[0]
        if len(data) < size:
            break
        batches.append(Batch(data[:size]))
        data = data[size:]
    return batches
