//! Broker configs by Kafka's names: what a configuration file may hold and DescribeConfigs shows.

use super::{Check, ConfigType};

/// One broker config.
#[derive(Debug)]
pub struct BrokerConfigDef {
    pub name: &'static str,
    pub kind: ConfigType,
    /// `None` where there is none, or where another config gives it.
    pub default: Option<&'static str>,
    pub doc: &'static str,
    pub check: Check,
    /// May be changed for the whole cluster while it runs.
    pub dynamic: bool,
}

pub fn broker_defs() -> &'static [BrokerConfigDef] {
    DEFS
}

macro_rules! defs {
    ($($name:literal, $kind:ident, $default:expr, $check:expr, $dynamic:literal, $doc:literal;)*) => {
        &[$(BrokerConfigDef {
            name: $name,
            kind: ConfigType::$kind,
            default: $default,
            doc: $doc,
            check: $check,
            dynamic: $dynamic,
        }),*]
    };
}

static DEFS: &[BrokerConfigDef] = defs![
    "advertised.listeners", String, None, Check::Any, false,
        "The addresses clients are told to connect to; the listeners unless given.";
    "auto.create.topics.enable", Boolean, Some("true"), Check::Any, false,
        "Whether asking about a topic, or producing to it, creates it.";
    "auto.leader.rebalance.enable", Boolean, Some("true"), Check::Any, false,
        "Accepted for Kafka's files; one broker leads everything.";
    "background.threads", Int, Some("10"), Check::AtLeast(1), true,
        "Accepted for Kafka's tools; background work here sizes itself.";
    "broker.id", Int, Some("-1"), Check::Any, false,
        "This broker's id; the older name of node.id.";
    "broker.rack", String, None, Check::Any, false,
        "Where the broker stands, for replica placement and nearest fetches.";
    "compression.gzip.level", Int, Some("-1"), Check::Between(-1, 9), true,
        "The default of the topic config of the same name.";
    "compression.lz4.level", Int, Some("9"), Check::Between(1, 17), true,
        "The default of the topic config of the same name.";
    "compression.type", String, Some("producer"), Check::OneOf(&["producer", "uncompressed", "none", "gzip", "snappy", "lz4", "zstd"]), true,
        "The default of the topic config of the same name.";
    "compression.zstd.level", Int, Some("3"), Check::Between(-131072, 22), true,
        "The default of the topic config of the same name.";
    "connections.max.idle.ms", Long, Some("600000"), Check::AtLeast(-1), false,
        "A connection without a request for this long, in milliseconds, is closed.";
    "controller.quota.window.num", Int, Some("11"), Check::Between(1, 10_000), false,
        "With controller.quota.window.size.seconds, how long a client may save up what its controller_mutation_rate allows.";
    "controller.quota.window.size.seconds", Int, Some("1"), Check::Between(1, 86_400), false,
        "Seconds in one of controller.quota.window.num windows.";
    "controller.quorum.voters", List, None, Check::Any, false,
        "Accepted for Kafka's files; one broker needs no quorum.";
    "default.replication.factor", Int, Some("1"), Check::AtLeast(1), false,
        "Replicas of a topic whose creator leaves the number open.";
    "delete.topic.enable", Boolean, Some("true"), Check::Any, false,
        "Whether topics can be deleted.";
    "fetch.max.bytes", Int, Some("57671680"), Check::AtLeast(1024), false,
        "The most bytes of records one fetch response carries, whatever the client asks for; a larger first batch is still sent whole.";
    "follower.replication.throttled.rate", Long, Some("9223372036854775807"), Check::AtLeast(0), true,
        "Accepted for Kafka's tools, which clear it after a reassignment; nothing is moved between brokers.";
    "group.consumer.assignors", List, Some("uniform,range"), Check::EachOf(&["uniform", "range"]), false,
        "The assignors of consumer groups; the first is used where a group's members ask for none.";
    "group.consumer.heartbeat.interval.ms", Int, Some("5000"), Check::AtLeast(1), false,
        "How often members of consumer groups send heartbeats, in milliseconds.";
    "group.consumer.max.heartbeat.interval.ms", Int, Some("15000"), Check::AtLeast(1), false,
        "The longest heartbeat interval that a consumer group may be given, in milliseconds.";
    "group.consumer.max.session.timeout.ms", Int, Some("60000"), Check::AtLeast(1), false,
        "The longest session timeout that a consumer group may be given, in milliseconds.";
    "group.consumer.max.size", Int, Some("2147483647"), Check::AtLeast(1), false,
        "The most members one consumer group may have.";
    "group.consumer.migration.policy", String, Some("bidirectional"), Check::OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]), false,
        "Whether classic groups become consumer groups while they have members (upgrade), consumer groups classic ones (downgrade), or both.";
    "group.consumer.min.heartbeat.interval.ms", Int, Some("5000"), Check::AtLeast(1), false,
        "The shortest heartbeat interval that a consumer group may be given, in milliseconds.";
    "group.consumer.min.session.timeout.ms", Int, Some("45000"), Check::AtLeast(1), false,
        "The shortest session timeout that a consumer group may be given, in milliseconds.";
    "group.consumer.session.timeout.ms", Int, Some("45000"), Check::AtLeast(1), false,
        "After this silence, in milliseconds, a member of a consumer group is out.";
    "group.initial.rebalance.delay.ms", Int, Some("3000"), Check::AtLeast(0), false,
        "How long an empty group waits for more members before its first rebalance, in milliseconds.";
    "group.max.session.timeout.ms", Int, Some("1800000"), Check::AtLeast(1), false,
        "The longest session timeout a group member may ask for, in milliseconds.";
    "group.max.size", Int, Some("2147483647"), Check::AtLeast(1), false,
        "The most members one group may have.";
    "group.min.session.timeout.ms", Int, Some("6000"), Check::AtLeast(1), false,
        "The shortest session timeout a group member may ask for, in milliseconds.";
    "inter.broker.listener.name", String, None, Check::Any, false,
        "Accepted for Kafka's files; one broker talks to no other.";
    "leader.replication.throttled.rate", Long, Some("9223372036854775807"), Check::AtLeast(0), true,
        "Accepted for Kafka's tools, which clear it after a reassignment; nothing is moved between brokers.";
    "listeners", List, Some("PLAINTEXT://127.0.0.1:9092"), Check::Any, false,
        "The addresses the broker listens on.";
    "log.cleaner.backoff.ms", Long, Some("15000"), Check::AtLeast(1), false,
        "How long the cleaner waits between two looks at what is to be compacted, in milliseconds.";
    "log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Check::AtLeast(1_048_576), false,
        "Memory for the keys of one pass of compaction, in bytes; a log with more keys takes several passes.";
    "log.cleaner.delete.retention.ms", Long, Some("86400000"), Check::AtLeast(0), true,
        "The default of the topic config delete.retention.ms.";
    "log.cleaner.enable", Boolean, Some("true"), Check::Any, false,
        "Whether logs with cleanup.policy=compact are compacted.";
    "log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), Check::AtLeast(1), true,
        "The default of the topic config max.compaction.lag.ms.";
    "log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Check::Fraction, true,
        "The default of the topic config min.cleanable.dirty.ratio.";
    "log.cleaner.min.compaction.lag.ms", Long, Some("0"), Check::AtLeast(0), true,
        "The default of the topic config min.compaction.lag.ms.";
    "log.cleanup.policy", List, Some("delete"), Check::AnyOf(&["delete", "compact"]), true,
        "The default of the topic config cleanup.policy.";
    "log.dir", String, Some("./tidegate-data"), Check::Any, false,
        "The data directory, when log.dirs is not given.";
    "log.dirs", List, None, Check::Any, false,
        "The data directories, one store in each.";
    "log.flush.interval.messages", Long, Some("9223372036854775807"), Check::AtLeast(1), true,
        "The default of the topic config flush.messages.";
    "log.flush.interval.ms", Long, None, Check::AtLeast(0), true,
        "The default of the topic config flush.ms.";
    "log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Check::AtLeast(0), false,
        "The default of log.flush.interval.ms.";
    "log.index.interval.bytes", Int, Some("4096"), Check::AtLeast(0), true,
        "The default of the topic config index.interval.bytes.";
    "log.index.size.max.bytes", Int, Some("10485760"), Check::AtLeast(4), true,
        "The default of the topic config segment.index.bytes.";
    "log.local.retention.bytes", Long, Some("-2"), Check::AtLeast(-2), true,
        "The default of the topic config local.retention.bytes.";
    "log.local.retention.ms", Long, Some("-2"), Check::AtLeast(-2), true,
        "The default of the topic config local.retention.ms.";
    "log.message.timestamp.after.max.ms", Long, Some("3600000"), Check::AtLeast(0), true,
        "The default of the topic config message.timestamp.after.max.ms.";
    "log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), Check::AtLeast(0), true,
        "The default of the topic config message.timestamp.before.max.ms.";
    "log.message.timestamp.type", String, Some("CreateTime"), Check::OneOf(&["CreateTime", "LogAppendTime"]), true,
        "The default of the topic config message.timestamp.type.";
    "log.preallocate", Boolean, Some("false"), Check::Any, true,
        "The default of the topic config preallocate.";
    "log.retention.bytes", Long, Some("-1"), Check::AtLeast(-1), true,
        "The default of the topic config retention.bytes.";
    "log.retention.check.interval.ms", Long, Some("300000"), Check::AtLeast(1), false,
        "How often retention looks for what may go, in milliseconds; the first time so long after a start, 30 seconds at most.";
    "log.retention.hours", Int, Some("168"), Check::AtLeast(-1), false,
        "The default of the topic config retention.ms, in hours.";
    "log.retention.minutes", Int, None, Check::AtLeast(-1), false,
        "The default of the topic config retention.ms, in minutes; stronger than the hours.";
    "log.retention.ms", Long, None, Check::AtLeast(-1), true,
        "The default of the topic config retention.ms; stronger than minutes and hours.";
    "log.roll.hours", Int, Some("168"), Check::AtLeast(1), false,
        "The default of the topic config segment.ms, in hours.";
    "log.roll.jitter.hours", Int, Some("0"), Check::AtLeast(0), false,
        "The default of the topic config segment.jitter.ms, in hours.";
    "log.roll.jitter.ms", Long, None, Check::AtLeast(0), true,
        "The default of the topic config segment.jitter.ms.";
    "log.roll.ms", Long, None, Check::AtLeast(1), true,
        "The default of the topic config segment.ms; stronger than the hours.";
    "log.segment.bytes", Int, Some("1073741824"), Check::AtLeast(14), true,
        "The default of the topic config segment.bytes.";
    "log.segment.delete.delay.ms", Long, Some("60000"), Check::AtLeast(0), true,
        "The default of the topic config file.delete.delay.ms.";
    "max.connection.creation.rate", Int, Some("2147483647"), Check::AtLeast(1), true,
        "The most connections taken per second; those beyond wait to be accepted.";
    "max.connections", Int, Some("2147483647"), Check::AtLeast(0), true,
        "The most connections at one time; those beyond are closed.";
    "max.connections.per.ip", Int, Some("2147483647"), Check::AtLeast(0), true,
        "The most connections from one address at one time; those beyond are closed.";
    "max.connections.per.ip.overrides", String, Some(""), Check::Overrides, true,
        "Other limits than max.connections.per.ip for some addresses: `address:number`, comma-separated. Host names are not looked up.";
    "max.incremental.fetch.session.cache.slots", Int, Some("1000"), Check::AtLeast(0), false,
        "The most fetch sessions that are remembered; a client without one sends its whole list of partitions with each poll.";
    "message.max.bytes", Int, Some("1048588"), Check::AtLeast(0), true,
        "The default of the topic config max.message.bytes.";
    "min.insync.replicas", Int, Some("1"), Check::AtLeast(1), true,
        "The default of the topic config of the same name.";
    "node.id", Int, Some("1"), Check::AtLeast(0), false,
        "This broker's id.";
    "num.io.threads", Int, Some("8"), Check::AtLeast(1), true,
        "Accepted for Kafka's files; threads here follow the cores.";
    "num.network.threads", Int, Some("3"), Check::AtLeast(1), true,
        "Accepted for Kafka's files; threads here follow the cores.";
    "num.partitions", Int, Some("1"), Check::Between(1, 10000), false,
        "Partitions of a topic whose creator leaves the number open.";
    "offset.metadata.max.bytes", Int, Some("4096"), Check::AtLeast(0), false,
        "The longest note a committed offset may carry, in bytes.";
    "offsets.retention.minutes", Int, Some("10080"), Check::AtLeast(1), false,
        "How long the offsets of a group without members are kept.";
    "offsets.topic.num.partitions", Int, Some("50"), Check::Between(1, 10000), false,
        "Partitions of __consumer_offsets.";
    "offsets.topic.replication.factor", Int, Some("3"), Check::AtLeast(1), false,
        "Replicas of __consumer_offsets; fewer when there are fewer brokers.";
    "process.roles", List, None, Check::Any, false,
        "Accepted for Kafka's files; every broker here takes both roles.";
    "producer.id.expiration.ms", Int, Some("86400000"), Check::AtLeast(1), true,
        "How long the sequence state of an idle producer is kept, in milliseconds.";
    "queued.max.request.bytes", Long, Some("-1"), Check::AtLeast(-1), false,
        "Bytes of request frames in memory at once, over all connections, at least socket.request.max.bytes; -1 is its share of tidegate.memory.bytes.";
    "queued.max.requests", Int, Some("500"), Check::AtLeast(1), false,
        "Accepted for Kafka's files; requests wait in no queue here: a connection reads its next request when there is room for it in queued.max.request.bytes.";
    "quota.window.num", Int, Some("11"), Check::Between(1, 10_000), false,
        "With quota.window.size.seconds, how long a client may save up what a quota allows.";
    "quota.window.size.seconds", Int, Some("1"), Check::Between(1, 86_400), false,
        "Seconds in one of quota.window.num windows.";
    "replica.alter.log.dirs.io.max.bytes.per.second", Long, Some("9223372036854775807"), Check::AtLeast(0), true,
        "Accepted for Kafka's tools, which clear it after a reassignment; there is one data directory.";
    "replica.lag.time.max.ms", Long, Some("30000"), Check::AtLeast(1), false,
        "Accepted for Kafka's files; one broker has no followers.";
    "sasl.kerberos.min.time.before.relogin", Long, Some("60000"), Check::AtLeast(0), true,
        "Accepted for Kafka's tools and clients' tests; there is no Kerberos here.";
    "socket.listen.backlog.size", Int, Some("1024"), Check::AtLeast(1), false,
        "Connections that may wait to be accepted; the system has a limit of its own.";
    "socket.receive.buffer.bytes", Int, Some("-1"), Check::AtLeast(-1), false,
        "The sockets' receive buffer in bytes; -1 leaves it to the system, which lets it grow with the load. Kafka's default is 102400.";
    "socket.request.max.bytes", Int, Some("104857600"), Check::AtLeast(1), false,
        "The largest request, in bytes.";
    "socket.send.buffer.bytes", Int, Some("-1"), Check::AtLeast(-1), false,
        "The sockets' send buffer in bytes; -1 leaves it to the system, which lets it grow with the load. Kafka's default is 102400.";
    "tidegate.consume.gap", String, Some("auto"), Check::OneOf(&["auto", "marker", "before", "cursor"]), false,
        "How a fetch tells a consumer of offsets without records; auto goes by the client.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), Check::AtLeast(1), false,
        "How often transactions that are open for longer than their timeout are looked for and aborted, in milliseconds.";
    "transaction.max.timeout.ms", Int, Some("900000"), Check::AtLeast(1), false,
        "The longest timeout that a transactional producer may ask for, in milliseconds.";
    "transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), Check::AtLeast(1), false,
        "How often transactional ids that nobody has used for transactional.id.expiration.ms are looked for, in milliseconds.";
    "transaction.state.log.min.isr", Int, Some("2"), Check::AtLeast(1), false,
        "min.insync.replicas of __transaction_state.";
    "transaction.state.log.num.partitions", Int, Some("50"), Check::AtLeast(1), false,
        "Partitions of __transaction_state, when it is created.";
    "transaction.state.log.replication.factor", Int, Some("3"), Check::AtLeast(1), false,
        "Replicas of __transaction_state; fewer when there are fewer brokers.";
    "transactional.id.expiration.ms", Int, Some("604800000"), Check::AtLeast(1), false,
        "How long an idle transactional id is remembered, in milliseconds.";
    "unclean.leader.election.enable", Boolean, Some("false"), Check::Any, true,
        "The default of the topic config of the same name.";
];
