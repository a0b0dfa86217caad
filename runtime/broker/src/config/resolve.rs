//! From layers of text to one [`ServerConfig`].

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use tidegate_coordinator::{Assignor, MigrationPolicy};
use tidegate_metadata::config::{broker_defs, validate_static_broker_config};
use tidegate_metadata::validate_topic_name;
use tidegate_plugin::{Compiler, KeyError, Limits, PublicKey};

use super::file::{Layer, declaration, from_pairs, read};
use super::keys::own_key;
use super::memory::{self, Wishes};
use super::{
    ConfigError, ConsumeGap, ConsumerGroupConfig, GapChoice, HostPort, MemoryConfig, Part, Parts,
    PluginEngineConfig, QuotaWindows, ServeOptions, ServerConfig, TopicDeclaration,
};

const COMMAND_LINE: &str = "the command line";
const ENVIRONMENT: &str = "the environment";

pub(super) fn load(
    options: &ServeOptions,
    environment: &[(String, String)],
) -> Result<ServerConfig, ConfigError> {
    let mut layers = Vec::new();
    if let Some(path) = &options.config {
        layers.push(read(path)?);
    }
    let syntax = |why| ConfigError::Syntax {
        path: PathBuf::from(ENVIRONMENT),
        why,
    };
    layers.push(from_pairs(ENVIRONMENT.to_owned(), environment.to_vec()).map_err(syntax)?);
    resolve(layers, options)
}

/// What all layers together say, and where each value came from.
#[derive(Default)]
struct Values {
    known: BTreeMap<String, (String, String)>,
    warnings: Vec<String>,
}

