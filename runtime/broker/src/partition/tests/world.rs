//! Real partitions on a log in memory, with gates where a test must stop time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tidegate_metadata::config::TopicConfig;
use tidegate_metadata::{BrokerSpec, Command, Image, Listener, apply};
use tidegate_plugin::{BindingSpec, Chain, Engine, EngineOptions, Limits, OnError};
use tidegate_record::{
    Batch, BatchBuilder, CheckedBatch, Codec, DecodeLimits, Offset, PartitionId, Producer,
    RecordParts,
};
use tidegate_storage::{
    AbortedTransaction, Change, IndexRow, Log, LogOptions, LogStore, MemoryLog, PartitionEntry,
    Placed, ProducerSnapshot, StoreError, Stored,
};
use tokio::sync::oneshot;

use crate::partition::admission::{Flight, Waiter};
use crate::partition::producers::Ticket;
use crate::partition::{Acks, Partition, PartitionEnv, ProduceOutcome};
use crate::plugins::testbed::{self, guests};
use crate::topics::{ChainSlot, Topic, TopicChains, Topics};

/// Longest that anything here may take; a test that waits so long has found a lost answer.
const PATIENCE: Duration = Duration::from_secs(60);
const NODE: i32 = 0;
pub(crate) const TIMESTAMP: i64 = 1_700_000_000_000;

/// One broker's partitions. What survives a restart is in `store`.
pub(crate) struct World {
    pub(crate) store: Arc<GateStore>,
    pub(crate) log: Arc<Log>,
    pub(crate) topics: Arc<Topics>,
    env: Arc<PartitionEnv>,
    image: Image,
    options: LogOptions,
    runtime: tokio::runtime::Runtime,
}

/// One append in each write, so that a failing write is one failing append; synced at once.
pub(crate) fn one_by_one() -> LogOptions {
    LogOptions {
        lazy_sync_ms: 0,
        group_bytes: 1,
        ..LogOptions::default()
    }
}

/// Whatever waits is written together.
pub(crate) fn in_groups() -> LogOptions {
    LogOptions {
        lazy_sync_ms: 0,
        ..LogOptions::default()
    }
}

/// Name, number of partitions, configs.
pub(crate) type TopicSpec<'a> = (&'a str, i32, &'a [(&'a str, &'a str)]);

