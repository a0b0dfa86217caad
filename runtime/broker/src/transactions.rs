//! Hosts the transaction coordinators: one pure state machine for each partition of `__transaction_state`.
//!
//! A coordinator says what to append, which markers to write and whom to answer; this module does it. A marker that
//! cannot be written is told to the coordinator, which tries again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tidegate_coordinator::transaction::{
    DescribedTransaction, EndRequest, InitRequest, ListedTransaction, MarkerId, MarkerOutcome,
    Producer, TransactionCoordinator, TransactionEffect, TransactionError, TransactionMarker,
    TransactionOptions, TransactionReply, TransactionRequest, partition_for_transaction,
};
use tidegate_coordinator::{AppendId, Token};
use tidegate_metadata::Command;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{BatchBuilder, Codec, RecordParts};
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::config::ServerConfig;
use crate::groups::OFFSETS_TOPIC;
use crate::partition::{Marker, Partition, ProduceFailure, ProduceOutcome};

/// Kafka's own name and format, so that tools that read it work.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// The transaction.version of clients that add partitions by producing to them (KIP-890, part 2).
const IMPLICIT_ADDS: i16 = 2;
/// How long a produce waits for the transaction before it to be complete. Kafka retries for as long.
const ADD_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Transactions {
    options: TransactionOptions,
    /// One for each partition of the transactions topic; empty until the topic is there.
    shards: ArcSwap<Vec<Arc<Shard>>>,
    creating: AsyncMutex<()>,
}

struct Shard {
    partition: Arc<Partition>,
    broker: Weak<Broker>,
    state: Mutex<ShardState>,
    next_token: AtomicU64,
    /// Woken when a step of any transaction is stored.
    moved: Notify,
}

struct ShardState {
    coordinator: TransactionCoordinator,
    waiting: HashMap<Token, oneshot::Sender<TransactionReply>>,
}

/// Counts for the scrape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransactionCounts {
    pub(crate) ids: usize,
    pub(crate) ongoing: usize,
}

impl Transactions {
    pub(crate) fn new(config: &ServerConfig) -> Transactions {
        Transactions {
            options: TransactionOptions {
                max_timeout_ms: config.transaction_max_timeout_ms,
                id_expiration_ms: config.transactional_id_expiration_ms,
                ..TransactionOptions::default()
            },
            shards: ArcSwap::default(),
            creating: AsyncMutex::new(()),
        }
    }

    /// Replays the transactions topic, if there is one yet, and goes on with what was prepared.
    pub(crate) async fn load(&self, broker: &Arc<Broker>) {
        let Some(topic) = broker.topics.get(TRANSACTIONS_TOPIC) else {
            return;
        };
        let options = self.options.clone();
        let weak = Arc::downgrade(broker);
        let loaded = tokio::task::spawn_blocking(move || {
            let partitions = topic.partitions().into_iter();
            partitions
                .map(|partition| Shard::load(partition, weak.clone(), &options))
                .collect::<Vec<_>>()
        });
        match loaded.await {
            Ok(shards) => {
                self.shards.store(Arc::new(shards.clone()));
                for shard in shards {
                    let mut state = shard.lock();
                    let effects = state.coordinator.loaded(now_ms());
                    shard.perform(&mut state, effects);
                }
            }
            Err(error) => tracing::error!(%error, "transaction coordinators cannot be loaded"),
        }
    }

