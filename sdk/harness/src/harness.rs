//! One plugin, its setting, and runs of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tidegate_plugin::{
    Binding, BindingSpec, BindingStats, Chain, ChainFailure, ChainInput, ChainOutcome, Description,
    Engine, EngineError, EngineOptions, FailureKind, Limits, LoadError, LogSink, OnError, OnReject,
    Plugin, Side, State, World,
};
use tidegate_record::Records;

use crate::record::encode;
use crate::{
    BuildError, FIRST_TIMESTAMP_MS, Log, Outcome, Project, Record, RunError::NotRepeatable,
    Verdict, limit, repeat,
};

/// A loaded plugin and the setting it runs in. The setting is changed by the methods that take `self`.
///
/// The plugin is bound at the first run, and stays bound for those that follow: a plugin that keeps state remembers, until
/// the setting changes or [`forget_state`](Self::forget_state).
pub struct Harness {
    engine: Engine,
    plugin: Arc<Plugin>,
    setting: Setting,
    bound: Mutex<Option<Arc<Bound>>>,
}

/// Why there is no harness.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    #[error("reading {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The broker would not accept it either.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Why a run has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plugin, or the engine, refuses the configuration.
    #[error("{0}")]
    Refused(String),
    #[error("the records make no batch: {0}")]
    Records(#[from] tidegate_record::BuildError),
    /// The plugin failed, and the error policy leaves it at that.
    #[error("the plugin failed: {message}")]
    Failed {
        kind: FailureKind,
        message: String,
        /// The record (its index) that it failed at, where that is known.
        record: Option<usize>,
        /// What it logged before.
        logs: Vec<Log>,
    },
    /// The plugin says that it keeps no state, and yet the same records had another outcome.
    #[error("{0}")]
    NotRepeatable(String),
}

/// All of a run but the plugin and the records.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) alias: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) on_error: OnError,
    pub(crate) on_reject: OnReject,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) append_time_ms: i64,
    pub(crate) side: Side,
    pub(crate) compacted: bool,
    pub(crate) repeat: bool,
}

impl Setting {
    fn input<'a>(&'a self, records: &'a Records) -> ChainInput<'a> {
        ChainInput {
            base_offset: (self.side == Side::Consume).then_some(0),
            side: self.side,
            keep_tombstones: self.compacted,
            fixed_keys: self.compacted,
            ..ChainInput::new(&self.topic, self.partition, self.append_time_ms, records)
        }
    }
}

/// The engine of this process, as a broker with its default options has it: each component is compiled once in it.
///
/// # Errors
/// If the engine does not start, at every call the same.
pub fn engine() -> Result<&'static Engine, EngineError> {
    static ENGINE: OnceLock<Result<Engine, EngineError>> = OnceLock::new();
    ENGINE
        .get_or_init(|| Engine::new(EngineOptions::default()))
        .as_ref()
        .map_err(Clone::clone)
}

impl Harness {
    /// Loads a component from its file.
    ///
    /// # Errors
    /// If there is none, or the broker would not accept it.
    pub fn load(path: impl AsRef<Path>) -> Result<Harness, HarnessError> {
        let path = path.as_ref();
        let wasm = std::fs::read(path).map_err(|source| HarnessError::Read {
            path: path.to_owned(),
            source,
        })?;
        Harness::from_bytes(&wasm)
    }

    /// Builds the plugin whose project is in `dir`, then loads it. What the compiler says goes to this process's standard
    /// error. For a plugin's own tests: `Harness::build(env!("CARGO_MANIFEST_DIR"))`.
    ///
    /// # Errors
    /// If it cannot be built, or the broker would not accept it.
    pub fn build(dir: impl AsRef<Path>) -> Result<Harness, HarnessError> {
        Harness::from_bytes(&Project::open(dir.as_ref())?.build()?.bytes)
    }