impl World {
    /// With these topics, of so many partitions each.
    pub(crate) fn new(topics: &[TopicSpec<'_>], options: LogOptions) -> World {
        let mut image = Image::default();
        let listener = Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 1,
        };
        let broker = BrokerSpec {
            id: NODE,
            listeners: vec![listener],
            rack: None,
            incarnation: [1; 16],
        };
        let mut commands = vec![
            Command::SetClusterId { id: "t".into() },
            Command::RegisterBroker(broker),
        ];
        for (name, count, configs) in topics {
            let mut create = testbed::create(name, configs);
            if let Command::CreateTopic { partitions, .. } = &mut create {
                *partitions = *count;
            }
            commands.push(create);
        }
        for command in &commands {
            image = apply(&image, command).expect("the command is valid").0;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let store = Arc::new(GateStore::default());
        let (log, topics, env) = open(&store, &image, &options);
        World {
            store,
            log,
            topics,
            env,
            image,
            options,
            runtime,
        }
    }

    /// Stops and starts again on the same store, under the next leader epoch.
    pub(crate) fn reopen(&mut self) {
        self.log.close();
        // As after a clean stop, every other time.
        for partition in self
            .topics
            .all()
            .iter()
            .flat_map(|topic| topic.partitions())
        {
            if partition.leader_epoch().0 % 2 == 0 {
                partition.save_producers(0).expect("memory takes it");
            }
        }
        self.bump_epoch();
        (self.log, self.topics, self.env) = open(&self.store, &self.image, &self.options);
    }

    pub(crate) fn bump_epoch(&mut self) {
        for topic in Arc::make_mut(&mut self.image.topics).values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                partition.leader_epoch += 1;
            }
        }
    }

    pub(crate) fn env(&self) -> &PartitionEnv {
        &self.env
    }

    pub(crate) fn topic(&self, name: &str) -> Arc<Topic> {
        self.topics.get(name).expect("the topic is there")
    }

    pub(crate) fn partition(&self, topic: &str, index: i32) -> Arc<Partition> {
        self.topic(topic)
            .partition(index)
            .expect("the partition is there")
    }

    pub(crate) fn delete_topic(&mut self, name: &str) {
        Arc::make_mut(&mut self.image.topics).remove(name);
        self.topics.reconcile(&self.image, &self.env, &settings);
    }

    pub(crate) fn bind(&self, topic: &str, produce: Option<&Chain>, consume: Option<&Chain>) {
        let slot = |chain: Option<&Chain>| {
            chain.map_or(ChainSlot::None, |chain| {
                ChainSlot::Ready(Arc::new(chain.clone()))
            })
        };
        let chains = TopicChains {
            produce: slot(produce),
            consume: slot(consume),
            ..TopicChains::default()
        };
        self.topic(topic).settings.set_chains(chains);
    }

    /// Waits for an outcome, but not for ever.
    pub(crate) fn outcome(&self, receiver: oneshot::Receiver<ProduceOutcome>) -> ProduceOutcome {
        self.block_on(receiver).expect("the partition answers")
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let patient = async { tokio::time::timeout(PATIENCE, future).await };
        self.runtime.block_on(patient).expect("an answer in time")
    }

    pub(crate) fn produce(&self, batch: &Batch, acks: Acks) -> ProduceOutcome {
        let partition = self.partition("t", 0);
        let outcome = partition.produce(checked(batch), acks);
        let header = batch.header();
        if partition.asks(header.producer_id, header.producer_epoch) {
            partition.confirm(header.producer_id, header.producer_epoch, Ok(()));
        }
        self.outcome(outcome)
    }

    /// Appends as it is, whatever it is.
    pub(crate) fn append_raw(&self, batch: Batch, last_surviving_delta: i32) -> Offset {
        let partition = self.partition("t", 0);
        let (reply, fate) = mpsc::channel();
        let part = tidegate_storage::AppendPart {
            id: partition.id,
            epoch: partition.leader_epoch(),
            batch,
            last_surviving_delta,
        };
        let append = tidegate_storage::Append {
            parts: vec![part],
            sync: true,
            now_ms: TIMESTAMP,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done: Box::new(move |result| reply.send(result).expect("the test waits")),
        };
        self.log.submit(append).expect("the queue has room");
        let appended = fate
            .recv_timeout(PATIENCE)
            .expect("an answer")
            .expect("a write");
        appended[0].base_offset
    }

    /// Returns when everything submitted to the log before is decided and its outcome is told.
    pub(crate) fn log_barrier(&self) {
        let (reply, fate) = mpsc::channel();
        let append = tidegate_storage::Append {
            parts: Vec::new(),
            sync: true,
            now_ms: 0,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done: Box::new(move |_| reply.send(()).expect("the test waits")),
        };
        self.log.submit(append).expect("the queue has room");
        fate.recv_timeout(PATIENCE).expect("the writer gets there");
    }

    /// Keeps the writer from looking at what is submitted from now on, until the stall is dropped.
    pub(crate) fn stall(&self) -> Plug {
        let (started, running) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let append = tidegate_storage::Append {
            parts: Vec::new(),
            sync: false,
            now_ms: 0,
            lane: None,
            late: None,
            note: None,
            aborts: None,
            done: Box::new(move |_| {
                started.send(()).expect("the test waits");
                // An error is the stall being dropped.
                let _ = held.recv();
            }),
        };
        self.log.submit(append).expect("the queue has room");
        running
            .recv_timeout(PATIENCE)
            .expect("the writer gets there");
        Plug(release)
    }

    /// Returns when no batch of the partition is in the chain or waits for it.
    pub(crate) fn chain_barrier(&self, partition: &Arc<Partition>) {
        loop {
            let idle = {
                let state = partition.lock();
                state.admission.queue.is_empty() && !state.admission.in_chain
            };
            if idle {
                return;
            }
            // Jobs of one topic run one at a time here, so behind this one at least one more batch is through.
            drop(self.plug(partition));
        }
    }

    /// Keeps the chain of a partition's topic from running until the plug is dropped.
    pub(crate) fn plug(&self, partition: &Arc<Partition>) -> Plug {
        let (started, running) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let job = Box::new(move || {
            started.send(()).expect("the test waits");
            // An error is the plug being dropped.
            let _ = held.recv();
        });
        self.env
            .engine
            .pool()
            .submit(partition.topic.pool_key(), job)
            .expect("the pool has room");
        running.recv_timeout(PATIENCE).expect("the job starts");
        Plug(release)
    }

    /// Every stored batch of a partition.
    pub(crate) fn stored(&self, topic: &str, index: i32) -> Vec<Stored> {
        let id = self.partition(topic, index).id;
        let bounds = self.log.bounds(id).expect("it is there");
        self.store
            .read(id, bounds.start, bounds.end, usize::MAX)
            .expect("memory reads")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.store.release();
        self.log.close();
    }
}