fn resolve(layers: Vec<Layer>, options: &ServeOptions) -> Result<ServerConfig, ConfigError> {
    let mut values = Values::default();
    let mut plugins = Vec::new();
    let mut topics = BTreeMap::<String, BTreeMap<String, String>>::new();
    for layer in layers {
        values.lay(layer.values, &layer.origin);
        plugins.extend(layer.plugins);
        for (name, fields) in layer.topics {
            topics.entry(name).or_default().extend(fields);
        }
    }
    values.lay_options(options);
    values.check()?;

    let (listeners, advertised) = values.listeners()?;
    let admin = values.parsed::<Admin>("admin.listener")?.0;
    let admin_token = values.text("admin.token").filter(|token| !token.is_empty());
    if admin_token.is_none() && !admin.is_loopback() {
        return Err(ConfigError::OpenAdmin { address: admin });
    }
    let socket_request_max_bytes = values.number("socket.request.max.bytes")?;
    let config = ServerConfig {
        node_id: values.node_id()?,
        rack: values.text("broker.rack").filter(|rack| !rack.is_empty()),
        listeners,
        advertised,
        admin,
        admin_token,
        data_dir: values.data_dir(),
        num_partitions: values.number("num.partitions")?,
        default_replication_factor: values.number("default.replication.factor")?,
        auto_create_topics: values.boolean("auto.create.topics.enable"),
        topic_defaults: values.broker_configs(),
        socket_request_max_bytes,
        memory: values.memory(socket_request_max_bytes)?,
        socket_send_buffer_bytes: values.buffer("socket.send.buffer.bytes")?,
        socket_receive_buffer_bytes: values.buffer("socket.receive.buffer.bytes")?,
        socket_backlog: values.number("socket.listen.backlog.size")?,
        fetch_max_bytes: values.number("fetch.max.bytes")?,
        max_fetch_sessions: values.number("max.incremental.fetch.session.cache.slots")?,
        quota_windows: QuotaWindows {
            number: values.number("quota.window.num")?,
            seconds: values.number("quota.window.size.seconds")?,
            mutation_number: values.number("controller.quota.window.num")?,
            mutation_seconds: values.number("controller.quota.window.size.seconds")?,
        },
        log_cleaner_enable: values.boolean("log.cleaner.enable"),
        log_cleaner_backoff_ms: values.number("log.cleaner.backoff.ms")?,
        log_cleaner_dedupe_bytes: values.number("log.cleaner.dedupe.buffer.size")?,
        connections_max_idle_ms: u64::try_from(values.number::<i64>("connections.max.idle.ms")?)
            .unwrap_or(u64::MAX),
        offsets_topic_partitions: values.number("offsets.topic.num.partitions")?,
        group_initial_rebalance_delay_ms: values.number("group.initial.rebalance.delay.ms")?,
        group_min_session_timeout_ms: values.number("group.min.session.timeout.ms")?,
        group_max_session_timeout_ms: values.number("group.max.session.timeout.ms")?,
        group_max_size: values.number("group.max.size")?,
        consumer_groups: values.consumer_groups()?,
        offset_metadata_max_bytes: values.number("offset.metadata.max.bytes")?,
        offsets_retention_ms: values.number::<i64>("offsets.retention.minutes")? * 60_000,
        transaction_topic_partitions: values.number("transaction.state.log.num.partitions")?,
        transaction_max_timeout_ms: values.number("transaction.max.timeout.ms")?,
        transaction_abort_interval_ms: values
            .number("transaction.abort.timed.out.transaction.cleanup.interval.ms")?,
        transaction_expiry_interval_ms: values
            .number("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        transactional_id_expiration_ms: values.number("transactional.id.expiration.ms")?,
        lazy_sync_ms: values.number("tidegate.sync.lazy.ms")?,
        scrub_interval_ms: values.number("tidegate.scrub.interval.ms")?,
        scrub_bytes_per_sec: values.number("tidegate.scrub.bytes.per.sec")?,
        max_decoded_bytes: values.number("tidegate.max.decoded.bytes")?,
        log_retention_check_interval_ms: values.number("log.retention.check.interval.ms")?,
        plugin_engine: values.plugin_engine(options)?,
        trusted_keys: values.trusted_keys()?,
        plugin_limits: values.plugin_limits()?,
        plugins,
        topics: declarations(topics)?,
        consume_gap: values.consume_gap()?,
        loggers: None,
        warnings: values.warnings,
    };
    Ok(config)
}

impl Values {
    fn lay(&mut self, values: BTreeMap<String, String>, origin: &str) {
        for (key, value) in values {
            self.known.insert(key, (value, origin.to_owned()));
        }
    }

    fn lay_options(&mut self, options: &ServeOptions) {
        let mut set = |key: &str, value: String| {
            self.known
                .insert(key.to_owned(), (value, COMMAND_LINE.to_owned()));
        };
        if let Some(directory) = &options.data_dir {
            set("log.dirs", directory.display().to_string());
        }
        if let Some(address) = &options.admin {
            set("admin.listener", address.clone());
        }
        let Some(address) = &options.listen else {
            return;
        };
        set("listeners", address.clone());
        // What the file advertises belongs to the addresses that the file listens on.
        if let Some((value, origin)) = self.known.remove("advertised.listeners") {
            if origin == ENVIRONMENT {
                self.known
                    .insert("advertised.listeners".to_owned(), (value, origin));
            } else {
                self.warnings.push(format!(
                    "advertised.listeners = {value} of {origin} is left aside, because --listen is given"
                ));
            }
        }
    }

    /// Refuses what cannot be used, and sets aside what is not known.
    fn check(&mut self) -> Result<(), ConfigError> {
        let mut unknown = Vec::new();
        for (key, (value, origin)) in &self.known {
            let checked = match own_key(key) {
                Some(own) if value.is_empty() && own.default.is_empty() => Ok(true),
                Some(own) => own.check.validate(own.kind, value).map(|()| true),
                None => validate_static_broker_config(key, value),
            };
            match checked {
                Ok(true) => {}
                Ok(false) => unknown.push(key.clone()),
                Err(expected) => return Err(wrong(key, value, origin, expected)),
            }
        }
        for key in &unknown {
            self.known.remove(key);
        }
        if let Some(at) = unknown.iter().position(|key| key == "zookeeper.connect") {
            unknown.remove(at);
            self.warnings.push(
                "zookeeper.connect is left aside: Tidegate keeps its metadata itself".to_owned(),
            );
        }
        if !unknown.is_empty() {
            self.warnings.push(format!(
                "these keys are not known here and are left aside: {}",
                unknown.join(", ")
            ));
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.known.get(key) {
            Some((value, _)) => Some(value.trim().to_owned()),
            None => default_of(key).map(str::to_owned),
        }
    }

    fn parsed<T: FromStr<Err: ToString>>(&self, key: &str) -> Result<T, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value
            .parse()
            .map_err(|error: T::Err| self.wrong(key, &value, error.to_string()))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value
            .parse()
            .map_err(|_| self.wrong(key, &value, "expected a number in range".to_owned()))
    }

    /// -1 leaves it to the system, and so does 0.
    fn buffer(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        let bytes = self.number::<i32>(key)?;
        Ok(u32::try_from(bytes).ok().filter(|bytes| *bytes > 0))
    }

    /// `check` has seen that it is true or false.
    fn boolean(&self, key: &str) -> bool {
        self.text(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn wrong(&self, key: &str, value: &str, expected: String) -> ConfigError {
        let origin = self
            .known
            .get(key)
            .map_or("the defaults", |(_, origin)| origin);
        wrong(key, value, origin, expected)
    }

    /// `node.id`, or its older name; Kafka's -1 is "not given".
    fn node_id(&self) -> Result<i32, ConfigError> {
        let key = if self.known.contains_key("node.id") {
            "node.id"
        } else {
            "broker.id"
        };
        let id = self.number(key)?;
        if id >= 0 {
            Ok(id)
        } else {
            self.number("node.id")
        }
    }

    /// The first of `log.dirs`, or `log.dir`.
    fn data_dir(&mut self) -> PathBuf {
        let directories = self
            .text("log.dirs")
            .filter(|list| !list.is_empty())
            .or_else(|| self.text("log.dir"))
            .unwrap_or_default();
        // A single directory given by the command line may have a comma in its name.
        if self
            .known
            .get("log.dirs")
            .is_some_and(|(_, origin)| origin == COMMAND_LINE)
        {
            return PathBuf::from(directories);
        }
        let mut list = directories
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let first = PathBuf::from(list.next().unwrap_or("./tidegate-data"));
        let others = list.collect::<Vec<_>>();
        if !others.is_empty() {
            self.warnings.push(format!(
                "this version keeps one store: log.dirs' first entry {} is used, and {} left aside",
                first.display(),
                others.join(", ")
            ));
        }
        first
    }

    /// The addresses to listen on, and for each what is advertised by the same name.
    fn listeners(&mut self) -> Result<(Vec<HostPort>, Vec<Option<HostPort>>), ConfigError> {
        let controllers = self.text("controller.listener.names").unwrap_or_default();
        let is_controller = |name: &str| controllers.split(',').any(|c| c.trim() == name);
        let (own, left_aside): (Vec<_>, Vec<_>) = self
            .addresses("listeners")?
            .into_iter()
            .partition(|(name, _)| !is_controller(name));
        for (name, address) in left_aside {
            self.warnings.push(format!(
                "listener {name}://{address} is for Kafka's controllers and is not opened"
            ));
        }
        for (name, _) in &own {
            self.must_be_plaintext(name)?;
        }
        if own.is_empty() {
            let value = self.text("listeners").unwrap_or_default();
            let expected = "expected at least one listener for clients".to_owned();
            return Err(self.wrong("listeners", &value, expected));
        }
        let advertised = self.addresses("advertised.listeners")?;
        let told = own
            .iter()
            .map(|(name, _)| {
                advertised
                    .iter()
                    .find(|(other, _)| other == name)
                    .map(|(_, a)| a.clone())
            })
            .collect();
        Ok((own.into_iter().map(|(_, address)| address).collect(), told))
    }

    fn addresses(&self, key: &str) -> Result<Vec<(String, HostPort)>, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value
            .split(',')
            .filter(|entry| !entry.trim().is_empty())
            .map(|entry| {
                HostPort::parse_listener(entry).map_err(|why| self.wrong(key, &value, why))
            })
            .collect()
    }

    /// A listener that promises encryption or passwords must not be served without.
    fn must_be_plaintext(&self, name: &str) -> Result<(), ConfigError> {
        let map = self
            .text("listener.security.protocol.map")
            .unwrap_or_default();
        let mapped = map.split(',').find_map(|entry| {
            entry
                .trim()
                .split_once(':')
                .filter(|(from, _)| *from == name)
                .map(|(_, to)| to)
        });
        match mapped.unwrap_or(name) {
            "PLAINTEXT" => Ok(()),
            "SSL" | "SASL_SSL" | "SASL_PLAINTEXT" => {
                let value = self.text("listeners").unwrap_or_default();
                let expected =
                    format!("listener {name} is not PLAINTEXT, the only protocol of this version");
                Err(self.wrong("listeners", &value, expected))
            }
            // A name of one's own without a mapping.
            _ => Ok(()),
        }
    }

    fn memory(&self, frame: usize) -> Result<MemoryConfig, ConfigError> {
        const TOTAL: &str = "tidegate.memory.bytes";
        let mut given = Parts::default();
        for part in Part::ALL {
            // -1 is a share.
            given[part] = usize::try_from(self.number::<i64>(part.key())?).ok();
        }
        let cleaner = match self.boolean("log.cleaner.enable") {
            true => self.number("log.cleaner.dedupe.buffer.size")?,
            false => 0,
        };
        let wishes = Wishes {
            total: self.number(TOTAL)?,
            cleaner,
            max_decoded: self.number("tidegate.max.decoded.bytes")?,
            frame,
            given,
        };
        memory::divide(&wishes).map_err(|needed| {
            let value = self.text(TOTAL).unwrap_or_default();
            let parts = Part::ALL.map(Part::key).join(", ");
            let expected = format!(
                "too little for its parts, {needed} would do; or lower what is set of {parts}, socket.request.max.bytes, \
                 tidegate.max.decoded.bytes and log.cleaner.dedupe.buffer.size"
            );
            self.wrong(TOTAL, &value, expected)
        })
    }

    /// The part of the file that topics inherit and DescribeConfigs shows; Tidegate's own keys stay out of it.
    fn broker_configs(&self) -> BTreeMap<String, String> {
        self.known
            .iter()
            .filter(|(key, _)| own_key(key).is_none())
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect()
    }

    fn plugin_engine(&self, options: &ServeOptions) -> Result<PluginEngineConfig, ConfigError> {
        Ok(PluginEngineConfig {
            pool_threads: self.number("tidegate.plugins.pool.threads")?,
            pool_queue: self.number("tidegate.plugins.pool.queue")?,
            max_instances: self.number("tidegate.plugins.max.instances")?,
            max_memory_bytes: self.number("tidegate.plugins.max.memory.bytes")?,
            max_upload_bytes: self.number("tidegate.plugins.max.upload.bytes")?,
            max_large_instances: self.number("tidegate.plugins.max.large.instances")?,
            prepare_timeout_ms: self.number("tidegate.plugins.prepare.timeout.ms")?,
            compiler: options
                .compiler
                .clone()
                .map_or(Compiler::InProcess, Compiler::Child),
            compile_timeout_ms: self.number("tidegate.plugins.compile.timeout.ms")?,
            compile_memory_bytes: self.number("tidegate.plugins.compile.memory.bytes")?,
            cache_dir: None,
            cache_bytes: self.number("tidegate.plugins.cache.bytes")?,
            upload_timeout_ms: self.number("tidegate.plugins.upload.timeout.ms")?,
        })
    }

    /// A key that is set but names nobody is an error: it must not mean that everybody is trusted.
    fn trusted_keys(&self) -> Result<Vec<PublicKey>, ConfigError> {
        const KEY: &str = "tidegate.plugins.trusted.keys";
        let value = self.text(KEY).unwrap_or_default();
        if value.is_empty() && !self.known.contains_key(KEY) {
            return Ok(Vec::new());
        }
        let wrong = |why: String| self.wrong(KEY, &value, why);
        let list = match value.strip_prefix('@') {
            Some(path) => read_keys(path).map_err(|why| wrong(format!("cannot read it: {why}")))?,
            None => value.replace(',', "\n"),
        };
        let keys: Vec<PublicKey> = list
            .lines()
            .map(str::trim)
            // Comments, and the frame of keys that OpenSSL wrote.
            .filter(|line| !line.is_empty() && !line.starts_with(['#', '-']))
            .map(|line| {
                line.parse()
                    .map_err(|error: KeyError| wrong(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        match keys.is_empty() {
            true => Err(wrong(
                "expected at least one public key; leave the key out to trust every plugin"
                    .to_owned(),
            )),
            false => Ok(keys),
        }
    }

    fn consumer_groups(&self) -> Result<ConsumerGroupConfig, ConfigError> {
        let assignors = self
            .text("group.consumer.assignors")
            .unwrap_or_default()
            .split(',')
            .filter_map(|name| Assignor::by_name(name.trim()))
            .collect();
        let policy = self.text("group.consumer.migration.policy");
        let config = ConsumerGroupConfig {
            session_timeout_ms: self.number("group.consumer.session.timeout.ms")?,
            session_timeout_range_ms: self.number("group.consumer.min.session.timeout.ms")?
                ..=self.number("group.consumer.max.session.timeout.ms")?,
            heartbeat_interval_ms: self.number("group.consumer.heartbeat.interval.ms")?,
            heartbeat_interval_range_ms: self.number("group.consumer.min.heartbeat.interval.ms")?
                ..=self.number("group.consumer.max.heartbeat.interval.ms")?,
            max_size: self.number("group.consumer.max.size")?,
            assignors,
            // `check` has seen that it is one of them.
            migration: MigrationPolicy::by_name(&policy.unwrap_or_default())
                .unwrap_or(MigrationPolicy::Bidirectional),
        };
        self.within(
            "group.consumer.session.timeout.ms",
            config.session_timeout_ms,
            &config.session_timeout_range_ms,
        )?;
        self.within(
            "group.consumer.heartbeat.interval.ms",
            config.heartbeat_interval_ms,
            &config.heartbeat_interval_range_ms,
        )?;
        if config.heartbeat_interval_ms >= config.session_timeout_ms {
            let key = "group.consumer.heartbeat.interval.ms";
            let why = "it must be less than group.consumer.session.timeout.ms".to_owned();
            return Err(self.wrong(key, &config.heartbeat_interval_ms.to_string(), why));
        }
        Ok(config)
    }

    fn within(
        &self,
        key: &str,
        value: i32,
        range: &RangeInclusive<i32>,
    ) -> Result<(), ConfigError> {
        if range.contains(&value) {
            return Ok(());
        }
        let (min, max) = (range.start(), range.end());
        let why = format!("its own bounds are {min} to {max}");
        Err(self.wrong(key, &value.to_string(), why))
    }

    fn plugin_limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            deadline_ms: self.number("tidegate.plugins.deadline.ms")?,
            memory_bytes: self.number("tidegate.plugins.memory.bytes")?,
            table_elements: self.number("tidegate.plugins.table.elements")?,
            instances: self.number("tidegate.plugins.instances")?,
            output_bytes: self.number("tidegate.plugins.output.bytes")?,
            output_records: self.number("tidegate.plugins.output.records")?,
            log_bytes_per_sec: self.number("tidegate.plugins.log.bytes.per.sec")?,
            call_records: self.number("tidegate.plugins.call.records")?,
            call_bytes: self.number("tidegate.plugins.call.bytes")?,
            breaker_failures: self.number("tidegate.plugins.breaker.failures")?,
            breaker_delay_ms: self.number("tidegate.plugins.breaker.delay.ms")?,
            ..Limits::default()
        })
    }

    fn consume_gap(&self) -> Result<ConsumeGap, ConfigError> {
        let clients = self
            .text("tidegate.consume.gap.clients")
            .unwrap_or_default();
        Ok(ConsumeGap {
            default: self.parsed::<GapChoice>("tidegate.consume.gap")?,
            clients: ConsumeGap::parse_clients(&clients)
                .map_err(|why| self.wrong("tidegate.consume.gap.clients", &clients, why))?,
        })
    }
}

fn read_keys(path: &str) -> std::io::Result<String> {
    const MAX_BYTES: u64 = 1 << 20;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// `HostPort` by way of `FromStr`, for `parsed`.
struct Admin(HostPort);

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Admin, String> {
        HostPort::parse(text).map(Admin)
    }
}

fn declarations(
    topics: BTreeMap<String, BTreeMap<String, String>>,
) -> Result<BTreeMap<String, TopicDeclaration>, ConfigError> {
    topics
        .into_iter()
        .map(|(name, fields)| {
            let all = fields.clone();
            let wrong = |key: String, why: String| {
                let value = all.get(&key).cloned().unwrap_or_default();
                wrong(
                    &format!("topic.{name}.{key}"),
                    &value,
                    "the configuration file",
                    why,
                )
            };
            if name.starts_with("__") {
                let why = "topics that start with __ are the broker's own".to_owned();
                return Err(wrong("name".to_owned(), why));
            }
            validate_topic_name(&name).map_err(|why| wrong("name".to_owned(), why.to_string()))?;
            let declared = declaration(fields).map_err(|(key, why)| wrong(key, why))?;
            Ok((name, declared))
        })
        .collect()
}

fn default_of(key: &str) -> Option<&'static str> {
    match own_key(key) {
        Some(own) => Some(own.default),
        None => broker_defs().iter().find(|def| def.name == key)?.default,
    }
}

fn wrong(key: &str, value: &str, origin: &str, expected: String) -> ConfigError {
    ConfigError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: origin.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::parse;
    use super::*;

    fn with(file: &str, options: &ServeOptions) -> Result<ServerConfig, ConfigError> {
        resolve(
            vec![parse(Path::new("c.properties"), file).unwrap()],
            options,
        )
    }

    fn config(file: &str) -> ServerConfig {
        with(file, &ServeOptions::default()).unwrap()
    }

    fn error(file: &str) -> String {
        with(file, &ServeOptions::default())
            .unwrap_err()
            .to_string()
    }

    /// The file of the seed, as it stands there.
    const SEED: &str = "listeners=PLAINTEXT://localhost:9092\n\
        advertised.listeners=PLAINTEXT://localhost:9092\nbroker.id=1\nlog.dirs=/tmp/kafka-logs\n\
        num.partitions=1\ndefault.replication.factor=1\nzookeeper.connect=localhost:2181\n";

    #[test]
    fn timeouts_of_consumer_groups_lie_within_their_bounds() {
        let groups = config("").consumer_groups;
        assert_eq!(
            (groups.session_timeout_ms, groups.heartbeat_interval_ms),
            (45_000, 5_000)
        );
        assert_eq!(groups.assignors, [Assignor::Uniform, Assignor::Range]);
        let file = "group.consumer.min.session.timeout.ms=6000\n\
            group.consumer.session.timeout.ms=6000\n\
            group.consumer.assignors=range\ngroup.consumer.migration.policy=disabled\n";
        let groups = config(file).consumer_groups;
        assert_eq!(
            (groups.session_timeout_ms, groups.migration),
            (6_000, MigrationPolicy::Disabled)
        );
        assert_eq!(groups.assignors, [Assignor::Range]);
        for (file, key) in [
            (
                "group.consumer.session.timeout.ms=6000",
                "group.consumer.session.timeout.ms",
            ),
            (
                "group.consumer.heartbeat.interval.ms=20000",
                "group.consumer.heartbeat.interval.ms",
            ),
            ("group.consumer.assignors=mine", "group.consumer.assignors"),
            (
                "group.consumer.migration.policy=maybe",
                "group.consumer.migration.policy",
            ),
        ] {
            assert!(error(file).contains(key), "{}", error(file));
        }
    }

    #[test]
    fn nothing_given_is_a_broker_of_this_machine() {
        let config = config("");
        assert_eq!(config.listeners, [HostPort::new("127.0.0.1", 9092)]);
        assert_eq!(config.advertised, [None]);
        assert_eq!(config.admin, HostPort::new("127.0.0.1", 9644));
        assert_eq!(config.data_dir, Path::new("./tidegate-data"));
        assert_eq!((config.node_id, config.num_partitions), (1, 1));
        assert_eq!(config.socket_request_max_bytes, 100 << 20);
        assert!(config.memory.parts[Part::Requests] >= 256 << 20);
        assert_eq!(config.plugin_limits, Limits::default());
        assert_eq!(config.topic_defaults, BTreeMap::new());
        assert_eq!(config.warnings, Vec::<String>::new());
    }

    #[test]
    fn the_seed_file_works_and_zookeeper_is_named() {
        let config = config(SEED);
        assert_eq!(config.listeners, [HostPort::new("localhost", 9092)]);
        assert_eq!(config.advertised, [Some(HostPort::new("localhost", 9092))]);
        assert_eq!(config.data_dir, Path::new("/tmp/kafka-logs"));
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].starts_with("zookeeper.connect"));
    }

    #[test]
    fn trusted_keys_are_given_or_read_and_never_silently_none() {
        const KEY: &str = "tidegate.plugins.trusted.keys";
        let key = tidegate_plugin::PrivateKey::from_seed(&[1; 32]).public();
        let keys = |value: &str| {
            with(&format!("{KEY}={value}"), &ServeOptions::default())
                .map(|config| config.trusted_keys)
        };
        assert_eq!(with("", &ServeOptions::default()).unwrap().trusted_keys, []);
        assert_eq!(keys(&key.to_string()).unwrap(), [key]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("# release\n{key}\n\n")).unwrap();
        assert_eq!(keys(&format!("@{}", file.path().display())).unwrap(), [key]);
        std::fs::write(file.path(), "# nobody\n").unwrap();
        for wrong in ["", "x", "@/nowhere", &format!("@{}", file.path().display())] {
            let error = keys(wrong).unwrap_err().to_string();
            assert!(error.contains(KEY), "{error}");
        }
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let options = ServeOptions {
            config: None,
            data_dir: Some("/tmp/a,b".into()),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            compiler: None,
        };
        let config = with(SEED, &options).unwrap();
        assert_eq!(config.listeners, [HostPort::new("127.0.0.1", 0)]);
        assert_eq!(config.advertised, [None]);
        assert_eq!(config.data_dir, Path::new("/tmp/a,b"));
        assert!(config.warnings.iter().any(|w| w.contains("--listen")));
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let file = parse(Path::new("c"), "log.dirs=/file\nnum.partitions=2").unwrap();
        let env = from_pairs(
            ENVIRONMENT.into(),
            [("log.dirs".to_owned(), "/env".to_owned())],
        );
        let config = resolve(vec![file, env.unwrap()], &ServeOptions::default()).unwrap();
        assert_eq!(config.data_dir, Path::new("/env"));
        assert_eq!(config.num_partitions, 2);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_expected() {
        let message = error("num.partitions=many");
        for part in ["num.partitions", "`many`", "c.properties", "whole number"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(error("listeners=SSL://:9093").contains("PLAINTEXT"));
        assert!(
            error("listener.security.protocol.map=A:SASL_SSL\nlisteners=A://:1")
                .contains("PLAINTEXT")
        );
        assert!(error("listeners=localhost").contains("host:port"));
        assert!(error("tidegate.produce.chain=a,a").contains("twice"));
        assert!(error("tidegate.consume.gap=never").contains("auto"));
        assert!(error("topic.t.partitions=0").contains("topic.t.partitions"));
        assert!(error("topic.__x.partitions=1").contains("broker's own"));
    }

    #[test]
    fn the_admin_port_is_not_opened_to_others_without_a_token() {
        assert!(error("admin.listener=0.0.0.0:9644").contains("admin.token"));
        assert!(error("admin.listener=:9644").contains("admin.token"));
        assert!(error("admin.listener=:9644\nadmin.token=").contains("admin.token"));
        let open = config("admin.listener=0.0.0.0:9644\nadmin.token=secret");
        assert_eq!(open.admin_token.as_deref(), Some("secret"));
        assert!(!open.topic_defaults.contains_key("admin.token"));
    }

    #[test]
    fn unknown_keys_and_more_directories_are_warnings() {
        let config = config("log.dirs=/a, /b,/c\nnum.recovery.threads.per.data.dir=1\nx.y=2");
        assert_eq!(config.data_dir, Path::new("/a"));
        let warnings = config.warnings.join("\n");
        assert!(
            warnings.contains("num.recovery.threads.per.data.dir, x.y"),
            "{warnings}"
        );
        assert!(warnings.contains("/b, /c"), "{warnings}");
    }

    #[test]
    fn a_kraft_file_leaves_the_controller_listener_closed() {
        let config = config(
            "process.roles=broker,controller\nnode.id=4\ncontroller.quorum.voters=4@localhost:9093\n\
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\nlog.retention.hours=1",
        );
        assert_eq!(config.listeners, [HostPort::new("", 9092)]);
        assert_eq!(config.node_id, 4);
        assert!(config.warnings.iter().any(|w| w.contains("CONTROLLER")));
        assert_eq!(config.topic_defaults["log.retention.hours"], "1");
    }

    #[test]
    fn the_request_budget_always_holds_one_frame() {
        let config = config("socket.request.max.bytes=1000\nqueued.max.request.bytes=10");
        assert_eq!(config.memory.parts[Part::Requests], 1000);
    }

    #[test]
    fn too_little_memory_is_refused_with_what_would_do() {
        let error = error("tidegate.memory.bytes=268435456");
        assert!(error.contains("socket.request.max.bytes"), "{error}");
        let needed = error
            .split_whitespace()
            .find_map(|word| word.parse::<usize>().ok());
        let config = config(&format!("tidegate.memory.bytes={}", needed.unwrap()));
        assert!(config.memory.parts[Part::Requests] >= config.socket_request_max_bytes);
    }
}
