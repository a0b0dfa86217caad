"""What a Tidegate plugin in Python is written against: one function for a record over the columns of a batch.

    import tidegate

    @tidegate.filter("only-errors", "0.1.0", summary="Keeps what is an error.", columns=["value"])
    class OnlyErrors:
        def filter(self, record):
            return record.value is not None and record.value.startswith(b"ERROR")

The decorated class is made once for each instance of the plugin, with the binding's configuration if it takes keys
(`config=`). What it raises there is told to whoever binds the plugin, and what it raises for a record or a batch is the
error of the batch. All there is outside the plugin's own memory is `log`, `count` and the configuration: no clock, no
files, no network, and `random` gives the same numbers in every run.
"""

import json as _json
import sys as _sys
from itertools import repeat as _repeat

import wit_world as _wit
from componentize_py_types import Err as _Err
from wit_world.imports import host as _host
from wit_world.imports import types as _types

KEEP = True
"""The record stays."""
DROP = False
"""Acknowledged, and not stored (or not delivered)."""

BY_KEY = -1
"""Route to the partition that Kafka's clients would choose for the key."""
SAME_PARTITION = -2


class Reject:
    """The verdict that fails the produce request, with a sentence for whoever sent the record."""

    __slots__ = ("reason",)

    def __init__(self, reason):
        self.reason = str(reason)


class Log:
    """Rate-limited by the host: what is over the limit is counted, not kept."""

    def trace(self, message):
        _host.log(_host.Level.TRACE, str(message))

    def debug(self, message):
        _host.log(_host.Level.DEBUG, str(message))

    def info(self, message):
        _host.log(_host.Level.INFO, str(message))

    def warn(self, message):
        _host.log(_host.Level.WARN, str(message))

    def error(self, message):
        _host.log(_host.Level.ERROR, str(message))


log = Log()


def count(name, delta=1):
    """Adds to a counter of this plugin, shown in the broker's metrics."""
    _host.counter(name, delta)


def narrow(columns):
    """In `__init__`: with this configuration no more than these columns are needed."""
    _host.narrow(_columns(columns))


def text(name, **more):
    """A configuration key; `more` is of default, required, doc (one sentence) and secret."""
    return _key(name, _types.ConfigType.TEXT, **more)


def integer(name, **more):
    return _key(name, _types.ConfigType.INTEGER, **more)


def floating(name, **more):
    return _key(name, _types.ConfigType.FLOAT, **more)


def boolean(name, **more):
    return _key(name, _types.ConfigType.BOOLEAN, **more)


class Column:
    """Optional byte strings that lie one behind the other. `column[i]` is bytes or None."""

    __slots__ = ("offsets", "data", "nulls")

    def __init__(self, raw):
        self.offsets, self.data, self.nulls = raw.offsets, raw.data, raw.nulls

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, index):
        if self.nulls and self.nulls[index >> 3] >> (index & 7) & 1:
            return None
        return self.data[self.offsets[index]:self.offsets[index + 1]]

    def __iter__(self):
        """All entries; much faster than asking for one after the other."""
        data, ends = self.data, iter(self.offsets)
        start = next(ends)
        if not self.nulls:
            for end in ends:
                yield data[start:end]
                start = end
            return
        for index, end in enumerate(ends):
            yield None if self.nulls[index >> 3] >> (index & 7) & 1 else data[start:end]
            start = end


class Batch:
    """Records of one partition, in order. Has the columns that the plugin asked for; the others are None."""

    def __init__(self, raw):
        self.count = raw.count
        self.topic, self.partition = raw.context.topic, raw.context.partition
        self.alias = raw.context.alias
        self.append_time_ms = raw.context.append_time
        self.base_offset = raw.context.base_offset
        self.offset_deltas = raw.offset_deltas
        self.timestamps_ms = raw.timestamps
        self.keys = Column(raw.keys) if raw.keys else None
        self.values = Column(raw.values) if raw.values else None
        self.header_offsets = raw.headers.offsets if raw.headers else None
        self.header_keys = Column(raw.headers.keys) if raw.headers else None
        self.header_values = Column(raw.headers.values) if raw.headers else None

    def __len__(self):
        return self.count

    def __iter__(self):
        keys, values = self.keys or _repeat(None), self.values or _repeat(None)
        # Neither `repeat` ever ends; the range does.
        for index, key, value in zip(range(self.count), keys, values):
            yield Record(self, index, key, value)