impl Partition {
    /// A place for a batch whose chain the test plays itself: hand what it made of it to `work_on`.
    pub(crate) fn admit_for_test(&self) -> (Ticket, oneshot::Receiver<ProduceOutcome>) {
        let (reply, outcome) = oneshot::channel();
        let mut state = self.lock();
        let ticket = state.admission.next_ticket();
        let waiters = vec![Waiter {
            acks: Acks::All,
            reply,
        }];
        let flight = Flight {
            producer_id: -1,
            epoch: state.replica.epoch(),
            waiters,
        };
        state.admission.flights.insert(ticket, flight);
        state.admission.in_chain = true;
        (ticket, outcome)
    }
}

/// Held while something must not run.
pub(crate) struct Plug(
    #[allow(dead_code, reason = "dropping it is what it is for")] mpsc::Sender<()>,
);

type Opened = (Arc<Log>, Arc<Topics>, Arc<PartitionEnv>);

fn open(store: &Arc<GateStore>, image: &Image, options: &LogOptions) -> Opened {
    let log = Log::open(store.clone(), options.clone()).expect("memory opens");
    let topics = Arc::new(Topics::default());
    let env = Arc::new(PartitionEnv {
        log: log.clone(),
        engine: engine(),
        topics: Arc::downgrade(&topics),
        node_id: NODE,
        max_decoded_bytes: 1 << 20,
        chain_results: Default::default(),
    });
    let of_progress = Arc::downgrade(&topics);
    log.on_progress(Box::new(move |progress| {
        if let Some(topics) = of_progress.upgrade() {
            topics.progressed(progress);
        }
    }));
    topics.reconcile(image, &env, &settings);
    (log, topics, env)
}

fn settings(topic: &tidegate_metadata::Topic) -> Option<(TopicConfig, TopicChains)> {
    let config = TopicConfig::resolve(&topic.configs, &BTreeMap::new()).expect("valid configs");
    Some((config, TopicChains::default()))
}

/// One engine for all tests: components compile once. Seven threads give a topic one at a time, as `chain_barrier`
/// needs.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let options = EngineOptions {
        pool_threads: 7,
        ..EngineOptions::default()
    };
    ENGINE
        .get_or_init(|| Engine::new(options).expect("the engine starts"))
        .clone()
}

/// Looks at the first byte of each value: `d`rop, `r`eject, `t`rap; anything else stays.
pub(crate) fn filter() -> Chain {
    filter_under(spec("guest"))
}

/// Routes every record to `out` by key, and keeps it.
pub(crate) fn router() -> Chain {
    router_under(OnError::Reject)
}

/// As [`router`], with this policy for what its targets refuse.
pub(crate) fn router_under(on_error: OnError) -> Chain {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    let wasm = WASM.get_or_init(|| guests::Guest::router(guests::ROUTE_ALL).build());
    let spec = BindingSpec {
        on_error,
        ..spec("guest")
    };
    chain_of(wasm, spec)
}