    /// # Errors
    /// If the broker would not accept the component.
    pub fn from_bytes(wasm: &[u8]) -> Result<Harness, HarnessError> {
        Harness::in_engine(engine()?, wasm)
    }

    /// In an engine of the caller's own, whose options differ from the defaults.
    ///
    /// # Errors
    /// If the broker would not accept the component.
    pub fn in_engine(engine: &Engine, wasm: &[u8]) -> Result<Harness, HarnessError> {
        let plugin = engine.load(wasm)?;
        let setting = Setting {
            alias: plugin.description().name.clone(),
            config: BTreeMap::new(),
            limits: Limits::default(),
            on_error: OnError::Reject,
            on_reject: OnReject::Refuse,
            topic: "test".to_owned(),
            partition: 0,
            append_time_ms: FIRST_TIMESTAMP_MS,
            side: Side::Produce,
            compacted: false,
            repeat: true,
        };
        Ok(Harness::with_setting(engine.clone(), plugin, setting))
    }

    fn with_setting(engine: Engine, plugin: Arc<Plugin>, setting: Setting) -> Harness {
        Harness {
            engine,
            plugin,
            setting,
            bound: Mutex::default(),
        }
    }

    /// Sets a key of the plugin's configuration, as the topic config `tidegate.plugin.<alias>.<key>` does.
    pub fn config(self, key: impl Into<String>, value: impl ToString) -> Self {
        let (key, value) = (key.into(), value.to_string());
        self.set(|setting| {
            setting.config.insert(key, value);
        })
    }

