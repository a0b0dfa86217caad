//! Plugins of a broker: uploading, storing, binding, and the chains that stand on topics.
//!
//! Names, versions and digests are in the cluster image; bytes are in `__tidegate_plugins`; what is compiled and bound is
//! this broker's own and is made again at each start. A chain that names something not bound here yet is
//! [`ChainSlot::Unavailable`](crate::topics::ChainSlot), and is made on a thread of this module's own.

mod bindings;
mod check;
mod chunk;
mod declare;
mod facts;
mod limits;
mod logs;
mod plan;
mod prepare;
mod report;
mod resume;
mod rollback;
mod rules;
mod shadow;
mod standing;
mod store;
mod trust;
mod upload;

#[cfg(test)]
pub(crate) mod testbed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tidegate_metadata::Image;
use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{
    Binding, BindingSpec, Digest, Engine, EngineError, EngineOptions, Limits, Plugin,
};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::broker::Broker;
use crate::config::ServerConfig;
use crate::topics::TopicChains;

use self::bindings::{Bindings, Stand};
use self::standing::Bounds;
use self::store::Sha;
use self::trust::Trust;

pub(crate) use self::limits::named as named_limits;
pub(crate) use self::logs::PluginLogs;
pub(crate) use self::report::BindingReport;
pub(crate) use self::resume::ResumeError;
pub(crate) use self::rollback::RollbackError;
pub(crate) use self::shadow::{Observed, Real, Shadow, ShadowReport};
pub(crate) use self::trust::Offered;
pub(crate) use self::upload::{RemoveError, UploadError};

/// The topic that holds the plugins' bytes.
pub(crate) const PLUGINS_TOPIC: &str = "__tidegate_plugins";
/// The topic that holds what plugins log.
pub(crate) const LOGS_TOPIC: &str = "__tidegate_plugin_logs";
/// The broker's own topics, whether they are there yet or not.
const OWN_TOPICS: [&str; 4] = [
    "__consumer_offsets",
    "__transaction_state",
    PLUGINS_TOPIC,
    LOGS_TOPIC,
];

/// Compilations and trials at one time. A plugin that makes them slow must not fill the blocking threads.
const WORKERS: usize = 2;
/// Uploads in memory at one time, each of at most `tidegate.plugins.max.upload.bytes`.
const UPLOADS: usize = 2;

pub(crate) struct PluginService {
    engine: Engine,
    limits: Limits,
    bounds: Bounds,
    max_upload_bytes: usize,
    upload_timeout: Duration,
    upload_places: Arc<Semaphore>,
    trust: Trust,
    prepare_timeout: Duration,
    /// The configuration file's part of every topic's settings.
    defaults: BTreeMap<String, String>,
    node_id: i32,
    bindings: Bindings,
    logs: PluginLogs,
    /// Digests whose bytes are whole in the topic.
    stored: Mutex<HashSet<Sha>>,
    uploads: tokio::sync::Mutex<()>,
    turn: Arc<tokio::sync::Mutex<()>>,
    workers: Arc<Semaphore>,
    /// Wakes the thread that makes what chains miss.
    wake: OnceLock<SyncSender<()>>,
    recovered: AtomicBool,
}

impl PluginService {
    pub(crate) fn new(config: &ServerConfig) -> Result<Arc<PluginService>, EngineError> {
        let options = &config.plugin_engine;
        let max_memory_bytes = options
            .max_memory_bytes
            .max(config.plugin_limits.memory_bytes);
        let engine = Engine::new(EngineOptions {
            pool_threads: options.pool_threads,
            pool_queue: options.pool_queue,
            max_instances: options.max_instances,
            max_memory_bytes,
            max_upload_bytes: options.max_upload_bytes,
            max_large_instances: options.max_large_instances,
            cache_dir: options.cache_dir.clone(),
            cache_bytes: options.cache_bytes,
            compiler: options.compiler.clone(),
            compile_timeout_ms: options.compile_timeout_ms,
            compile_memory_bytes: options.compile_memory_bytes,
            ..EngineOptions::default()
        })?;
        Ok(Arc::new(PluginService {
            engine,
            limits: config.plugin_limits.clone(),
            bounds: Bounds {
                memory_bytes: max_memory_bytes,
                instances: options.max_instances,
            },
            max_upload_bytes: options.max_upload_bytes,
            upload_timeout: Duration::from_millis(options.upload_timeout_ms),
            upload_places: Arc::new(Semaphore::new(UPLOADS)),
            trust: Trust::new(config.trusted_keys.clone()),
            prepare_timeout: Duration::from_millis(
                options
                    .prepare_timeout_ms
                    .saturating_add(options.compile_timeout_ms),
            ),
            defaults: config.topic_defaults.clone(),
            node_id: config.node_id,
            bindings: Bindings::default(),
            logs: PluginLogs::new(),
            stored: Mutex::default(),
            uploads: tokio::sync::Mutex::default(),
            turn: Arc::default(),
            workers: Arc::new(Semaphore::new(WORKERS)),
            wake: OnceLock::new(),
            recovered: AtomicBool::new(false),
        }))
    }

