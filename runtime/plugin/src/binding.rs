//! A plugin with a configuration and limits, ready to be put into chains.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::guest::Shared;
use crate::instance::{CallError, Instance};
use crate::stats::Counters;
use crate::targets::check_targets;
use crate::{
    BindingStats, FailureKind, Limits, LogSink, OnError, OnReject, Plugin, State, TargetPattern,
    clock,
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
    targets: Vec<TargetPattern>,
    shared: Arc<Shared>,
    pub(crate) breaker: Breaker,
    pub(crate) counters: Counters,
    instances: Mutex<Instances>,
    returned: Condvar,
    siblings: Arc<Registry>,
}

#[derive(Default)]
struct Instances {
    idle: Vec<Instance>,
    live: usize,
    made: u64,
}

/// All bindings of an engine: idle instances of one may have to make room for another's.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<Binding>>>);

impl Registry {
    fn add(&self, binding: &Arc<Binding>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(binding));
    }

    /// Drops every idle instance of every binding.
    fn reclaim(&self) {
        let all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.iter()
            .filter_map(Weak::upgrade)
            .for_each(|binding| binding.drop_idle());
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
        if description.state == State::Partition {
            return Err(BindError::Unsupported(format!(
                "`{}` keeps state for each partition, which this broker does not run yet; only plugins \
                 with `state = none` can be bound",
                description.name
            )));
        }
        let config = description
            .resolve(&spec.config)
            .map_err(BindError::Config)?;
        let shared = Arc::new(Shared::new(&spec.alias, config, &spec.limits));
        let mut binding = Binding {
            plugin: Arc::clone(plugin),
            targets: Vec::new(),
            shared,
            breaker: Breaker::new(
                spec.limits.breaker_failures,
                Duration::from_millis(spec.limits.breaker_delay_ms),
            ),
            spec,
            counters: Counters::default(),
            instances: Mutex::default(),
            returned: Condvar::new(),
            siblings: Arc::clone(siblings),
        };
        let mut trial = binding
            .make_with_room(binding.deadline())
            .map_err(|e| binding.refuse(&e))?;
        if let Some(index) = plugin.exports.targets {
            let given = trial
                .targets(index, binding.deadline())
                .map_err(|e| binding.refuse(&e))?;
            binding.targets = check_targets(&given).map_err(|sentence| {
                BindError::Targets(format!(
                    "`{}` cannot be bound: {sentence}",
                    description.name
                ))
            })?;
        }
        let instances = binding
            .instances
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        instances.idle.push(trial);
        instances.live = 1;
        instances.made = 1;
        let binding = Arc::new(binding);
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

    pub fn stats(&self) -> BindingStats {
        let mut stats = self.counters.snapshot();
        let instances = self.lock();
        stats.instances = instances.live as u64;
        stats.instantiations = instances.made;
        drop(instances);
        stats.log_dropped = self.shared.log_dropped();
        stats.counters = self.shared.counters();
        stats.breaker = self.breaker.state(clock::now());
        stats
    }

    /// Closes the breaker and ends a pause, as an operator's `plugin resume` does.
    pub fn resume(&self) {
        self.breaker.succeeded();
    }

    /// Why the binding is paused, if it is.
    pub fn paused(&self) -> Option<String> {
        None
    }

    /// The values an instance sees, defaults included. Secret ones too: not for showing.
    pub(crate) fn config(&self) -> &[(String, String)] {
        &self.shared.config
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.spec.limits.deadline_ms)
    }

    /// An idle instance, a new one, or the next one returned before `until`.
    pub(crate) fn take(&self, until: Instant) -> Result<Instance, CallError> {
        let mut instances = self.lock();
        loop {
            if let Some(instance) = instances.idle.pop() {
                return Ok(instance);
            }
            if instances.live < self.spec.limits.instances.max(1) {
                break;
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(CallError::new(
                    FailureKind::Unavailable,
                    "all its instances are busy",
                ));
            }
            instances = match self.returned.wait_timeout(instances, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        instances.live += 1;
        instances.made += 1;
        drop(instances);
        let left = until.saturating_duration_since(clock::now());
        let made = self.make_with_room(left.min(self.deadline()));
        if made.is_err() {
            self.discard();
        }
        made
    }

    pub(crate) fn give_back(&self, instance: Instance) {
        self.lock().idle.push(instance);
        self.returned.notify_one();
    }

    /// An instance that was taken will not come back.
    pub(crate) fn discard(&self) {
        let mut instances = self.lock();
        instances.live = instances.live.saturating_sub(1);
        drop(instances);
        self.returned.notify_one();
    }

    fn make_with_room(&self, deadline: Duration) -> Result<Instance, CallError> {
        match self.make(deadline) {
            Err(error) if error.kind == FailureKind::Unavailable => {
                self.siblings.reclaim();
                self.make(deadline)
            }
            made => made,
        }
    }

    fn make(&self, deadline: Duration) -> Result<Instance, CallError> {
        let exports = &self.plugin.exports;
        let shared = Arc::clone(&self.shared);
        let mut instance = Instance::new(
            &self.plugin.pre,
            exports,
            shared,
            &self.spec.limits,
            deadline,
        )?;
        instance.configure(exports, deadline)?;
        Ok(instance)
    }

    fn drop_idle(&self) {
        let mut instances = self.lock();
        let idle = std::mem::take(&mut instances.idle);
        instances.live = instances.live.saturating_sub(idle.len());
        drop(instances);
        drop(idle);
        self.returned.notify_all();
    }

    fn refuse(&self, error: &CallError) -> BindError {
        let name = &self.plugin.description().name;
        match error.kind {
            FailureKind::PluginError => BindError::Refused(format!(
                "`{name}` refuses its configuration: {}",
                error.message
            )),
            _ => BindError::Failed(format!(
                "`{name}` failed while it was tried: {}",
                error.message
            )),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Instances> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
