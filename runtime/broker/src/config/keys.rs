//! The keys that are Tidegate's own, or that Kafka has and the table in `tidegate_metadata::config` does not.

use tidegate_metadata::config::{Check, ConfigType};

/// A key of the configuration file that the cluster's config table does not have.
#[derive(Debug)]
pub struct OwnKey {
    pub name: &'static str,
    pub kind: ConfigType,
    /// Empty: nothing.
    pub default: &'static str,
    pub check: Check,
    pub doc: &'static str,
}

pub fn own_keys() -> &'static [OwnKey] {
    KEYS
}

pub(super) fn own_key(name: &str) -> Option<&'static OwnKey> {
    KEYS.iter().find(|key| key.name == name)
}

macro_rules! keys {
    ($($name:literal, $kind:ident, $default:literal, $check:expr, $doc:literal;)*) => {
        &[$(OwnKey {
            name: $name,
            kind: ConfigType::$kind,
            default: $default,
            check: $check,
            doc: $doc,
        }),*]
    };
}

static KEYS: &[OwnKey] = keys![
    "admin.listener", String, "127.0.0.1:9644", Check::Any,
        "Where the admin HTTP port listens. Beyond loopback only with `admin.token`.";
    "admin.token", Password, "", Check::Any,
        "Bearer token that the admin port asks for on everything but /healthz and /readyz.";
    "controller.listener.names", List, "", Check::Any,
        "Listeners of these names are for Kafka's controllers and are not opened.";
    "listener.security.protocol.map", List, "", Check::Any,
        "What protocol each listener name means; only PLAINTEXT is served.";
    "tidegate.answer.memory.bytes", Long, "-1", Check::AtLeast(-1),
        "Records of answers that their clients have not read yet; where it is used up, consumers wait. -1 is its share of tidegate.memory.bytes.";
    "tidegate.append.queue.bytes", Long, "-1", Check::Between(-1, 17_179_869_184),
        "Batches that may wait for the writer thread; beyond it producers are told to retry. -1 is its share of tidegate.memory.bytes.";
    "tidegate.block.cache.bytes", Long, "-1", Check::AtLeast(-1),
        "Index rows and keys of the store that are kept in memory. -1 is its share of tidegate.memory.bytes.";
    "tidegate.consume.gap.clients", List, "", Check::Any,
        "Client ids whose gaps are told in another way than `tidegate.consume.gap`: `pattern=mode`, comma-separated, `*` for any characters.";
    "tidegate.max.decoded.bytes", Int, "67108864", Check::AtLeast(1024),
        "The most bytes that one batch may decompress to before a plugin or another codec sees it.";
    "tidegate.memory.bytes", Long, "1610612736", Check::AtLeast(67_108_864),
        "Memory for everything that grows with the load: caches, buffers, requests and answers under way, decompression, compaction. Plugins have bounds of their own.";
    "tidegate.scrub.bytes.per.sec", Long, "8388608", Check::AtLeast(65_536),
        "How fast the scrub reads, in bytes per second.";
    "tidegate.scrub.interval.ms", Long, "604800000", Check::AtLeast(0),
        "Time between two scrubs, in milliseconds; the first begins with the broker. A scrub reads everything stored and checks it. 0 is never.";
    "tidegate.sync.lazy.ms", Int, "20", Check::Between(1, 60_000),
        "A write that no acks=all waits for is synced to disk within this time, in milliseconds, or sooner where syncs are quick; consumers see it then.";
    "tidegate.read.ahead.bytes", Long, "-1", Check::Between(-1, 1_099_511_627_776),
        "Batches older than the tail cache that were read a moment ago, for whoever else reads them, or ahead of a consumer that reads on. 0 for neither, -1 is its share of tidegate.memory.bytes.";
    "tidegate.tail.cache.bytes", Long, "-1", Check::Between(-1, 1_099_511_627_776),
        "The newest batches, from which consumers that keep up are served. -1 is its share of tidegate.memory.bytes.";
    "tidegate.write.buffer.bytes", Long, "-1", Check::AtLeast(-1),
        "Batches, rows and notes that are in the write-ahead log and not yet in table files. -1 is its share of tidegate.memory.bytes.";
    "tidegate.plugins.pool.threads", Int, "0", Check::Between(0, 1024),
        "Threads that plugins run on; 0 is twice the cores, at least 4.";
    "tidegate.plugins.pool.queue", Int, "10000", Check::Between(1, 1_000_000),
        "Batches that may wait for a plugin thread; beyond it producers are told to retry.";
    "tidegate.plugins.max.instances", Int, "256", Check::Between(1, 10_000),
        "Plugin instances alive at one time, over all bindings.";
    "tidegate.plugins.max.memory.bytes", Int, "268435456", Check::AtLeast(1_048_576),
        "The most linear memory that any binding may be given.";
    "tidegate.plugins.max.upload.bytes", Int, "33554432", Check::AtLeast(1024),
        "The largest plugin file that is accepted.";
    "tidegate.plugins.prepare.timeout.ms", Int, "60000", Check::Between(100, 600_000),
        "How long trying a plugin and its configurations may take, in milliseconds, beside its compilation.";
    "tidegate.plugins.compile.timeout.ms", Int, "60000", Check::Between(1000, 600_000),
        "How long one plugin may take to compile, in milliseconds. It happens in a child process, which is then killed.";
    "tidegate.plugins.compile.memory.bytes", Long, "1073741824", Check::Between(67_108_864, 68_719_476_736),
        "Memory of the child process that compiles one plugin; two compile at one time.";
    "tidegate.plugins.cache.bytes", Long, "1073741824", Check::AtLeast(0),
        "Compiled plugins kept in the data directory, so that a restart compiles none; 0 keeps none.";
    "tidegate.plugins.trusted.keys", List, "", Check::Any,
        "Ed25519 public keys, comma-separated Base64 or `@file` with one a line. When set, only plugins that one of them has signed are taken and run.";
    "tidegate.plugins.upload.timeout.ms", Int, "60000", Check::Between(100, 3_600_000),
        "How long the body of an upload may take to arrive, in milliseconds.";
    "tidegate.plugins.max.large.instances", Int, "16", Check::Between(0, 10_000),
        "Instances alive at one time of plugins too large for the pool (JavaScript, Python), over all bindings.";
    "tidegate.plugins.deadline.ms", Int, "1000", Check::Between(1, 60_000),
        "Wall time of one call into a plugin, in milliseconds.";
    "tidegate.plugins.memory.bytes", Int, "67108864", Check::AtLeast(65_536),
        "Linear memory of one plugin instance.";
    "tidegate.plugins.instances", Int, "8", Check::Between(1, 1024),
        "Instances of one binding that may run at one time.";
    "tidegate.plugins.table.elements", Int, "10000", Check::AtLeast(1),
        "Elements of one table of a plugin instance.";
    "tidegate.plugins.output.bytes", Int, "16777216", Check::AtLeast(1024),
        "The most that one call of a plugin may give back.";
    "tidegate.plugins.output.records", Int, "100000", Check::AtLeast(1),
        "Routes, or reasons of rejection, that one call may give back.";
    "tidegate.plugins.call.records", Int, "10000", Check::AtLeast(1),
        "Records handed to a plugin in one call; larger batches are split.";
    "tidegate.plugins.call.bytes", Int, "16777216", Check::AtLeast(1024),
        "Bytes handed to a plugin in one call, at most a quarter of its memory.";
    "tidegate.plugins.log.bytes.per.sec", Int, "65536", Check::AtLeast(0),
        "Bytes of a binding's own log messages kept per second.";
    "tidegate.plugins.breaker.failures", Int, "5", Check::AtLeast(1),
        "Consecutive failures after which a binding's circuit opens.";
    "tidegate.plugins.breaker.delay.ms", Int, "5000", Check::AtLeast(1),
        "How long an open circuit waits before it lets one call try, in milliseconds.";
];

#[cfg(test)]
mod tests {
    use tidegate_metadata::config::{LimitDef, broker_defs, limit_defs, topic_def};

    use super::*;

    #[test]
    fn defaults_are_valid_and_names_are_not_taken() {
        for key in own_keys() {
            if !key.default.is_empty() {
                assert_eq!(
                    key.check.validate(key.kind, key.default),
                    Ok(()),
                    "{}",
                    key.name
                );
            }
            assert!(
                broker_defs().iter().all(|def| def.name != key.name),
                "{}",
                key.name
            );
            assert!(topic_def(key.name).is_none(), "{}", key.name);
            // `tidegate.plugin.<alias>.<key>` belongs to the plugins themselves.
            assert!(!key.name.starts_with("tidegate.plugin."), "{}", key.name);
        }
    }

    #[test]
    fn every_limit_of_a_binding_has_a_default_for_all() {
        for limit in limit_defs() {
            let name = format!("tidegate.plugins.{}", limit.name);
            let key = own_key(&name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!((key.kind, key.doc), (LimitDef::KIND, limit.doc), "{name}");
            assert_eq!(
                format!("{:?}", key.check),
                format!("{:?}", limit.check),
                "{name}"
            );
        }
    }
}
