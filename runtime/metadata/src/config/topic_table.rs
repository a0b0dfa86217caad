//! Every topic config, with Kafka 4.1's types and defaults, and Tidegate's own.

use super::{Check, ConfigDef, ConfigType, ERROR_POLICIES, REJECT_POLICIES, Synonym};

const LONG_MAX: &str = "9223372036854775807";
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

const COMPRESSION_TYPES: &[&str] = &[
    "producer",
    "uncompressed",
    "none",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
];

pub fn topic_defs() -> &'static [ConfigDef] {
    DEFS
}

const fn same(name: &'static str) -> Synonym {
    Synonym { name, scale: 1 }
}

macro_rules! defs {
    ($($name:literal, $kind:ident, $default:expr, $check:expr, [$($synonym:expr),*], $doc:literal;)*) => {
        &[$(ConfigDef {
            name: $name,
            kind: ConfigType::$kind,
            default: $default,
            doc: $doc,
            check: $check,
            synonyms: &[$($synonym),*],
        }),*]
    };
}

static DEFS: &[ConfigDef] = defs![
    "cleanup.policy", List, "delete", Check::AnyOf(&["delete", "compact"]),
        [same("log.cleanup.policy")],
        "How old data goes: `delete` drops it by age and size, `compact` keeps the last record of each key. Both may be given.";
    "compression.gzip.level", Int, "-1", Check::Between(-1, 9), [same("compression.gzip.level")],
        "Level for gzip where the broker compresses, from 1 for fast to 9 for small; -1 is the codec's default.";
    "compression.lz4.level", Int, "9", Check::Between(1, 17), [same("compression.lz4.level")],
        "Accepted for Kafka's tools; the encoder of this broker has one level, the fast one.";
    "compression.type", String, "producer", Check::OneOf(COMPRESSION_TYPES), [same("compression.type")],
        "The codec batches are stored with; `producer` keeps what each producer chose, `uncompressed` stores none.";
    "compression.zstd.level", Int, "3", Check::Between(-131072, 22), [same("compression.zstd.level")],
        "Level for zstd where the broker compresses; negative ones are faster still.";
    "delete.retention.ms", Long, "86400000", Check::AtLeast(0), [same("log.cleaner.delete.retention.ms")],
        "How long a tombstone stays readable on a compacted topic, in milliseconds.";
    "file.delete.delay.ms", Long, "60000", Check::AtLeast(0), [same("log.segment.delete.delay.ms")],
        "Accepted for Kafka's tools; this store has no segment files to delete late.";
    "flush.messages", Long, LONG_MAX, Check::AtLeast(1), [same("log.flush.interval.messages")],
        "Records that may be written before a sync follows. With a value above 1 acks=all is answered after the write and readers see written records, so a power cut may take what no sync covered; without one (and without flush.ms) acks=all waits for the sync.";
    "flush.ms", Long, LONG_MAX, Check::AtLeast(0),
        [same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")],
        "How long a written record may wait for a sync, in milliseconds. With a value above 0 acks=all is answered after the write and readers see written records, so a power cut may take what no sync covered; without one (and without flush.messages) acks=all waits for the sync.";
    "follower.replication.throttled.replicas", List, "", Check::Any, [],
        "Accepted for Kafka's tools; one broker has no followers to throttle.";
    "index.interval.bytes", Int, "4096", Check::AtLeast(0), [same("log.index.interval.bytes")],
        "Accepted for Kafka's tools; this store indexes every batch.";
    "leader.replication.throttled.replicas", List, "", Check::Any, [],
        "Accepted for Kafka's tools; one broker has no followers to throttle.";
    "local.retention.bytes", Long, "-2", Check::AtLeast(-2), [same("log.local.retention.bytes")],
        "Accepted for Kafka's tools; without tiered storage everything that is kept is local.";
    "local.retention.ms", Long, "-2", Check::AtLeast(-2), [same("log.local.retention.ms")],
        "Accepted for Kafka's tools; without tiered storage everything that is kept is local.";
    "max.compaction.lag.ms", Long, LONG_MAX, Check::AtLeast(1), [same("log.cleaner.max.compaction.lag.ms")],
        "The longest a record may stay out of compaction, in milliseconds.";
    "max.message.bytes", Int, "1048588", Check::AtLeast(0), [same("message.max.bytes")],
        "The largest batch a producer may send, in bytes, after its compression.";
    "message.timestamp.after.max.ms", Long, "3600000", Check::AtLeast(0),
        [same("log.message.timestamp.after.max.ms")],
        "How far in the future a record's own timestamp may lie, in milliseconds; one beyond is refused with INVALID_TIMESTAMP. Not looked at where the broker gives the time.";
    "message.timestamp.before.max.ms", Long, LONG_MAX, Check::AtLeast(0),
        [same("log.message.timestamp.before.max.ms")],
        "How far in the past a record's own timestamp may lie, in milliseconds; one beyond is refused with INVALID_TIMESTAMP. Set, it costs opening every batch.";
    "message.timestamp.type", String, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"]),
        [same("log.message.timestamp.type")],
        "Whether records carry the time their producer gave or the time the broker appended them.";
    "min.cleanable.dirty.ratio", Double, "0.5", Check::Fraction, [same("log.cleaner.min.cleanable.ratio")],
        "The share of not yet compacted bytes above which a log is compacted.";
    "min.compaction.lag.ms", Long, "0", Check::AtLeast(0), [same("log.cleaner.min.compaction.lag.ms")],
        "The shortest time a record stays out of compaction, in milliseconds.";
    "min.insync.replicas", Int, "1", Check::AtLeast(1), [same("min.insync.replicas")],
        "How many replicas must be in sync for a produce with acks=all to be taken.";
    "preallocate", Boolean, "false", Check::Any, [same("log.preallocate")],
        "Accepted for Kafka's tools; this store has no files to preallocate.";
    "remote.log.copy.disable", Boolean, "false", Check::Any, [],
        "Accepted for Kafka's tools; there is no tiered storage to copy to.";
    "remote.log.delete.on.disable", Boolean, "false", Check::Any, [],
        "Accepted for Kafka's tools; there is no tiered storage to delete from.";
    "remote.storage.enable", Boolean, "false", Check::Off, [],
        "Tiered storage, which this broker does not have: it can only be false.";
    "retention.bytes", Long, "-1", Check::AtLeast(-1), [same("log.retention.bytes")],
        "The most bytes a partition keeps under cleanup.policy=delete; -1 keeps all.";
    "retention.ms", Long, "604800000", Check::AtLeast(-1),
        [same("log.retention.ms"), Synonym { name: "log.retention.minutes", scale: MINUTE_MS },
         Synonym { name: "log.retention.hours", scale: HOUR_MS }],
        "How long records are kept under cleanup.policy=delete, in milliseconds; -1 keeps them for ever.";
    "segment.bytes", Int, "1073741824", Check::AtLeast(14), [same("log.segment.bytes")],
        "Accepted for Kafka's tools; this store has no segments: retention and compaction go by batch.";
    "segment.index.bytes", Int, "10485760", Check::AtLeast(4), [same("log.index.size.max.bytes")],
        "Accepted for Kafka's tools; this store has no index files.";
    "segment.jitter.ms", Long, "0", Check::AtLeast(0),
        [same("log.roll.jitter.ms"), Synonym { name: "log.roll.jitter.hours", scale: HOUR_MS }],
        "Accepted for Kafka's tools; this store does not roll segments.";
    "segment.ms", Long, "604800000", Check::AtLeast(1),
        [same("log.roll.ms"), Synonym { name: "log.roll.hours", scale: HOUR_MS }],
        "Accepted for Kafka's tools; this store has no segments: what is written may be compacted or deleted as soon as the other configs say so.";
    "tidegate.compaction.rewrite.keys", Boolean, "false", Check::Any, [same("tidegate.compaction.rewrite.keys")],
        "Whether a transform that replaces keys may stand in the produce chain of a compacted topic: what is compacted is then what it made of the keys.";
    "tidegate.compaction.tombstones", String, "bypass", Check::OneOf(&["bypass", "filter"]), [same("tidegate.compaction.tombstones")],
        "Whether records without a value pass by the filters and transforms of a compacted topic (`bypass`) or are seen by them like all others (`filter`). A tombstone that is dropped deletes nothing.";
    "tidegate.consume.chain", List, "", Check::Chain, [same("tidegate.consume.chain")],
        "Plugins that every consumer's fetch passes, in order: `[alias=]name[@version|@sha256:digest]`, comma-separated.";
    "tidegate.dead.letter.topic", String, "", Check::TopicName, [same("tidegate.dead.letter.topic")],
        "Where records go that the policy `dead-letter` takes out, with headers that say where they come from and why. It has no produce chain.";
    "tidegate.on.error", String, "reject", Check::OneOf(ERROR_POLICIES), [same("tidegate.on.error")],
        "What becomes of a record whose plugin failed: `reject` refuses it, `drop` acknowledges and discards it, `pass` keeps it, `dead-letter` moves it to tidegate.dead.letter.topic, `pause` stops the topic until `tidegate plugin resume`.";
    "tidegate.on.reject", String, "refuse", Check::OneOf(REJECT_POLICIES), [same("tidegate.on.reject")],
        "What becomes of a record that a plugin of the produce chain rejects: `refuse` fails its batch, `dead-letter` moves the record alone to tidegate.dead.letter.topic, `drop` acknowledges and discards it alone.";
    "tidegate.produce.chain", List, "", Check::Chain, [same("tidegate.produce.chain")],
        "Plugins that every produced batch passes, in order: `[alias=]name[@version|@sha256:digest]`, comma-separated.";
    "tidegate.shadow.chain", List, "", Check::Chain, [same("tidegate.shadow.chain")],
        "Plugins that are shown every produced batch beside the real chain; their verdicts are counted and compared, never applied.";
    "unclean.leader.election.enable", Boolean, "false", Check::Any, [same("unclean.leader.election.enable")],
        "Whether a replica that is not in sync may lead when no other is left, losing acknowledged records. On one broker the only replica is always in sync, so nothing is ever lost by it.";
];