    /// InitProducerId with a transactional id.
    pub(crate) async fn init(
        &self,
        broker: &Arc<Broker>,
        request: InitRequest,
    ) -> Result<Producer, TransactionError> {
        let id = request.transactional_id.clone();
        match self
            .ask(broker, &id, TransactionRequest::Init(request))
            .await?
        {
            TransactionReply::Init(result) => result,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn: adds partitions to the transaction, beginning one if none is open.
    pub(crate) async fn add(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer: Producer,
        partitions: Vec<(String, i32)>,
    ) -> Result<(), TransactionError> {
        let request = TransactionRequest::Add {
            transactional_id: transactional_id.to_owned(),
            producer,
            partitions,
            client_version: 0,
        };
        match self.ask(broker, transactional_id, request).await? {
            TransactionReply::Add(result) => result,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// Whether all these partitions are in the producer's open transaction: what a partition asks before the first
    /// batch of a client that has to add its partitions itself (KIP-890, part 1).
    ///
    /// # Errors
    /// As a partition says them: INVALID_PRODUCER_EPOCH for a fenced producer. `TransactionAbortable` is for Produce from
    /// version 11 and TxnOffsetCommit from version 4 on; older clients are told INVALID_TXN_STATE.
    pub(crate) async fn verify(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &[(String, i32)],
    ) -> Result<(), TransactionError> {
        let request = TransactionRequest::Verify {
            transactional_id: transactional_id.to_owned(),
            producer: Producer {
                id: producer_id,
                epoch: producer_epoch,
            },
            partitions: partitions.to_vec(),
        };
        match self.ask(broker, transactional_id, request).await? {
            TransactionReply::Verify(result) => result.map_err(TransactionError::at_partition),
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// Adds partitions durably, for a client that does not do so itself (Produce from version 12 on, TxnOffsetCommit from
    /// 5; KIP-890, part 2). Waits a moment where the transaction before is not complete yet.
    ///
    /// # Errors
    /// As for [`Transactions::verify`].
    pub(crate) async fn add_partitions(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &[(String, i32)],
    ) -> Result<(), TransactionError> {
        let shard = self.shard(broker, transactional_id).await?;
        let deadline = Instant::now() + ADD_PATIENCE;
        loop {
            let moved = shard.moved.notified();
            tokio::pin!(moved);
            // Before the question, so that no answer to come is missed.
            moved.as_mut().enable();
            let request = TransactionRequest::Add {
                transactional_id: transactional_id.to_owned(),
                producer: Producer {
                    id: producer_id,
                    epoch: producer_epoch,
                },
                partitions: partitions.to_vec(),
                client_version: IMPLICIT_ADDS,
            };
            let added = match shard.ask(request, None).await? {
                TransactionReply::Add(result) => result,
                _ => Err(TransactionError::CoordinatorNotAvailable),
            };
            let again = added == Err(TransactionError::ConcurrentTransactions)
                && tokio::time::timeout_at(deadline, moved).await.is_ok();
            if !again {
                return added.map_err(TransactionError::at_partition);
            }
        }
    }

    /// EndTxn: gives the producer that the client goes on with. The outcome is durable; the markers follow.
    pub(crate) async fn end(
        &self,
        broker: &Arc<Broker>,
        request: EndRequest,
    ) -> Result<Producer, TransactionError> {
        let id = request.transactional_id.clone();
        match self
            .ask(broker, &id, TransactionRequest::End(request))
            .await?
        {
            TransactionReply::End(result) => result,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    pub(crate) async fn describe(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
    ) -> Result<DescribedTransaction, TransactionError> {
        let request = TransactionRequest::Describe {
            transactional_id: transactional_id.to_owned(),
        };
        match self.ask(broker, transactional_id, request).await? {
            TransactionReply::Describe(result) => result,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// The transactional ids of every coordinator.
    pub(crate) async fn list(&self) -> Result<Vec<ListedTransaction>, TransactionError> {
        let mut transactions = Vec::new();
        for shard in self.shards.load_full().iter() {
            if let TransactionReply::List(listed) =
                shard.ask(TransactionRequest::List, None).await?
            {
                transactions.extend(listed?);
            }
        }
        Ok(transactions)
    }

    /// Does what time has made due in every coordinator.
    pub(crate) fn tick(&self) {
        let now = now_ms();
        self.each(|coordinator| match coordinator.next_deadline() {
            Some(deadline) if deadline <= now => coordinator.tick(now),
            _ => Vec::new(),
        });
    }

    /// Aborts transactions that are open for longer than their producers said.
    pub(crate) fn abort_timed_out(&self) {
        self.each(|coordinator| coordinator.abort_timed_out(now_ms()));
    }

    /// Forgets transactional ids that nobody has used for `transactional.id.expiration.ms`.
    pub(crate) fn expire_ids(&self) {
        self.each(|coordinator| coordinator.expire_ids(now_ms()));
    }

    pub(crate) fn counts(&self) -> TransactionCounts {
        let mut counts = TransactionCounts::default();
        for shard in self.shards.load().iter() {
            let state = shard.lock();
            counts.ids += state.coordinator.id_count();
            counts.ongoing += state.coordinator.ongoing_count();
        }
        counts
    }

    /// Makes sure that there are coordinators: creates the transactions topic at the first request that needs one.
    pub(crate) async fn ensure(&self, broker: &Arc<Broker>) -> Result<(), TransactionError> {
        self.shards(broker).await.map(drop)
    }

    fn each(&self, act: impl Fn(&mut TransactionCoordinator) -> Vec<TransactionEffect>) {
        for shard in self.shards.load().iter() {
            let mut state = shard.lock();
            let effects = act(&mut state.coordinator);
            shard.perform(&mut state, effects);
        }
    }

    async fn ask(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        request: TransactionRequest,
    ) -> Result<TransactionReply, TransactionError> {
        let shard = self.shard(broker, transactional_id).await?;
        // Drawn before the lock is taken; if it turns out not to be needed, it is never used.
        let needed = shard.lock().coordinator.needs_producer_id(&request);
        let fresh = match needed {
            true => broker.producer_ids.next(broker.metadata.as_ref()).await,
            false => None,
        };
        if needed && fresh.is_none() {
            return Err(TransactionError::CoordinatorNotAvailable);
        }
        shard.ask(request, fresh).await
    }

    async fn shard(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
    ) -> Result<Arc<Shard>, TransactionError> {
        let shards = self.shards(broker).await?;
        let count = i32::try_from(shards.len()).unwrap_or(i32::MAX);
        let index = usize::try_from(partition_for_transaction(transactional_id, count));
        shards
            .get(index.unwrap_or(0))
            .cloned()
            .ok_or(TransactionError::CoordinatorNotAvailable)
    }

    async fn shards(&self, broker: &Arc<Broker>) -> Result<Arc<Vec<Arc<Shard>>>, TransactionError> {
        let shards = self.shards.load_full();
        if !shards.is_empty() {
            return Ok(shards);
        }
        let _turn = self.creating.lock().await;
        let shards = self.shards.load_full();
        if !shards.is_empty() {
            return Ok(shards);
        }
        if broker.topics.get(TRANSACTIONS_TOPIC).is_none() {
            let command = transactions_topic(broker.config.transaction_topic_partitions);
            broker.metadata.propose(command).await.map_err(|error| {
                tracing::error!(%error, "cannot create {TRANSACTIONS_TOPIC}");
                TransactionError::CoordinatorNotAvailable
            })?;
        }
        self.load(broker).await;
        let shards = self.shards.load_full();
        match shards.is_empty() {
            true => Err(TransactionError::CoordinatorNotAvailable),
            false => Ok(shards),
        }
    }
}

fn transactions_topic(partitions: i32) -> Command {
    let configs = [
        ("cleanup.policy", "compact"),
        ("compression.type", "uncompressed"),
    ];
    Command::CreateTopic {
        name: TRANSACTIONS_TOPIC.to_owned(),
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

/// Ends a producer's transaction in one partition, and in the group coordinator that the partition may belong to. `None`:
/// there is no such partition.
pub(crate) async fn write_marker(
    broker: &Arc<Broker>,
    topic: &str,
    index: i32,
    marker: Marker,
) -> Option<ProduceOutcome> {
    let partition = broker.topics.get(topic)?.partition(index)?;
    let written = match topic == OFFSETS_TOPIC {
        true => broker.groups.end_transaction(index, marker).await,
        false => partition.end_transaction(marker).await.ok(),
    };
    Some(written.unwrap_or_else(|| {
        let sentence = "the partition was closed before it answered";
        Err(ProduceFailure::new(
            ErrorCode::NotLeaderOrFollower,
            sentence,
        ))
    }))
}

impl Shard {
    fn load(
        partition: Arc<Partition>,
        broker: Weak<Broker>,
        options: &TransactionOptions,
    ) -> Arc<Shard> {
        let mut coordinator = TransactionCoordinator::new(options.clone());
        let mut skipped = 0usize;
        let read = partition.read_all(&mut |_, record| {
            let Some(key) = record.key else { return };
            if let Err(error) = coordinator.load(key, record.value) {
                skipped += 1;
                tracing::debug!(%error, "a transaction record is skipped");
            }
        });
        let index = partition.index;
        if let Err(error) = read {
            tracing::error!(partition = index, %error, "cannot read {TRANSACTIONS_TOPIC}");
        }
        if skipped > 0 {
            tracing::warn!(partition = index, skipped, "transaction records skipped");
        }
        let state = ShardState {
            coordinator,
            waiting: HashMap::new(),
        };
        Arc::new(Shard {
            partition,
            broker,
            state: Mutex::new(state),
            next_token: AtomicU64::new(0),
            moved: Notify::new(),
        })
    }

    async fn ask(
        self: &Arc<Self>,
        request: TransactionRequest,
        fresh_producer_id: Option<i64>,
    ) -> Result<TransactionReply, TransactionError> {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.insert(token, reply);
            let effects = state
                .coordinator
                .handle(token, request, fresh_producer_id, now_ms());
            self.perform(&mut state, effects);
        }
        // Every request is answered when an append is, so one whose client went away needs no taking back.
        answer
            .await
            .map_err(|_| TransactionError::CoordinatorNotAvailable)
    }

    fn perform(self: &Arc<Self>, state: &mut ShardState, effects: Vec<TransactionEffect>) {
        for effect in effects {
            match effect {
                TransactionEffect::Reply(token, reply) => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        // A closed receiver is a client that went away.
                        drop(waiting.send(reply));
                    }
                }
                TransactionEffect::Append { id, record } => self.append(id, &record),
                TransactionEffect::WriteMarker {
                    id,
                    topic,
                    partition,
                    marker,
                } => self.write_marker(id, topic, partition, marker),
            }
        }
    }

    /// Hands a record to the partition now, and tells the coordinator the outcome when it is known.
    fn append(self: &Arc<Self>, id: AppendId, (key, value): &(Bytes, Option<Bytes>)) {
        let mut builder = BatchBuilder::new(Codec::None);
        let parts = RecordParts {
            timestamp: now_ms(),
            key: Some(key),
            value: value.as_deref(),
            ..RecordParts::default()
        };
        let outcome = match builder.push(parts).and_then(|_| builder.build()) {
            Ok(batch) => Some(self.partition.append_internal(batch, None)),
            Err(error) => {
                tracing::error!(%error, "a transaction record cannot be built");
                None
            }
        };
        let shard = self.clone();
        tokio::spawn(async move {
            let ok = match outcome {
                Some(outcome) => matches!(outcome.await, Ok(Ok(_))),
                None => false,
            };
            let mut state = shard.lock();
            let effects = state.coordinator.appended(id, ok, now_ms());
            shard.perform(&mut state, effects);
            drop(state);
            shard.moved.notify_waiters();
        });
    }

    fn write_marker(
        self: &Arc<Self>,
        id: MarkerId,
        topic: String,
        index: i32,
        marker: TransactionMarker,
    ) {
        let shard = self.clone();
        tokio::spawn(async move {
            let Some(broker) = shard.broker.upgrade() else {
                return;
            };
            let marker = Marker {
                producer_id: marker.producer.id,
                producer_epoch: marker.producer.epoch,
                coordinator_epoch: shard.partition.leader_epoch().0,
                commit: marker.commit,
            };
            let written = write_marker(&broker, &topic, index, marker).await;
            let outcome = outcome_of(written, &topic, index);
            let mut state = shard.lock();
            let effects = state.coordinator.marker_written(id, outcome, now_ms());
            shard.perform(&mut state, effects);
        });
    }

    fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn outcome_of(written: Option<ProduceOutcome>, topic: &str, index: i32) -> MarkerOutcome {
    match written {
        None => MarkerOutcome::NoPartition,
        Some(Ok(_)) => MarkerOutcome::Written,
        Some(Err(failure)) if failure.code == ErrorCode::InvalidProducerEpoch => {
            // A newer epoch there means that somebody, an operator, has ended this transaction already.
            tracing::warn!(topic, index, %failure.message, "a transaction marker comes late");
            MarkerOutcome::Written
        }
        Some(Err(failure)) => {
            tracing::warn!(topic, index, %failure.message, "a transaction marker will be tried again");
            MarkerOutcome::Failed
        }
    }
}