class Record:
    """One record. What the plugin's columns do not name is None."""

    __slots__ = ("batch", "index", "key", "value")

    def __init__(self, batch, index, key, value):
        self.batch, self.index, self.key, self.value = batch, index, key, value

    @property
    def timestamp_ms(self):
        """Milliseconds since the Unix epoch."""
        return self.batch.timestamps_ms[self.index] if self.batch.timestamps_ms else None

    @property
    def headers(self):
        """[(name, value)] as bytes, in the order in which they were produced; a value may be None."""
        batch, index = self.batch, self.index
        if batch.header_offsets is None:
            return []
        entries = range(batch.header_offsets[index], batch.header_offsets[index + 1])
        return [(batch.header_keys[at], batch.header_values[at]) for at in entries]

    def header(self, name):
        """The bytes of the last header of this name, as Kafka's lastHeader has it."""
        name = name.encode() if isinstance(name, str) else name
        return next((value for key, value in reversed(self.headers) if key == name), None)

    def json(self):
        """The value as JSON; None if it is none, which JSON's null is too."""
        if self.value is None:
            return None
        try:
            return _json.loads(self.value)
        except ValueError:
            return None


class Verdicts:
    """The verdicts of one batch. All are kept to begin with."""

    def __init__(self, count):
        self.count = count
        self.codes = b""
        self.reasons = []

    def set(self, index, verdict):
        if verdict is True:
            if self.codes:
                self.codes[index] = 0
            return
        # Stays empty, which means that all are kept, for as long as that is so.
        if not self.codes:
            self.codes = bytearray(self.count)
        if verdict is False:
            self.codes[index] = 1
        elif isinstance(verdict, Reject):
            self.codes[index] = 2
            self.reasons.append((index, verdict.reason))
        else:
            raise TypeError(f"a verdict is KEEP, DROP or Reject(...), not {verdict!r}")


def filter(name, version, **more):
    """Makes a filter of a class with `filter(self, record)`, which gives KEEP, DROP or Reject(reason); or with
    `filter_batch(self, batch, verdicts)`, which judges a batch at once."""

    def decorate(plugin):
        class WitWorld(_world(plugin, name, version, **more)):
            def filter(self, raw):
                batch = Batch(raw)
                verdicts = Verdicts(batch.count)
                with _Sentences():
                    _judge(self.plugin, "filter", batch, verdicts)
                return _types.Verdicts(bytes(verdicts.codes), verdicts.reasons)

        return _export(plugin, WitWorld)

    return decorate


def router(name, version, **more):
    """Makes a router of a class with `targets(self)`, a list of topics or `prefix-*`, and `route(self, record, send)`:
    `send(topic, partition=BY_KEY)` sends the record there too. What it gives back says whether the record stays here:
    KEEP (or None), DROP or Reject(reason)."""

    def decorate(plugin):
        class WitWorld(_world(plugin, name, version, **more)):
            def targets(self):
                with _Sentences():
                    return list(self.plugin.targets())

            def route(self, raw):
                batch = Batch(raw)
                verdicts = Verdicts(batch.count)
                routes = _types.Routes(b"", verdicts.reasons, [], [], [], [])
                with _Sentences():
                    for record in batch:
                        def send(topic, partition=BY_KEY, index=record.index):
                            if topic not in routes.topics:
                                routes.topics.append(topic)
                            routes.records.append(index)
                            routes.targets.append(routes.topics.index(topic))
                            routes.partitions.append(partition)

                        stays = self.plugin.route(record, send)
                        verdicts.set(record.index, KEEP if stays is None else stays)
                routes.codes = bytes(verdicts.codes)
                return routes

        return _export(plugin, WitWorld)

    return decorate


class Edit:
    """What to replace in a record; what is not named stays. Bytes, text or None; headers as [(name, value)]."""

    def __init__(self, **parts):
        unknown = parts.keys() - {"key", "value", "headers", "timestamp_ms"}
        if unknown:
            raise TypeError(f"a record has no {', '.join(sorted(unknown))}")
        self.parts = parts


