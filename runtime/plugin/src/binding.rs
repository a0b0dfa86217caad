//! A plugin with a configuration and limits, ready to be put into chains.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::failure::CallError;
use crate::guest::Shared;
use crate::instance::Instance;
use crate::instances::{Instances, Taken};
use crate::stats::Counters;
use crate::targets::check_targets;
use crate::verdict::Terms;
use crate::{
    BindingStats, Columns, FailureKind, Limits, LogLevel, LogSink, OnError, OnReject, Plugin, Side,
    State, TargetPattern, World, clock,
};

#[derive(Clone, Debug, Default)]
pub struct BindingSpec {
    /// The name this plugin carries in the chain.
    pub alias: String,
    /// Only what is set; the plugin's defaults fill the rest.
    pub config: BTreeMap<String, String>,
    pub limits: Limits,
    pub on_error: OnError,
    pub on_reject: OnReject,
    /// Where the guest's log lines go beside the broker's own log.
    pub log: LogSink,
    /// The chains it is for. A plugin that keeps state is bound on the produce side only.
    pub side: Side,
}

/// Why a plugin was not bound. Each is a sentence for whoever set the configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BindError {
    /// A key is unknown, missing or of another type.
    #[error("{0}")]
    Config(String),
    /// The plugin's own `configure` or `targets` said no.
    #[error("{0}")]
    Refused(String),
    /// The engine cannot do that (state, a limit beyond its own).
    #[error("{0}")]
    Unsupported(String),
    /// The trial failed: a trap, a deadline, no memory.
    #[error("{0}")]
    Failed(String),
    /// What `targets` gave is not a list of topics.
    #[error("{0}")]
    Targets(String),
}

/// Shared by the chains it stands in; its instances are reused across calls.
pub struct Binding {
    plugin: Arc<Plugin>,
    spec: BindingSpec,
    columns: Columns,
    targets: Vec<TargetPattern>,
    shared: Arc<Shared>,
    pub(crate) breaker: Breaker,
    pub(crate) counters: Counters,
    instances: Instances,
    /// Why it is left alone until somebody resumes it.
    paused: Mutex<Option<String>>,
    siblings: Arc<Registry>,
}

/// All bindings of an engine: idle instances of one may have to make room for another's.
pub(crate) struct Registry {
    bindings: Mutex<Vec<Weak<Binding>>>,
    /// Partitions whose state may be held, over all bindings: their instances cannot make room for others.
    max_partitions: usize,
}

impl Registry {
    /// Half of the engine's instances may hold state.
    pub(crate) fn new(max_instances: usize) -> Registry {
        Registry {
            bindings: Mutex::default(),
            max_partitions: (max_instances / 2).max(1),
        }
    }

