//! Hosts the consumer group coordinators: one pure state machine for each partition of `__consumer_offsets`.
//!
//! A coordinator says what to append and whom to answer; this module does it. Everything of one coordinator happens
//! under its lock, so its records reach the partition in the order in which it decided them. Their outcomes are told in
//! that order too, by one task for each coordinator, and transaction markers take the same way.
//!
//! Its records stand in a lane: where the log refuses one, it refuses those behind it, until the coordinator has heard of
//! it and a new lane begins. So the log always holds what the coordinator was at some time.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tidegate_coordinator::{
    AppendId, ConsumerOptions, ConsumerTimeouts, Coordinator, DescribedGroup, Effect, GroupError,
    GroupOptions, ListedGroup, Reply, Request, Token, Topics, partition_for_group,
};
use tidegate_metadata::Command;
use tidegate_record::{BatchBuilder, Codec, NO_SEQUENCE, Producer, RecordParts};
use tidegate_storage::Lane;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::config::{ConsumerGroupConfig, ServerConfig};
use crate::partition::{Marker, Partition, ProduceOutcome, Replayed};

/// Kafka's own name and format, so that tools that read it work.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

pub(crate) struct Groups {
    options: GroupOptions,
    /// One for each partition of the offsets topic; empty until the topic is there.
    shards: ArcSwap<Vec<Arc<Shard>>>,
    creating: AsyncMutex<()>,
    /// The image's topics as groups see them, made anew when the image has others.
    topics: Mutex<(Arc<ImageTopics>, Arc<Topics>)>,
}

/// The image's configs of groups.
type GroupConfigs = Arc<BTreeMap<String, BTreeMap<String, String>>>;

/// The group config that overrules `group.consumer.session.timeout.ms`.
pub(crate) const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// The group config that overrules `group.consumer.heartbeat.interval.ms`.
pub(crate) const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";

/// Session timeout and heartbeat interval of a group's own, in milliseconds.
pub(crate) fn group_timeouts(configs: &BTreeMap<String, String>) -> (Option<i32>, Option<i32>) {
    let number = |name: &str| -> Option<i32> { configs.get(name)?.trim().parse().ok() };
    (number(SESSION_TIMEOUT), number(HEARTBEAT_INTERVAL))
}

type ImageTopics = BTreeMap<String, Arc<tidegate_metadata::Topic>>;

struct Shard {
    partition: Arc<Partition>,
    state: Mutex<ShardState>,
    next_token: AtomicU64,
    /// What is on its way to the log, in its order. Nothing gets in without a place in the log's own bounded queue.
    under_way: mpsc::UnboundedSender<UnderWay>,
}

struct ShardState {
    coordinator: Coordinator,
    waiting: HashMap<Token, oneshot::Sender<Reply>>,
    /// Where appends stand, but for those of transactions, which are refused for reasons of the producer's.
    lane: Lane,
    /// How many transaction markers were handed to the partition.
    markers: u64,
    /// What the coordinator's timeouts of single groups were made from.
    group_configs: GroupConfigs,
}

/// Something handed to the partition, and whom to tell.
enum UnderWay {
    Append {
        id: AppendId,
        in_lane: bool,
        outcome: oneshot::Receiver<ProduceOutcome>,
    },
    Marker {
        marker: Marker,
        outcome: oneshot::Receiver<ProduceOutcome>,
        told: oneshot::Sender<ProduceOutcome>,
    },
}

impl Groups {
    pub(crate) fn new(config: &ServerConfig) -> Groups {
        let session = |ms: i64| i32::try_from(ms).unwrap_or(i32::MAX);
        Groups {
            options: GroupOptions {
                initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
                session_min_ms: session(config.group_min_session_timeout_ms),
                session_max_ms: session(config.group_max_session_timeout_ms),
                offset_metadata_max: config.offset_metadata_max_bytes,
                max_group_size: config.group_max_size,
                offsets_retention_ms: config.offsets_retention_ms,
                consumer: consumer_options(&config.consumer_groups),
            },
            topics: Mutex::default(),
            shards: ArcSwap::default(),
            creating: AsyncMutex::new(()),
        }
    }

