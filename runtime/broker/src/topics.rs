//! The live side of the cluster image: topics and partition handles, found by name, by topic id and by partition id.
//!
//! Reads are lock-free; one reconciler at a time makes the maps follow the image.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tidegate_metadata::Image;
use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{Chain, PoolKey};
use tidegate_record::{LeaderEpoch, PartitionId};
use tidegate_storage::{PartitionEntry, Progress};

use crate::partition::{Leadership, Partition, PartitionEnv};
use crate::plugins::Shadow;

/// What a topic's chain config amounts to on this broker right now.
#[derive(Clone, Default)]
pub(crate) enum ChainSlot {
    #[default]
    None,
    Ready(Arc<Chain>),
    /// Bound but not runnable here (yet): produces are answered with a retriable error and this sentence.
    Unavailable(String),
}

#[derive(Clone, Default)]
pub(crate) struct TopicChains {
    pub(crate) produce: ChainSlot,
    pub(crate) consume: ChainSlot,
    /// Runs beside `produce`, without effect; `None` also while it cannot run here.
    pub(crate) shadow: Option<Arc<Shadow>>,
}

/// A topic's identity, and its settings, which change at a batch boundary.
pub(crate) struct TopicSettings {
    name: String,
    id: [u8; 16],
    internal: bool,
    config: ArcSwap<TopicConfig>,
    chains: ArcSwap<TopicChains>,
}

pub(crate) struct Topic {
    pub(crate) settings: Arc<TopicSettings>,
    /// Indexed by partition number; `None` where this broker could not open it.
    partitions: ArcSwap<Vec<Option<Arc<Partition>>>>,
}

#[derive(Default)]
pub(crate) struct Topics {
    by_name: ArcSwap<HashMap<String, Arc<Topic>>>,
    by_id: ArcSwap<HashMap<[u8; 16], Arc<Topic>>>,
    by_partition: ArcSwap<HashMap<PartitionId, Arc<Partition>>>,
    reconciling: Mutex<()>,
}

impl TopicSettings {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn internal(&self) -> bool {
        self.internal
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    pub(crate) fn chains(&self) -> Arc<TopicChains> {
        self.chains.load_full()
    }

    pub(crate) fn set_chains(&self, chains: TopicChains) {
        self.chains.store(Arc::new(chains));
    }

    /// Topics share the plugin pool under this key, so that none of them can hold more than its part.
    pub(crate) fn pool_key(&self) -> PoolKey {
        let mut key = [0; 8];
        key.copy_from_slice(&self.id[..8]);
        PoolKey(u64::from_be_bytes(key))
    }
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.partitions.load().get(index)?.clone()
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.load().len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.load().iter().flatten().cloned().collect()
    }
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.load().get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: &[u8; 16]) -> Option<Arc<Topic>> {
        self.by_id.load().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name.load().values().cloned().collect()
    }

    /// The store's writer thread reports; each partition's engine hears of it.
    pub(crate) fn progressed(&self, progress: &[Progress]) {
        let partitions = self.by_partition.load();
        for item in progress {
            if let Some(partition) = partitions.get(&item.id) {
                partition.progressed(item);
            }
        }
    }

    /// Makes the handles follow the image. Opens and deletes partitions, so it belongs on a blocking thread.
    ///
    /// `resolve` gives a topic's settings: its resolved configuration and the chains that stand on it. Without them a
    /// topic keeps what it had, and a new one is not served: a default would let records past a chain.
    pub(crate) fn reconcile(
        &self,
        image: &Image,
        env: &Arc<PartitionEnv>,
        resolve: &dyn Fn(&tidegate_metadata::Topic) -> Option<(TopicConfig, TopicChains)>,
    ) {
        let _one_at_a_time = self.reconciling.lock().unwrap_or_else(|e| e.into_inner());
        let old = self.by_name.load_full();
        let mut by_name = HashMap::with_capacity(image.topics.len());
        for wanted in image.topics.values() {
            let known = old
                .get(&wanted.name)
                .filter(|topic| topic.settings.id == wanted.id);
            let topic = match (known, resolve(wanted)) {
                (Some(topic), Some((config, chains))) => {
                    topic.reconfigure(wanted, config, chains);
                    topic.clone()
                }
                (Some(topic), None) => topic.clone(),
                (None, Some((config, chains))) => Arc::new(Topic::new(wanted, config, chains)),
                (None, None) => continue,
            };
            topic.open_partitions(wanted, env);
            by_name.insert(wanted.name.clone(), topic);
        }
        self.publish(by_name);
        let kept = self.by_name.load();
        for (name, topic) in old.iter() {
            let gone = kept
                .get(name)
                .is_none_or(|now| now.settings.id != topic.settings.id);
            if gone {
                topic.delete(env);
            }
        }
    }

    fn publish(&self, by_name: HashMap<String, Arc<Topic>>) {
        let by_id = by_name
            .values()
            .map(|topic| (topic.settings.id, topic.clone()))
            .collect();
        let by_partition = by_name
            .values()
            .flat_map(|topic| topic.partitions())
            .map(|partition| (partition.id, partition))
            .collect();
        self.by_partition.store(Arc::new(by_partition));
        self.by_id.store(Arc::new(by_id));
        self.by_name.store(Arc::new(by_name));
    }
}