    fn add(&self, binding: &Arc<Binding>) {
        let mut all = self.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(binding));
    }

    /// Drops every idle instance of every binding.
    fn reclaim(&self) {
        let all = self.lock().clone();
        all.iter()
            .filter_map(Weak::upgrade)
            .for_each(|binding| binding.drop_idle());
    }

    /// Partitions whose state is held, those just being made among them.
    fn partitions(&self) -> usize {
        let all = self.lock().clone();
        let held = all.iter().filter_map(Weak::upgrade);
        held.map(|binding| binding.instances.partitions()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Binding>>> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Binding {
    /// Checks the configuration, then tries it in an instance, which stays as the first of the pool.
    pub(crate) fn new(
        plugin: &Arc<Plugin>,
        spec: BindingSpec,
        siblings: &Arc<Registry>,
    ) -> Result<Arc<Binding>, BindError> {
        let description = plugin.description();
        let name = &description.name;
        if description.state == State::Partition && spec.side == Side::Consume {
            return Err(BindError::Unsupported(format!(
                "`{name}` keeps state for each partition, and consumers rewind: bind it in \
                 `tidegate.produce.chain` instead"
            )));
        }
        let config = description
            .resolve(&spec.config)
            .map_err(BindError::Config)?;
        let secrets = description.config.iter().filter(|key| key.secret);
        let shared = Shared::new(&spec.alias, config, &spec.limits, spec.log.clone())
            .with_secrets(secrets.map(|key| key.name.as_str()));
        let shared = Arc::new(shared);
        let deadline = Duration::from_millis(spec.limits.deadline_ms);
        let tried = make_with_room(plugin, &shared, &spec.limits, deadline, siblings);
        let (mut trial, narrowed) = tried.map_err(|error| refuse(name, &shared, &error))?;
        let targets = match plugin.exports.targets {
            None => Vec::new(),
            Some(index) => {
                let given = trial
                    .targets(index, deadline)
                    .map_err(|error| refuse(name, &shared, &error))?;
                check_targets(&given).map_err(|sentence| {
                    BindError::Targets(format!("`{name}` cannot be bound: {sentence}"))
                })?
            }
        };
        let described = description.columns;
        let binding = Arc::new(Binding {
            plugin: Arc::clone(plugin),
            columns: narrowed.map_or(described, |columns| described.intersection(columns)),
            targets,
            shared,
            breaker: Breaker::new(
                spec.limits.breaker_failures,
                Duration::from_millis(spec.limits.breaker_delay_ms),
            ),
            spec,
            counters: Counters::default(),
            instances: Instances::with(trial),
            paused: Mutex::default(),
            siblings: Arc::clone(siblings),
        });
        siblings.add(&binding);
        Ok(binding)
    }

    pub fn alias(&self) -> &str {
        &self.spec.alias
    }

    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    pub fn on_error(&self) -> OnError {
        self.spec.on_error
    }

    pub fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    /// What a router may name, sorted; empty for a filter.
    pub fn targets(&self) -> &[TargetPattern] {
        &self.targets
    }

    pub fn on_reject(&self) -> OnReject {
        self.spec.on_reject
    }

    pub fn side(&self) -> Side {
        self.spec.side
    }

    /// What is lowered for it: the columns that the plugin describes, or fewer where its `configure` narrowed them.
    pub fn columns(&self) -> Columns {
        self.columns
    }

    pub fn keeps_state(&self) -> bool {
        self.plugin.description().state == State::Partition
    }

    pub fn stats(&self) -> BindingStats {
        let mut stats = self.counters.snapshot();
        (stats.instances, stats.instantiations) = self.instances.counts();
        stats.memory_bytes = self.shared.memory_bytes() as u64;
        stats.log_dropped = self.shared.log_dropped();
        for (limit, hits) in [
            ("log.rate", stats.log_dropped),
            ("counters", self.shared.counters_ignored()),
        ] {
            if hits > 0 {
                stats.limit_hits.insert(limit, hits);
            }
        }
        stats.counters = self.shared.counters();
        stats.breaker = self.breaker.state(clock::now());
        stats.paused = self.paused();
        stats
    }

    /// Closes the breaker and ends a pause, as an operator's `plugin resume` does.
    pub fn resume(&self) {
        self.breaker.succeeded();
        *self.lock_paused() = None;
    }

    /// Why the binding is paused, if it is.
    pub fn paused(&self) -> Option<String> {
        self.lock_paused().clone()
    }

    /// The first reason stays: what follows may be no more than its echo.
    pub(crate) fn pause(&self, reason: String) {
        self.lock_paused().get_or_insert(reason);
    }

    /// The values an instance sees, defaults included. Secret ones too: not for showing.
    pub(crate) fn config(&self) -> &[(String, String)] {
        &self.shared.config
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.spec.limits.deadline_ms)
    }

    /// What an answer of the plugin must keep to.
    pub(crate) fn terms(&self, fixed_keys: bool) -> Terms<'_> {
        Terms {
            limits: &self.spec.limits,
            targets: &self.targets,
            writes: self.plugin.description().writes,
            fixed_keys: fixed_keys && self.plugin.world() == World::Transform,
        }
    }

    /// A line of the host about this plugin, among the plugin's own and within their rate.
    pub(crate) fn log(&self, topic: &str, partition: i32, level: LogLevel, message: &str) {
        self.shared.log(topic, partition, level, message);
    }

    /// The partition's instance where the plugin keeps state; else an idle one, a new one, or the next one returned
    /// before `until`.
    pub(crate) fn take(&self, partition: i32, until: Instant) -> Result<Instance, CallError> {
        let max = self.spec.limits.instances.max(1);
        let state_of = self.state_of(partition);
        let unavailable = |message: String| CallError::new(FailureKind::Unavailable, message);
        match self.instances.take(state_of, max, until) {
            Taken::Instance(instance) => return Ok(instance),
            Taken::Room => {}
            Taken::Busy => {
                return Err(CallError::limit(
                    FailureKind::Unavailable,
                    "instances",
                    format!("all its instances are busy (limit `instances`: {max})"),
                ));
            }
            Taken::InUse => {
                let message = format!("its state of partition {partition} is in use");
                return Err(unavailable(message));
            }
        }
        let max_partitions = self.siblings.max_partitions;
        if state_of.is_some() && self.siblings.partitions() > max_partitions {
            self.discard(partition);
            return Err(unavailable(format!(
                "this broker holds the state of {max_partitions} partitions for plugins, as many as half of \
                 `tidegate.plugins.max.instances` allows"
            )));
        }
        let left = until.saturating_duration_since(clock::now());
        let made = make_with_room(
            &self.plugin,
            &self.shared,
            &self.spec.limits,
            left.min(self.deadline()),
            &self.siblings,
        );
        match made {
            Ok((instance, _)) => Ok(instance),
            Err(error) => {
                self.discard(partition);
                Err(error)
            }
        }
    }

    pub(crate) fn give_back(&self, partition: i32, instance: Instance) {
        self.shared.saw_memory(instance.memory_bytes());
        self.instances.give_back(self.state_of(partition), instance);
    }

    /// An instance that was taken will not come back.
    pub(crate) fn discard(&self, partition: i32) {
        self.instances.discard(self.state_of(partition));
        self.look_at_memory();
    }

    /// The partition's next batch meets an instance that knows nothing. Only where the plugin keeps state.
    pub(crate) fn forget_state(&self, partition: i32) {
        if self.keeps_state() {
            self.instances.forget(partition);
            self.look_at_memory();
        }
    }

    fn state_of(&self, partition: i32) -> Option<i32> {
        self.keeps_state().then_some(partition)
    }

    fn drop_idle(&self) {
        self.instances.drop_idle();
        self.look_at_memory();
    }

    fn look_at_memory(&self) {
        self.shared
            .set_memory_bytes(self.instances.resting_memory());
    }

    fn lock_paused(&self) -> MutexGuard<'_, Option<String>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance, and the columns that its `configure` narrowed, if it did. Where the engine has no room, idle instances of
/// all bindings make some.
fn make_with_room(
    plugin: &Plugin,
    shared: &Arc<Shared>,
    limits: &Limits,
    deadline: Duration,
    siblings: &Registry,
) -> Result<(Instance, Option<Columns>), CallError> {
    match make(plugin, shared, limits, deadline) {
        Err(error) if error.kind == FailureKind::Unavailable => {
            siblings.reclaim();
            make(plugin, shared, limits, deadline)
        }
        made => made,
    }
}

fn make(
    plugin: &Plugin,
    shared: &Arc<Shared>,
    limits: &Limits,
    deadline: Duration,
) -> Result<(Instance, Option<Columns>), CallError> {
    let exports = &plugin.exports;
    let mut instance = Instance::new(&plugin.pre, exports, Arc::clone(shared), limits, deadline)?;
    let narrowed = instance.configure(exports, deadline)?;
    Ok((instance, narrowed))
}

/// The sentence stands in the broker's log too, where a secret of the configuration must not.
fn refuse(name: &str, shared: &Shared, error: &CallError) -> BindError {
    let said = shared.hide(&error.message);
    match error.kind {
        FailureKind::PluginError => {
            BindError::Refused(format!("`{name}` refuses its configuration: {said}"))
        }
        _ => BindError::Failed(format!("`{name}` failed while it was tried: {said}")),
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding")
            .field("alias", &self.spec.alias)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}
