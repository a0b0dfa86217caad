//! What every request handler and task of a broker shares.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_metadata::Image;
use tidegate_metadata::config::{InvalidConfig, TopicConfig};
use tidegate_storage::Log;
use tokio::sync::Semaphore;

use crate::answer_memory::AnswerMemory;
use crate::api::init_producer_id::ProducerIds;
use crate::config::{Part, ServerConfig};
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::live::LiveConfig;
use crate::metadata_log::MetadataLog;
use crate::metrics::Metrics;
use crate::partition::PartitionEnv;
use crate::plugins::PluginService;
use crate::quotas::Quotas;
use crate::scrub::ScrubCounters;
use crate::topics::{TopicChains, Topics};
use crate::transactions::Transactions;

pub(crate) struct Broker {
    pub(crate) config: ServerConfig,
    pub(crate) metadata: Arc<dyn MetadataLog>,
    pub(crate) log: Arc<Log>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) plugins: Arc<PluginService>,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quotas: Arc<Quotas>,
    /// What may be changed while the broker runs, as it is now.
    pub(crate) live: Arc<ArcSwap<LiveConfig>>,
    pub(crate) scrub: ScrubCounters,
    /// Bytes of request frames in memory at once; a connection waits for its share before it reads a frame.
    pub(crate) request_memory: Arc<Semaphore>,
    /// Bytes of records in answers that are not written yet.
    pub(crate) answer_memory: Arc<AnswerMemory>,
}

impl Broker {
    pub(crate) fn node_id(&self) -> i32 {
        self.config.node_id
    }

    /// For what waits at its bound: its name, the bytes it may take and those it takes now.
    pub(crate) fn memory(&self) -> [(&'static str, i64, i64); 2] {
        let bytes = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let requests = self.config.memory.parts[Part::Requests].min(Semaphore::MAX_PERMITS);
        let free = self.request_memory.available_permits();
        let (answers, taken) = self.answer_memory.read();
        [
            (
                "requests",
                bytes(requests),
                bytes(requests.saturating_sub(free)),
            ),
            ("answers", answers, taken),
        ]
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }
}

/// A topic's own configs over this broker's dynamic ones, all brokers' and the configuration file's.
pub(crate) fn resolve_config(
    config: &ServerConfig,
    image: &Image,
    own: &BTreeMap<String, String>,
) -> Result<TopicConfig, InvalidConfig> {
    let defaults = image.broker_defaults(config.node_id, &config.topic_defaults);
    TopicConfig::resolve(own, &defaults)
}

/// What the metadata log calls after every change.
pub(crate) fn follow_image(
    image: &Image,
    config: &ServerConfig,
    topics: &Topics,
    env: &Arc<PartitionEnv>,
    plugins: &PluginService,
) {
    let any_missing = Cell::new(false);
    topics.reconcile(image, env, &|topic| {
        let resolved = resolve_config(config, image, &topic.configs)
            .inspect_err(|error| {
                tracing::error!(topic = topic.name, %error, "the topic's configuration is not valid");
            })
            .ok()?;
        let (chains, missing) = match topic.internal {
            true => (TopicChains::default(), false),
            false => plugins.chains(&topic.name, &resolved, image),
        };
        any_missing.set(any_missing.get() || missing);
        Some((resolved, chains))
    });
    // Only now: what is made meanwhile would be given to topics that then get what is above.
    if any_missing.get() {
        plugins.make_up();
    }
}
