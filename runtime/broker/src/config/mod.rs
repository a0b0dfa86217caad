//! The broker's configuration: parsed cheaply from files, environment and command line, then resolved once.
//!
//! A Kafka `server.properties` works as it is; TOML takes the same keys. Every key has an environment variable:
//! `TIDEGATE_CFG_LOG_DIRS` for `log.dirs` (a doubled underscore stands for one underscore). What this version does not
//! know is named in a warning; a value it cannot use is an error with the key, the value and what is expected.

mod address;
#[cfg(test)]
mod docs;
mod error;
mod file;
mod gap;
mod keys;
mod memory;
mod properties;
mod resolve;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_coordinator::{Assignor, MigrationPolicy};
use tidegate_plugin::{Compiler, Limits, PublicKey};

use crate::loggers::Loggers;

pub use self::address::HostPort;
pub use self::error::ConfigError;
pub use self::file::{PluginFile, TopicDeclaration};
pub use self::gap::{ConsumeGap, GapChoice, GapMode};
pub use self::keys::{OwnKey, own_keys};
pub use self::memory::{MemoryConfig, Part, Parts};

/// What `tidegate serve` was started with.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// A Kafka properties file or TOML.
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    /// Kafka address, `host:port`; port 0 takes a free one.
    pub listen: Option<String>,
    /// Admin HTTP address, `host:port`.
    pub admin: Option<String>,
    /// The program that compiles plugins in a child process, see [`Compiler::Child`]; without one they are compiled in
    /// this process.
    pub compiler: Option<PathBuf>,
}

/// Everything the broker reads, resolved.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub node_id: i32,
    pub rack: Option<String>,
    /// Where the Kafka port listens; an empty host is every interface.
    pub listeners: Vec<HostPort>,
    /// What clients are told, one for each listener; `None` follows the address that was bound.
    pub advertised: Vec<Option<HostPort>>,
    pub admin: HostPort,
    /// Bearer token of the admin port; it may listen beyond loopback only with one.
    pub admin_token: Option<String>,
    pub data_dir: PathBuf,

    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub auto_create_topics: bool,
    /// The file's broker configs by the broker's own names (`log.retention.hours`, `tidegate.produce.chain`): the
    /// map that `TopicConfig::resolve` and `describe_broker` take.
    pub topic_defaults: BTreeMap<String, String>,

    /// The largest request frame, in bytes.
    pub socket_request_max_bytes: usize,
    pub memory: MemoryConfig,
    /// `None` leaves it to the system, which lets it grow with the load.
    pub socket_send_buffer_bytes: Option<u32>,
    pub socket_receive_buffer_bytes: Option<u32>,
    /// Connections that may wait to be accepted.
    pub socket_backlog: u32,
    /// The most bytes of records in one fetch response, but for a larger first batch.
    pub fetch_max_bytes: usize,
    pub max_fetch_sessions: usize,
    pub quota_windows: QuotaWindows,
    pub log_cleaner_enable: bool,
    pub log_cleaner_backoff_ms: u64,
    /// Memory for the keys of one pass of compaction.
    pub log_cleaner_dedupe_bytes: usize,
    /// A connection without a request for this long is closed; `u64::MAX` is never.
    pub connections_max_idle_ms: u64,

    pub offsets_topic_partitions: i32,
    pub group_initial_rebalance_delay_ms: i64,
    pub group_min_session_timeout_ms: i64,
    pub group_max_session_timeout_ms: i64,
    pub group_max_size: usize,
    pub consumer_groups: ConsumerGroupConfig,
    pub offset_metadata_max_bytes: usize,
    pub offsets_retention_ms: i64,

    pub transaction_topic_partitions: i32,
    /// The longest timeout that a transactional producer may ask for.
    pub transaction_max_timeout_ms: i32,
    /// How often transactions that are open for too long are looked for.
    pub transaction_abort_interval_ms: u64,
    /// How often transactional ids that nobody uses are looked for.
    pub transaction_expiry_interval_ms: u64,
    pub transactional_id_expiration_ms: i64,

    /// A write that nobody asked to sync is synced within this time.
    pub lazy_sync_ms: u64,
    /// Time between two scrubs of the store; 0 is never.
    pub scrub_interval_ms: u64,
    pub scrub_bytes_per_sec: u64,
    /// Most bytes that one batch may decompress to.
    pub max_decoded_bytes: usize,
    pub log_retention_check_interval_ms: u64,

    pub plugin_engine: PluginEngineConfig,
    /// Whose plugins run here; empty: everybody's.
    pub trusted_keys: Vec<PublicKey>,
    /// Every binding's limits.
    pub plugin_limits: Limits,
    /// Plugins declared in the file.
    pub plugins: Vec<PluginFile>,
    /// Topics declared in the file.
    pub topics: BTreeMap<String, TopicDeclaration>,
    pub consume_gap: ConsumeGap,

    /// The process's log, where its levels may be changed while it runs; set by whoever starts a broker.
    pub loggers: Option<Arc<dyn Loggers>>,

    /// Sentences for the log: ignored keys, values that mean something else here.
    pub warnings: Vec<String>,
}

/// How long a client may save up what a quota allows: so many windows of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaWindows {
    pub number: u32,
    pub seconds: u32,
    /// For creating and deleting partitions.
    pub mutation_number: u32,
    pub mutation_seconds: u32,
}

/// `group.consumer.*`: groups whose coordinator assigns (KIP-848).
#[derive(Clone, Debug)]
pub struct ConsumerGroupConfig {
    pub session_timeout_ms: i32,
    pub session_timeout_range_ms: RangeInclusive<i32>,
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_range_ms: RangeInclusive<i32>,
    pub max_size: usize,
    pub assignors: Vec<Assignor>,
    pub migration: MigrationPolicy,
}

#[derive(Clone, Debug)]
pub struct PluginEngineConfig {
    /// 0 = max(4, twice the cores).
    pub pool_threads: usize,
    pub pool_queue: usize,
    pub max_instances: usize,
    pub max_memory_bytes: usize,
    pub max_upload_bytes: usize,
    pub max_large_instances: usize,
    /// A trial of a plugin and its configurations that takes longer, beside the compilation, is given up.
    pub prepare_timeout_ms: u64,
    pub compiler: Compiler,
    pub compile_timeout_ms: u64,
    pub compile_memory_bytes: u64,
    /// Where compiled plugins are kept: set by a start on a data directory.
    pub cache_dir: Option<PathBuf>,
    /// 0 keeps none.
    pub cache_bytes: u64,
    pub upload_timeout_ms: u64,
}

impl ServerConfig {
    /// Reads the file, the environment and the command line, in rising order of strength.
    pub fn load(options: &ServeOptions) -> Result<ServerConfig, ConfigError> {
        resolve::load(options, &file::environment())
    }

    /// How a consumer with this client id is told of offsets without records.
    pub fn gap_mode(&self, client_id: &str) -> GapMode {
        self.consume_gap.mode(client_id)
    }

    /// Kafka's `log.dirs` by another name: where the stores are.
    pub fn log_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }
}