    /// Shared with the partitions.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn logs(&self) -> &PluginLogs {
        &self.logs
    }

    pub(crate) fn max_upload_bytes(&self) -> usize {
        self.max_upload_bytes
    }

    /// How long an upload may wait for its place and then arrive.
    pub(crate) fn upload_timeout(&self) -> Duration {
        self.upload_timeout
    }

    /// A place among the uploads that are held in memory; waits for one.
    pub(crate) async fn upload_place(&self) -> Option<OwnedSemaphorePermit> {
        self.upload_places.clone().acquire_owned().await.ok()
    }

    /// Whether the start has come past [`recover`](Self::recover).
    pub(crate) fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Reads which plugins are stored and makes what the image's chains need. To be awaited once, after `attach` and
    /// before the broker listens: what can be ready is ready after it.
    pub(crate) async fn recover(&self, broker: &Arc<Broker>) {
        let (service, theirs) = (broker.plugins.clone(), broker.clone());
        let done = tokio::task::spawn_blocking(move || {
            match store::complete(&theirs) {
                Ok(stored) => service.stored().extend(stored),
                Err(why) => tracing::error!(why, "plugins that are not compiled yet cannot run"),
            }
            service.prepare(&theirs);
        });
        if done.await.is_ok() {
            self.recovered.store(true, Ordering::Release);
        }
    }

    /// What stands on a topic now, and whether something of it is missing here. Never blocks: once the topic has these
    /// chains, [`make_up`](Self::make_up) gives it what is missing.
    pub(crate) fn chains(
        &self,
        topic: &str,
        config: &TopicConfig,
        image: &Image,
    ) -> (TopicChains, bool) {
        self.bindings.chains(topic, config, image)
    }

    /// Has what is missing made in the background, and all topics given the chains that they should have.
    pub(crate) fn make_up(&self) {
        if let Some(wake) = self.wake.get() {
            // A full channel already holds a wake-up.
            let _ = wake.try_send(());
        }
    }

    /// Held across a check and the proposal that follows it, so that two changes cannot each pass and together break
    /// rule 22.
    pub(crate) async fn change_turn(&self) -> OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }

    fn resolve(
        &self,
        image: &Image,
        own: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, String> {
        let broker = image.broker_defaults(self.node_id, &self.defaults);
        TopicConfig::resolve(own, &broker).map_err(|error| error.to_string())
    }

    /// Whether the plugin may stand there. Blocks when it has to be read and compiled. The error is a sentence.
    fn may_stand(
        &self,
        broker: &Broker,
        stand: &Stand,
        config: &TopicConfig,
    ) -> Result<(), String> {
        let plugin = self.plugin(broker, bindings::digest(&stand.key))?;
        standing::check(stand, config, &plugin, &self.limits, self.bounds)
    }

    /// The binding for one stand, made if it is not there. Blocks: it may read, compile and run the plugin.
    fn make(&self, broker: &Broker, stand: &Stand) -> Result<Arc<Binding>, String> {
        if let Some(binding) = self.bindings.get(&stand.key) {
            return Ok(binding);
        }
        self.trust.check(stand)?;
        let plugin = self.plugin(broker, bindings::digest(&stand.key))?;
        let spec = BindingSpec {
            log: self.logs.sink(stand),
            ..stand.key.spec(&self.limits)
        };
        let bound = self.engine.bind(&plugin, spec);
        let binding = bound.map_err(|error| {
            format!(
                "plugin `{}` in the chain of topic `{}`: {error}",
                stand.key.alias, stand.key.topic
            )
        })?;
        Ok(self.bindings.insert(stand.key.clone(), binding))
    }

    /// The loaded plugin. Blocks when it has to be read and compiled.
    fn plugin(&self, broker: &Broker, digest: Digest) -> Result<Arc<Plugin>, String> {
        if let Some(plugin) = self.engine.plugin(&digest) {
            return Ok(plugin);
        }
        let bytes = store::read(broker, digest.0, self.max_upload_bytes)?
            .ok_or_else(|| format!("the bytes of plugin sha256:{digest} are not on this broker"))?;
        self.engine.load(&bytes).map_err(|error| error.to_string())
    }

    /// Runs something that compiles or tries a plugin, in bounded time and with few of them at once.
    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let workers = self.workers.clone();
        let all = async move {
            let permit = workers
                .acquire_owned()
                .await
                .map_err(|error| error.to_string())?;
            // The permit goes with the job: one that outlives its time still counts.
            let job = tokio::task::spawn_blocking(move || {
                let result = job();
                drop(permit);
                result
            });
            job.await
                .map_err(|_| "the broker failed at this plugin; see its log".to_owned())?
        };
        tokio::time::timeout(self.prepare_timeout, all)
            .await
            .unwrap_or_else(|_| {
                Err(format!(
                    "the plugin was not ready within {} ms (tidegate.plugins.prepare.timeout.ms and \
                     tidegate.plugins.compile.timeout.ms)",
                    self.prepare_timeout.as_millis()
                ))
            })
    }

    fn stored(&self) -> std::sync::MutexGuard<'_, HashSet<Sha>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a topic is the broker's own, or would be.
fn is_own_topic(image: &Image, name: &str) -> bool {
    OWN_TOPICS.contains(&name) || image.topic(name).is_some_and(|topic| topic.internal)
}

/// The names of all topics that are the broker's own, or would be.
fn own_topics(image: &Image) -> Vec<String> {
    let internal = image.topics.values().filter(|topic| topic.internal);
    internal
        .map(|topic| topic.name.clone())
        .chain(OWN_TOPICS.map(str::to_owned))
        .collect()
}