    /// Replays the offsets topic, if there is one yet.
    pub(crate) async fn load(&self, broker: &Arc<Broker>) {
        let Some(topic) = broker.topics.get(OFFSETS_TOPIC) else {
            return;
        };
        let options = self.options.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            topic
                .partitions()
                .into_iter()
                .map(|p| Shard::load(p, &options))
                .collect::<Vec<_>>()
        });
        match loaded.await {
            Ok(shards) => self.shards.store(Arc::new(shards)),
            Err(error) => tracing::error!(%error, "group coordinators cannot be loaded"),
        }
    }

    /// Asks the coordinator of a group, and waits for its answer however long it takes to come.
    pub(crate) async fn ask(
        &self,
        broker: &Arc<Broker>,
        group: &str,
        request: Request,
    ) -> Result<Reply, GroupError> {
        let index = self.partition_of(broker, group).await?;
        let shard = self.shard(index);
        let shard = shard.ok_or(GroupError::CoordinatorNotAvailable)?;
        shard.know(&self.topics(broker));
        let configs = broker.image().group_configs.clone();
        shard.configure(configs, &broker.config.consumer_groups);
        shard.ask(request).await
    }

    /// The partition of the offsets topic that holds a group.
    pub(crate) async fn partition_of(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<i32, GroupError> {
        let shards = self.shards(broker).await?;
        let count = i32::try_from(shards.len()).unwrap_or(i32::MAX);
        Ok(partition_for_group(group, count))
    }

    /// How many transaction markers were written to a partition of the offsets topic: an offset in a transaction may only
    /// be appended while this is what it was when the transaction was seen to be open.
    pub(crate) fn markers(&self, index: i32) -> u64 {
        self.shard(index).map_or(0, |shard| shard.lock().markers)
    }

    /// Asks the coordinator of a partition unless a marker was written there since `markers`: `None`.
    pub(crate) async fn ask_before_marker(
        &self,
        index: i32,
        request: Request,
        markers: u64,
    ) -> Result<Option<Reply>, GroupError> {
        let shard = self.shard(index);
        shard
            .ok_or(GroupError::CoordinatorNotAvailable)?
            .ask_if(request, |state| state.markers == markers)
            .await
    }

    /// Ends a transaction in a partition of the offsets topic: the marker goes to the log, and when it is there the
    /// coordinator counts or forgets the transaction's offsets. `None`: the partition is not there, or was closed.
    pub(crate) async fn end_transaction(
        &self,
        index: i32,
        marker: Marker,
    ) -> Option<ProduceOutcome> {
        let (told, outcome) = oneshot::channel();
        {
            let shard = self.shard(index)?;
            let mut state = shard.lock();
            state.markers += 1;
            let under_way = UnderWay::Marker {
                marker,
                outcome: shard.partition.end_transaction(marker),
                told,
            };
            shard.hand_over(under_way);
        }
        outcome.await.ok()
    }

    fn shard(&self, index: i32) -> Option<Arc<Shard>> {
        let index = usize::try_from(index).ok()?;
        self.shards.load().get(index).cloned()
    }

    /// The cluster's topics as groups see them.
    fn topics(&self, broker: &Broker) -> Arc<Topics> {
        let mut known = self.topics.lock().unwrap_or_else(|e| e.into_inner());
        // Read under the lock, so that versions follow the images.
        let image = broker.image();
        if !Arc::ptr_eq(&known.0, &image.topics) {
            let topics = image.topics.values().map(|topic| {
                let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                (topic.name.clone(), topic.id, partitions)
            });
            let topics = Topics::new(known.1.version + 1, topics);
            *known = (image.topics.clone(), Arc::new(topics));
        }
        known.1.clone()
    }

    /// Groups of every coordinator that pass the filters.
    pub(crate) async fn list(
        &self,
        states: Vec<String>,
        types: Vec<String>,
    ) -> Result<Vec<ListedGroup>, GroupError> {
        let mut groups = Vec::new();
        for shard in self.shards.load_full().iter() {
            let request = Request::List {
                states_filter: states.clone(),
                types_filter: types.clone(),
            };
            if let Reply::List(listed) = shard.ask(request).await? {
                groups.extend(listed?);
            }
        }
        Ok(groups)
    }

    pub(crate) async fn describe(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<DescribedGroup, GroupError> {
        let request = Request::Describe {
            group: group.to_owned(),
        };
        match self.ask(broker, group, request).await? {
            Reply::Describe(described) => described,
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    /// Does what time has made due in every coordinator.
    pub(crate) fn tick(&self) {
        let now = now_ms();
        for shard in self.shards.load().iter() {
            shard.tick(&mut shard.lock(), now);
        }
    }

    /// Lets go of offsets that outlived `offsets.retention.minutes`.
    pub(crate) fn expire_offsets(&self) {
        for shard in self.shards.load().iter() {
            let mut state = shard.lock();
            let effects = state.coordinator.expire_offsets(now_ms());
            shard.perform(&mut state, effects);
        }
    }

    pub(crate) fn topic_deleted(&self, topic: &str) {
        for shard in self.shards.load().iter() {
            let mut state = shard.lock();
            let effects = state.coordinator.topic_deleted(topic, now_ms());
            shard.perform(&mut state, effects);
        }
    }

    /// Makes sure that there are coordinators: creates the offsets topic at the first request that needs one.
    pub(crate) async fn ensure(&self, broker: &Arc<Broker>) -> Result<(), GroupError> {
        self.shards(broker).await.map(drop)
    }

    async fn shards(&self, broker: &Arc<Broker>) -> Result<Arc<Vec<Arc<Shard>>>, GroupError> {
        let shards = self.shards.load_full();
        if !shards.is_empty() {
            return Ok(shards);
        }
        let _turn = self.creating.lock().await;
        let shards = self.shards.load_full();
        if !shards.is_empty() {
            return Ok(shards);
        }
        if broker.topics.get(OFFSETS_TOPIC).is_none() {
            let command = offsets_topic(broker.config.offsets_topic_partitions);
            broker.metadata.propose(command).await.map_err(|error| {
                tracing::error!(%error, "cannot create {OFFSETS_TOPIC}");
                GroupError::CoordinatorNotAvailable
            })?;
        }
        self.load(broker).await;
        let shards = self.shards.load_full();
        match shards.is_empty() {
            true => Err(GroupError::CoordinatorNotAvailable),
            false => Ok(shards),
        }
    }
}

/// Bounds of the file may have changed since a config was set, so they are applied again.
fn timeouts_of(
    configs: &GroupConfigs,
    config: &ConsumerGroupConfig,
) -> BTreeMap<String, ConsumerTimeouts> {
    let within = |ms: Option<i32>, default: i32, range: &std::ops::RangeInclusive<i32>| {
        ms.filter(|ms| range.contains(ms)).unwrap_or(default)
    };
    let timeouts = |(group, own): (&String, &BTreeMap<String, String>)| {
        let (session, heartbeat) = group_timeouts(own);
        let timeouts = ConsumerTimeouts {
            session_timeout_ms: within(
                session,
                config.session_timeout_ms,
                &config.session_timeout_range_ms,
            ),
            heartbeat_interval_ms: within(
                heartbeat,
                config.heartbeat_interval_ms,
                &config.heartbeat_interval_range_ms,
            ),
        };
        (group.clone(), timeouts)
    };
    configs.iter().map(timeouts).collect()
}

fn consumer_options(config: &ConsumerGroupConfig) -> ConsumerOptions {
    ConsumerOptions {
        timeouts: ConsumerTimeouts {
            session_timeout_ms: config.session_timeout_ms,
            heartbeat_interval_ms: config.heartbeat_interval_ms,
        },
        timeouts_of: BTreeMap::new(),
        max_size: config.max_size,
        assignors: config.assignors.clone(),
        migration: config.migration,
    }
}

fn offsets_topic(partitions: i32) -> Command {
    let configs = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
    ];
    Command::CreateTopic {
        name: OFFSETS_TOPIC.to_owned(),
        id: *uuid::Uuid::new_v4().as_bytes(),
        partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: configs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        internal: true,
    }
}

impl Shard {
    fn load(partition: Arc<Partition>, options: &GroupOptions) -> Arc<Shard> {
        let mut coordinator = Coordinator::new(options.clone());
        let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
        let read = partition.replay(&mut |replayed| {
            let loaded = match replayed {
                Replayed::Record {
                    producer_id,
                    key,
                    value,
                } => match producer_id {
                    Some(id) => coordinator.load_in_transaction(id, key, value),
                    None => coordinator.load(key, value),
                },
                Replayed::Marker {
                    producer_id,
                    commit,
                } => {
                    coordinator.transaction_ended(producer_id, commit, now_ms());
                    Ok(())
                }
            };
            if let Err(error) = loaded {
                *skipped.entry(error.to_string()).or_default() += 1;
            }
        });
        if let Err(error) = read {
            tracing::error!(partition = partition.index, %error, "cannot read {OFFSETS_TOPIC}");
        }
        for (error, count) in skipped {
            tracing::warn!(
                partition = partition.index,
                count,
                error,
                "group records skipped"
            );
        }
        coordinator.loaded(now_ms());
        let state = ShardState {
            coordinator,
            waiting: HashMap::new(),
            lane: Lane::default(),
            markers: 0,
            group_configs: GroupConfigs::default(),
        };
        // Holds one append or marker for each request that is being answered, of which a connection has one, and for what a
        // timer did; what the log's own queue has no room for was refused before.
        let (under_way, arrivals) = mpsc::unbounded_channel();
        let shard = Arc::new(Shard {
            partition,
            state: Mutex::new(state),
            next_token: AtomicU64::new(0),
            under_way,
        });
        tokio::spawn(Shard::follow(Arc::downgrade(&shard), arrivals));
        shard
    }

    /// Tells the coordinator what has become of its appends and of markers, in the order of the log.
    async fn follow(shard: Weak<Shard>, mut arrivals: mpsc::UnboundedReceiver<UnderWay>) {
        while let Some(under_way) = arrivals.recv().await {
            match under_way {
                UnderWay::Append {
                    id,
                    in_lane,
                    outcome,
                } => {
                    let ok = matches!(outcome.await, Ok(Ok(_)));
                    let Some(shard) = shard.upgrade() else { return };
                    let mut state = shard.lock();
                    if !ok && in_lane && state.coordinator.is_pending(id) {
                        // What stands behind it there is refused too, and told so with it.
                        state.lane = Lane::default();
                    }
                    let effects = state.coordinator.appended(id, ok, now_ms());
                    shard.perform(&mut state, effects);
                }
                UnderWay::Marker {
                    marker,
                    outcome,
                    told,
                } => {
                    // Closed without a word: the partition is gone, and so is the receiver's answer.
                    let Ok(outcome) = outcome.await else { continue };
                    let Some(shard) = shard.upgrade() else { return };
                    if outcome.is_ok() {
                        let mut state = shard.lock();
                        state.coordinator.transaction_ended(
                            marker.producer_id,
                            marker.commit,
                            now_ms(),
                        );
                    }
                    // Whoever waited may have gone away.
                    drop(told.send(outcome));
                }
            }
        }
    }

    fn hand_over(&self, under_way: UnderWay) {
        if self.under_way.send(under_way).is_err() {
            tracing::error!("the group coordinator's task has ended");
        }
    }

    /// Another request may have brought newer topics here.
    fn know(&self, topics: &Arc<Topics>) {
        let coordinator = &mut self.lock().coordinator;
        if coordinator.topics_version() < topics.version {
            coordinator.set_topics(topics.clone());
        }
    }

    fn configure(&self, configs: GroupConfigs, config: &ConsumerGroupConfig) {
        let mut state = self.lock();
        if !Arc::ptr_eq(&state.group_configs, &configs) {
            state
                .coordinator
                .set_timeouts(timeouts_of(&configs, config));
            state.group_configs = configs;
        }
    }

    async fn ask(self: &Arc<Self>, request: Request) -> Result<Reply, GroupError> {
        let answer = self.ask_if(request, |_| true).await?;
        answer.ok_or(GroupError::CoordinatorNotAvailable)
    }

    /// Asks if `still` holds at the time when the coordinator decides.
    async fn ask_if(
        self: &Arc<Self>,
        request: Request,
        still: impl FnOnce(&ShardState) -> bool,
    ) -> Result<Option<Reply>, GroupError> {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            // A request finds done what time has made due, however late the clock of all groups comes around.
            self.tick(&mut state, now_ms());
            if !still(&state) {
                return Ok(None);
            }
            state.waiting.insert(token, reply);
            let fresh_member_id = uuid::Uuid::new_v4().to_string();
            let effects = state
                .coordinator
                .handle(token, request, now_ms(), &fresh_member_id);
            self.perform(&mut state, effects);
        }
        let mut forget = Forget {
            shard: self,
            token: Some(token),
        };
        let answer = answer
            .await
            .map_err(|_| GroupError::CoordinatorNotAvailable);
        forget.token = None;
        answer.map(Some)
    }

    fn tick(self: &Arc<Self>, state: &mut ShardState, now: i64) {
        let deadline = state.coordinator.next_deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            let effects = state.coordinator.tick(now);
            self.perform(state, effects);
        }
    }

    fn perform(self: &Arc<Self>, state: &mut ShardState, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, reply) => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        // A closed receiver is a client that went away.
                        drop(waiting.send(reply));
                    }
                }
                Effect::Append { id, records } => {
                    self.append(id, None, Some(state.lane.clone()), &records);
                }
                Effect::AppendInTransaction {
                    id,
                    producer_id,
                    producer_epoch,
                    records,
                } => {
                    let producer = Producer {
                        id: producer_id,
                        epoch: producer_epoch,
                        base_sequence: NO_SEQUENCE,
                    };
                    self.append(id, Some(producer), None, &records);
                }
            }
        }
    }

    /// Hands records to the partition now, as part of a producer's transaction if one is given; the coordinator is told
    /// the outcome when it is known.
    fn append(
        &self,
        id: AppendId,
        producer: Option<Producer>,
        lane: Option<Lane>,
        records: &[(Bytes, Option<Bytes>)],
    ) {
        let now = now_ms();
        let in_lane = lane.is_some();
        let mut builder = BatchBuilder::new(Codec::None);
        if let Some(producer) = producer {
            (builder.producer, builder.transactional) = (producer, true);
        }
        for (key, value) in records {
            let parts = RecordParts {
                timestamp: now,
                key: Some(key),
                value: value.as_deref(),
                ..RecordParts::default()
            };
            if let Err(error) = builder.push(parts) {
                tracing::error!(%error, "a group record cannot be built");
            }
        }
        let outcome = match builder.build() {
            Ok(batch) => self.partition.append_internal(batch, lane),
            Err(error) => {
                tracing::error!(%error, "group records cannot be built");
                if let Some(lane) = lane {
                    lane.break_off();
                }
                let (closed, outcome) = oneshot::channel();
                drop(closed);
                outcome
            }
        };
        self.hand_over(UnderWay::Append {
            id,
            in_lane,
            outcome,
        });
    }

    fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Tells the coordinator when the client stops waiting, by being dropped with its token.
struct Forget<'a> {
    shard: &'a Arc<Shard>,
    token: Option<Token>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            let mut state = self.shard.lock();
            state.waiting.remove(&token);
            state.coordinator.disconnect(token);
        }
    }
}