def transform(name, version, *, writes, **more):
    """Makes a transform of a class with `apply(self, record)`, which gives KEEP (or None), DROP, Reject(reason) or
    Edit(value=...). `writes` names the columns that edits may name."""

    def decorate(plugin):
        class WitWorld(_world(plugin, name, version, writes=writes, **more)):
            def apply(self, raw):
                batch = Batch(raw)
                verdicts = Verdicts(batch.count)
                rows = {"key": [], "value": [], "headers": [], "timestamp_ms": []}
                parts = {"key": [], "value": [], "headers": [], "timestamp_ms": []}
                with _Sentences():
                    for record in batch:
                        said = self.plugin.apply(record)
                        if not isinstance(said, Edit):
                            verdicts.set(record.index, KEEP if said is None else said)
                            continue
                        for part, value in said.parts.items():
                            rows[part].append(record.index)
                            parts[part].append(value)
                    return _types.Edits(
                        bytes(verdicts.codes), verdicts.reasons,
                        *(_types.BytesEdit(rows[part], _column(parts[part])) if rows[part] else None
                          for part in ("key", "value")),
                        _types.HeadersEdit(rows["headers"], _headers(parts["headers"])) if rows["headers"] else None,
                        _types.TimestampsEdit(rows["timestamp_ms"], parts["timestamp_ms"])
                        if rows["timestamp_ms"] else None)

        return _export(plugin, WitWorld)

    return decorate


def _judge(plugin, method, batch, verdicts):
    whole = getattr(plugin, f"{method}_batch", None)
    if whole:
        whole(batch, verdicts)
        return
    one, take = getattr(plugin, method), verdicts.set
    for record in batch:
        take(record.index, one(record))


def _world(plugin, name, version, *, summary="", columns=(), config=(), state="none", writes=()):
    """What all worlds export."""

    class World:
        def describe(self):
            return _types.Description(name, version, summary, _columns(columns), _types.State[state.upper()],
                                      list(config), _columns(writes))

        def configure(self, pairs):
            with _Sentences():
                given = {key: _typed(config, key, value) for key, value in pairs}
                # One object for each instance; componentize-py makes a new one of the world for each call.
                World.plugin = plugin(given) if config else plugin()

    return World


def _export(plugin, world):
    """componentize-py looks for `WitWorld` in the plugin's module; the class itself stays what it was, for its tests."""
    _sys.modules[plugin.__module__].WitWorld = world
    return plugin


class _Sentences:
    """What is raised inside becomes the `err` of the call's result, which has to be a text."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if error is None or isinstance(error, _Err):
            return
        said = str(error) if kind in (ValueError, Refused) else f"{kind.__name__}: {error}"
        raise _Err(said)


class Refused(Exception):
    """Raised by a plugin that refuses its configuration; its text is shown as it is."""


def _key(name, kind, *, default=None, required=False, doc="", secret=False):
    if isinstance(default, bool):
        default = str(default).lower()
    return _types.ConfigKey(name, kind, required, None if default is None else str(default), doc, secret)


def _typed(keys, name, value):
    kind = next((key.kind for key in keys if key.name == name), None)
    if kind == _types.ConfigType.INTEGER:
        return int(value)
    if kind == _types.ConfigType.FLOAT:
        return float(value)
    if kind == _types.ConfigType.BOOLEAN:
        return value == "true"
    return value


def _columns(names):
    flags = _types.Columns(0)
    for name in names:
        flags |= _types.Columns[name.upper()]
    return flags


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def _column(entries):
    offsets, nulls = [0], bytearray((len(entries) + 7) // 8)
    for index, entry in enumerate(entries):
        offsets.append(offsets[-1] + len(_bytes(entry)))
        if entry is None:
            nulls[index >> 3] |= 1 << (index & 7)
    return _types.BytesColumn(offsets, b"".join(map(_bytes, entries)), bytes(nulls))


def _headers(records):
    offsets, pairs = [0], []
    for headers in records:
        pairs.extend(headers)
        offsets.append(len(pairs))
    return _types.HeadersColumn(offsets, _column([name for name, _ in pairs]), _column([value for _, value in pairs]))