/// Looks at the first byte of each value: `d`rop, `r`eject, `t`rap; `e` gets the value `E`, `n` no value.
pub(crate) fn transform() -> Chain {
    transform_under(spec("editor"))
}

pub(crate) fn transform_under(spec: BindingSpec) -> Chain {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    let wasm = WASM.get_or_init(|| guests::Guest::transform(guests::EDIT_BY_VALUE).build());
    chain_of(wasm, spec)
}

/// Gives every record a value of a thousand bytes.
pub(crate) fn growing() -> Chain {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    let wasm = WASM.get_or_init(|| guests::Guest::transform(GROW).build());
    chain_of(wasm, spec("grower"))
}

const GROW: &str = "
    (local $n i32) (local $i i32) (local $offsets i32) (local $data i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $offsets (call $words (i32.add (local.get $n) (i32.const 1))))
    (local.set $data (call $words (i32.mul (local.get $n) (i32.const 250))))
    (block $done (loop $next
        (i32.store (i32.add (local.get $offsets) (i32.shl (local.get $i) (i32.const 2)))
            (i32.mul (local.get $i) (i32.const 1000)))
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (memory.fill (local.get $data) (i32.const 71) (i32.mul (local.get $n) (i32.const 1000)))
    (drop (call $untouched))
    (i32.store8 (i32.const 1080) (i32.const 1))
    (i32.store (i32.const 1092) (local.get $offsets))
    (i32.store (i32.const 1096) (i32.add (local.get $n) (i32.const 1)))
    (i32.store (i32.const 1100) (local.get $data))
    (i32.store (i32.const 1104) (i32.mul (local.get $n) (i32.const 1000)))
    (i32.const 1024)";

/// Keeps state: drops each record whose value begins as one that it has seen in this partition; traps at `t`.
pub(crate) fn dedup() -> Chain {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    let guest = || guests::Guest {
        state: 1,
        ..guests::Guest::filter(guests::DEDUP)
    };
    chain_of(WASM.get_or_init(|| guest().build()), spec("dedup"))
}

/// All of them, in this order.
pub(crate) fn joined(chains: &[Chain]) -> Chain {
    let bindings = chains.iter().flat_map(Chain::bindings);
    Chain::new(bindings.cloned().collect())
}

pub(crate) fn filter_under(spec: BindingSpec) -> Chain {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    let wasm = WASM.get_or_init(|| guests::Guest::filter(guests::BY_VALUE).build());
    chain_of(wasm, spec)
}

pub(crate) fn chain_of(wasm: &[u8], spec: BindingSpec) -> Chain {
    let engine = engine();
    let plugin = engine.load(wasm).expect("the plugin loads");
    Chain::new(vec![engine.bind(&plugin, spec).expect("the plugin binds")])
}

pub(crate) fn spec(alias: &str) -> BindingSpec {
    BindingSpec {
        alias: alias.into(),
        // A slow machine is not what is tested here.
        limits: Limits {
            deadline_ms: 30_000,
            breaker_failures: u32::MAX,
            ..Limits::default()
        },
        ..BindingSpec::default()
    }
}

/// A batch with one record for each value; the key is the value's second byte.
pub(crate) fn batch(producer: Producer, codec: Codec, values: &[Vec<u8>]) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.producer = producer;
    for (at, value) in values.iter().enumerate() {
        let record = RecordParts {
            timestamp: TIMESTAMP + i64::try_from(at).expect("few"),
            key: value.get(1..2),
            value: Some(value),
            ..RecordParts::default()
        };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("a batch")
}

pub(crate) fn checked(batch: &Batch) -> CheckedBatch {
    // A copy: what the partition does to its bytes must not be seen through this one.
    let bytes = Bytes::copy_from_slice(batch.bytes());
    CheckedBatch::check(bytes, usize::MAX).expect("a client may send it")
}

/// Offset and value of every record of a batch.
pub(crate) fn records(bytes: &Bytes) -> Vec<(Offset, Vec<u8>)> {
    let batch = Batch::check(bytes.clone()).expect("a whole batch with a good CRC");
    let limits = DecodeLimits {
        max_bytes: 1 << 20,
        max_records: 1 << 16,
    };
    let records = batch.records(limits).expect("it opens");
    records
        .iter()
        .map(|r| {
            let offset = batch.base_offset() + i64::from(r.offset_delta);
            (offset, r.value.unwrap_or_default().to_vec())
        })
        .collect()
}

/// A store in memory whose writes can be held and made to fail.
#[derive(Default)]
pub(crate) struct GateStore {
    inner: MemoryLog,
    gate: Mutex<Gate>,
    moved: Condvar,
}

#[derive(Default)]
struct Gate {
    held: bool,
    /// Whether the next writes succeed; beyond the script all do.
    script: VecDeque<bool>,
    /// Where the batches of each write went.
    writes: Vec<Vec<(PartitionId, Offset)>>,
}

impl GateStore {
    /// Writes wait from now on.
    pub(crate) fn hold(&self) {
        self.gate().held = true;
    }

    pub(crate) fn release(&self) {
        self.gate().held = false;
        self.moved.notify_all();
    }

    pub(crate) fn script(&self, outcomes: &[bool]) {
        self.gate().script = outcomes.iter().copied().collect();
    }

    pub(crate) fn writes(&self) -> Vec<Vec<(PartitionId, Offset)>> {
        self.gate().writes.clone()
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().expect("unpoisoned")
    }
}

impl LogStore for GateStore {
    fn write(&self, writes: &[Placed<'_>]) -> Result<(), StoreError> {
        let mut gate = self.gate();
        while gate.held {
            gate = self.moved.wait(gate).expect("unpoisoned");
        }
        if !gate.script.pop_front().unwrap_or(true) {
            // The one failure after which the log goes on.
            return Err(StoreError::DiskFull("as the script says".into()));
        }
        gate.writes
            .push(writes.iter().map(|w| (w.id, w.row.base_offset)).collect());
        drop(gate);
        self.inner.write(writes)
    }

    fn partitions(&self) -> Result<Vec<PartitionEntry>, StoreError> {
        self.inner.partitions()
    }

    fn create_partitions(&self, entries: &[PartitionEntry]) -> Result<(), StoreError> {
        self.inner.create_partitions(entries)
    }

    fn delete_partitions(&self, ids: &[PartitionId]) -> Result<(), StoreError> {
        self.inner.delete_partitions(ids)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn read(
        &self,
        id: PartitionId,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.inner.read(id, from, to, max_bytes)
    }

    fn rows(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.rows(id, from, limit)
    }

    fn last_row(&self, id: PartitionId) -> Result<Option<IndexRow>, StoreError> {
        self.inner.last_row(id)
    }

    fn end(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.inner.end(id)
    }

    fn note(&self, id: PartitionId, offset: Offset) -> Result<Option<(Offset, Bytes)>, StoreError> {
        self.inner.note(id, offset)
    }

    fn aborted(
        &self,
        id: PartitionId,
        from: Offset,
        limit: usize,
    ) -> Result<Vec<AbortedTransaction>, StoreError> {
        self.inner.aborted(id, from, limit)
    }

    fn set_log_start(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.inner.set_log_start(id, start)
    }

    fn delete_below(&self, id: PartitionId, start: Offset) -> Result<(), StoreError> {
        self.inner.delete_below(id, start)
    }

    fn compact(
        &self,
        id: PartitionId,
        changes: &[Change<'_>],
        cleaned: Offset,
    ) -> Result<(), StoreError> {
        self.inner.compact(id, changes, cleaned)
    }

    fn cleaned(&self, id: PartitionId) -> Result<Offset, StoreError> {
        self.inner.cleaned(id)
    }

    fn producers(&self, id: PartitionId) -> Result<Option<ProducerSnapshot>, StoreError> {
        self.inner.producers(id)
    }

    fn put_producers(
        &self,
        id: PartitionId,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), StoreError> {
        self.inner.put_producers(id, snapshot)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.inner.settle()
    }

    fn truncate(&self, id: PartitionId, to: Offset) -> Result<(), StoreError> {
        self.inner.truncate(id, to)
    }
}