impl Topic {
    fn new(wanted: &tidegate_metadata::Topic, config: TopicConfig, chains: TopicChains) -> Topic {
        Topic {
            settings: Arc::new(TopicSettings {
                name: wanted.name.clone(),
                id: wanted.id,
                internal: wanted.internal,
                config: ArcSwap::from_pointee(config),
                chains: ArcSwap::from_pointee(chains),
            }),
            partitions: ArcSwap::default(),
        }
    }

    fn reconfigure(
        &self,
        wanted: &tidegate_metadata::Topic,
        config: TopicConfig,
        chains: TopicChains,
    ) {
        self.settings.config.store(Arc::new(config));
        self.settings.set_chains(chains);
        for (partition, entry) in self.partitions().iter().zip(&wanted.partitions) {
            partition.reconfigure(entry.replicas.clone());
        }
    }

    fn open_partitions(&self, wanted: &tidegate_metadata::Topic, env: &Arc<PartitionEnv>) {
        let known = self.partitions.load_full();
        if known.len() == wanted.partitions.len() && known.iter().all(Option::is_some) {
            return;
        }
        let mut partitions = known.as_ref().clone();
        partitions.resize(wanted.partitions.len(), None);
        // With one sync for all of them; whichever is refused is tried alone below, and says why.
        let entries: Vec<_> = (0..)
            .zip(partitions.iter().zip(&wanted.partitions))
            .filter(|(_, (slot, _))| slot.is_none())
            .map(|(index, (_, entry))| self.entry(index, entry))
            .collect();
        if let Err(error) = env.log.ensure_partitions(&entries) {
            let topic = self.settings.name();
            tracing::warn!(topic, %error, "the partitions cannot be created together");
        }
        for (index, (slot, entry)) in (0..).zip(partitions.iter_mut().zip(&wanted.partitions)) {
            if slot.is_none() {
                *slot = self.open(index, entry, env);
            }
        }
        self.partitions.store(Arc::new(partitions));
    }

    fn entry(&self, index: i32, entry: &tidegate_metadata::Partition) -> PartitionEntry {
        PartitionEntry {
            id: entry.id,
            topic_id: self.settings.id,
            index,
            log_start: 0,
        }
    }

    fn open(
        &self,
        index: i32,
        entry: &tidegate_metadata::Partition,
        env: &Arc<PartitionEnv>,
    ) -> Option<Arc<Partition>> {
        let stored = self.entry(index, entry);
        let leadership = Leadership {
            epoch: LeaderEpoch(entry.leader_epoch),
            replicas: entry.replicas.clone(),
            isr: entry.isr.clone(),
        };
        let opened = env
            .log
            .ensure_partition(stored)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                Partition::open(
                    entry.id,
                    index,
                    self.settings.clone(),
                    env.clone(),
                    leadership,
                )
                .map_err(|error| error.to_string())
            });
        opened
            .inspect_err(|error| {
                tracing::error!(topic = self.settings.name, index, %error, "cannot open partition");
            })
            .ok()
    }

    fn delete(&self, env: &Arc<PartitionEnv>) {
        let partitions = self.partitions();
        partitions.iter().for_each(|partition| partition.resign());
        let ids: Vec<_> = partitions.iter().map(|partition| partition.id).collect();
        if let Err(error) = env.log.delete_partitions(&ids) {
            let topic = self.settings.name();
            tracing::error!(topic, %error, "cannot delete the partitions");
        }
    }
}