    /// The limits of the binding; the broker's defaults otherwise.
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|setting| setting.limits = limits)
    }

    /// Sets one limit, called as in `tidegate.limit.<alias>.<name>`: `deadline.ms`, say.
    ///
    /// # Errors
    /// A sentence, if there is no such limit.
    pub fn limit(mut self, name: &str, value: u64) -> Result<Self, String> {
        limit::set(&mut self.setting.limits, name, value)?;
        Ok(self.set(|_| {}))
    }

    /// What becomes of records whose plugin failed; otherwise they are refused, and [`run`](Self::run) is an error.
    pub fn on_error(self, policy: OnError) -> Self {
        self.set(|setting| setting.on_error = policy)
    }

    /// What becomes of records that the plugin rejects; otherwise their batch would be refused, and the verdict says so.
    pub fn on_reject(self, policy: OnReject) -> Self {
        self.set(|setting| setting.on_reject = policy)
    }

    /// The topic that the plugin is told.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        self.set(|setting| setting.topic = topic)
    }

    /// The partition that the plugin is told; 0 otherwise.
    pub fn partition(self, partition: i32) -> Self {
        self.set(|setting| setting.partition = partition)
    }

    /// The name the plugin carries in the chain; its own otherwise.
    pub fn alias(self, alias: impl Into<String>) -> Self {
        let alias = alias.into();
        self.set(|setting| setting.alias = alias)
    }

    /// Milliseconds since the Unix epoch at which the broker took the batch: the plugin's only clock.
    pub fn append_time(self, unix_ms: i64) -> Self {
        self.set(|setting| setting.append_time_ms = unix_ms)
    }

    /// Runs as a chain of the fetch path does: the first record has offset 0, and what is rejected is dropped.
    pub fn consume(self) -> Self {
        self.set(|setting| setting.side = Side::Consume)
    }

    /// Runs as on a compacted topic: records without a value bypass filters and transforms, and a changed key is a failure.
    pub fn compacted(self) -> Self {
        self.set(|setting| setting.compacted = true)
    }

    /// Runs each batch once. Otherwise a plugin that says it keeps no state is shown everything again, and compared.
    pub fn once(self) -> Self {
        self.set(|setting| setting.repeat = false)
    }

    pub fn description(&self) -> &Description {
        self.plugin.description()
    }

    pub fn world(&self) -> World {
        self.plugin.world()
    }

    /// Binds the plugin with this configuration, without a run.
    ///
    /// # Errors
    /// [`RunError::Refused`], with the sentence that whoever sets the configuration would see.
    pub fn check(&self) -> Result<(), RunError> {
        self.bind().map(|_| ())
    }

    /// Shows the plugin one batch, which is then appended.
    ///
    /// # Errors
    /// If the configuration is refused, the plugin fails, or its answers to the same records differ.
    pub fn run(&self, records: &[Record]) -> Result<Outcome, RunError> {
        self.run_batch(records, true)
    }

    /// Shows the plugin one batch whose append then fails: what a plugin remembers of it must be forgotten.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_unappended(&self, records: &[Record]) -> Result<Outcome, RunError> {
        self.run_batch(records, false)
    }

    /// The verdict on each record.
    ///
    /// # Panics
    /// Where [`run`](Self::run) has an error.
    #[track_caller]
    pub fn filter(&self, records: &[Record]) -> Vec<Verdict> {
        self.expect_run(records).verdicts()
    }

    /// The topics to which each record goes.
    ///
    /// # Panics
    /// Where [`run`](Self::run) has an error.
    #[track_caller]
    pub fn route(&self, records: &[Record]) -> Vec<Vec<String>> {
        let outcome = self.expect_run(records);
        let names = |topics: Vec<&str>| topics.into_iter().map(str::to_owned).collect();
        outcome.routed().into_iter().map(names).collect()
    }

    /// What the topic would have of the records: those that stay, with what the plugin replaced.
    ///
    /// # Panics
    /// Where [`run`](Self::run) has an error.
    #[track_caller]
    pub fn transform(&self, records: &[Record]) -> Vec<Record> {
        self.expect_run(records).stored(records)
    }

    /// Throws away what the plugin remembers, as when leadership of the partition changes.
    pub fn forget_state(&self) {
        if let Some(bound) = &*self.lock() {
            bound.chain.forget_state(self.setting.partition);
        }
    }

    /// The chain of this one plugin, bound: for what the broker's host knows of it, as its limits and figures.
    ///
    /// # Errors
    /// [`RunError::Refused`], as [`check`](Self::check).
    pub fn chain(&self) -> Result<Chain, RunError> {
        Ok(self.bind()?.chain.clone())
    }

    /// Shows the plugin one batch as [`run`](Self::run) does, once, at a time of its own.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_at(&self, append_time_ms: i64, records: &[Record]) -> Result<Outcome, RunError> {
        let setting = Setting {
            append_time_ms,
            ..self.setting.clone()
        };
        let bound = self.bind()?;
        let outcome = bound.run(&setting, records, 0);
        bound.chain.settle(self.setting.partition, true);
        outcome
    }

    /// A batch that is encoded already, to be run over and over.
    pub(crate) fn prepare(&self, records: &[Record]) -> Result<Prepared<'_>, RunError> {
        Ok(Prepared {
            setting: &self.setting,
            bound: self.bind()?,
            records: encode(records, 0)?,
        })
    }

    /// Another harness of the same plugin and setting, with nothing remembered.
    pub(crate) fn fresh(&self) -> Harness {
        Harness::with_setting(
            self.engine.clone(),
            Arc::clone(&self.plugin),
            self.setting.clone(),
        )
    }

    /// Shows the plugin the records as they stand in a client's batch from `first` on. Once, whatever the setting says.
    pub(crate) fn run_once(&self, records: &[Record], first: usize) -> Result<Outcome, RunError> {
        self.bind()?.run(&self.setting, records, first)
    }

    fn run_batch(&self, records: &[Record], appended: bool) -> Result<Outcome, RunError> {
        let outcome = self.run_once(records, 0);
        let bound = self.bind()?;
        bound.chain.settle(self.setting.partition, appended);
        let outcome = outcome?;
        if self.setting.repeat && self.description().state == State::None {
            repeat::compare(self, records, &outcome).map_err(NotRepeatable)?;
        }
        Ok(outcome)
    }

    #[track_caller]
    fn expect_run(&self, records: &[Record]) -> Outcome {
        match self.run(records) {
            Ok(outcome) => outcome,
            Err(error) => panic!("`{}`: {error}", self.setting.alias),
        }
    }

    fn bind(&self) -> Result<Arc<Bound>, RunError> {
        let mut bound = self.lock();
        if let Some(bound) = &*bound {
            return Ok(Arc::clone(bound));
        }
        let made = Arc::new(Bound::new(&self.engine, &self.plugin, &self.setting)?);
        Ok(Arc::clone(bound.insert(made)))
    }

    fn set(mut self, change: impl FnOnce(&mut Setting)) -> Self {
        change(&mut self.setting);
        self.bound = Mutex::default();
        self
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Bound>>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plugin in its setting.
struct Bound {
    binding: Arc<Binding>,
    chain: Chain,
    /// Logged since the last run, configuring included.
    logs: Arc<Mutex<Vec<Log>>>,
}

impl Bound {
    fn new(engine: &Engine, plugin: &Arc<Plugin>, setting: &Setting) -> Result<Bound, RunError> {
        let logs = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&logs);
        let spec = BindingSpec {
            alias: setting.alias.clone(),
            config: setting.config.clone(),
            limits: setting.limits.clone(),
            on_error: setting.on_error,
            on_reject: setting.on_reject,
            log: LogSink::new(move |line| {
                let log = Log {
                    level: line.level,
                    message: line.message.to_owned(),
                };
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(log);
            }),
            ..BindingSpec::default()
        };
        let binding = engine
            .bind(plugin, spec)
            .map_err(|error| RunError::Refused(error.to_string()))?;
        Ok(Bound {
            chain: Chain::new(vec![Arc::clone(&binding)]),
            binding,
            logs,
        })
    }

    fn run(
        &self,
        setting: &Setting,
        records: &[Record],
        first: usize,
    ) -> Result<Outcome, RunError> {
        let encoded = encode(records, first)?;
        let input = setting.input(&encoded);
        let before = self.binding.stats();
        let outcome = self.chain.run(&input);
        let after = self.binding.stats();
        let logs = std::mem::take(&mut *self.logs.lock().unwrap_or_else(PoisonError::into_inner));
        match outcome {
            ChainOutcome::Failed(failure) => Err(failed(failure, logs)),
            ChainOutcome::Done(result) => Ok(Outcome {
                logs,
                cpu: Duration::from_nanos(after.cpu_nanos.saturating_sub(before.cpu_nanos)),
                memory_bytes: after.memory_bytes,
                counters: risen(&before.counters, after.counters),
                ..Outcome::new(result)
            }),
        }
    }
}

/// A batch that is encoded, and the plugin bound.
pub(crate) struct Prepared<'a> {
    setting: &'a Setting,
    bound: Arc<Bound>,
    records: Records,
}

impl Prepared<'_> {
    pub(crate) fn run(&self) -> Result<(), RunError> {
        let outcome = self.bound.chain.run(&self.setting.input(&self.records));
        self.bound.chain.settle(self.setting.partition, true);
        match outcome {
            ChainOutcome::Done(_) => Ok(()),
            ChainOutcome::Failed(failure) => Err(failed(failure, Vec::new())),
        }
    }

    pub(crate) fn stats(&self) -> BindingStats {
        self.bound.binding.stats()
    }
}

fn failed(failure: ChainFailure, logs: Vec<Log>) -> RunError {
    RunError::Failed {
        kind: failure.kind,
        message: failure.message,
        record: failure.record,
        logs,
    }
}

/// By how much each counter rose; without those that did not.
fn risen(before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let was = |name: &str| before.get(name).copied().unwrap_or(0);
    after
        .into_iter()
        .map(|(name, total)| {
            let rise = total.saturating_sub(was(&name));
            (name, rise)
        })
        .filter(|(_, rise)| *rise > 0)
        .collect()
}
