//! Start and stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_metadata::{BrokerSpec, Command, Listener};
use tidegate_storage::{Log, LogOptions, RocksCommandLog, RocksLog, RocksOptions, StoreError};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admissions::{Admissions, Admitted};
use crate::answer_memory::AnswerMemory;
use crate::broker::{Broker, follow_image};
use crate::config::{HostPort, Part, ServerConfig};
use crate::decoding::Decoding;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::live::LiveConfig;
use crate::metadata_log::{LocalMetadata, ProposeError};
use crate::metrics::Metrics;
use crate::partition::PartitionEnv;
use crate::plugins::PluginService;
use crate::quotas::Quotas;
use crate::topics::Topics;
use crate::transactions::Transactions;
use crate::{admin, connection, tasks};

/// Compiled plugins, below the data directory.
const PLUGIN_CACHE: &str = "plugin-cache";

/// Why a broker did not start; each is a sentence for whoever started it, to be shown with its source.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot create the data directory {path}")]
    DataDir {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot open the data in {path}")]
    Store { path: String, source: StoreError },
    #[error("cannot listen on {address} (is another broker running there?)")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("the metadata log refused the start: {0}")]
    Metadata(String),
    #[error("the plugin engine cannot start: {0}")]
    Plugins(String),
    #[error("the configuration cannot be applied: {0}")]
    Declaration(String),
    #[error("the start was interrupted")]
    Interrupted,
}

/// A broker that serves. Dropping it without [`Running::stop`] is like a crash: nothing acknowledged is lost.
pub struct Running {
    broker: Arc<Broker>,
    kafka: Vec<SocketAddr>,
    admin: SocketAddr,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Opens the data, replays it, and accepts connections when everything is ready.
pub async fn start(mut config: ServerConfig) -> Result<Running, StartError> {
    if config.plugin_engine.cache_bytes > 0 {
        config.plugin_engine.cache_dir = Some(config.data_dir.join(PLUGIN_CACHE));
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut listeners = Vec::new();
    for address in &config.listeners {
        listeners.push(listen(address, Buffers::of(&config)).await?);
    }
    let admin_listener = listen(&config.admin, Buffers::default()).await?;
    let stores = open_stores(config.clone()).await?;
    let broker = assemble(config, stores)?;
    let kafka: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    register(&broker, &kafka).await?;
    warn_of_strangers(&broker);
    broker.plugins.attach(&broker);
    broker.plugins.recover(&broker).await;
    broker.groups.load(&broker).await;
    // After the groups: what was prepared goes on, and may end transactions that have offsets in them.
    broker.transactions.load(&broker).await;
    broker
        .plugins
        .apply_declarations(&broker)
        .await
        .map_err(StartError::Declaration)?;

    let (shutdown, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let admin = admin_listener
        .local_addr()
        .unwrap_or_else(|_| ([127, 0, 0, 1], 0).into());
    tasks.spawn(serve_admin(
        broker.clone(),
        admin_listener,
        stopping.clone(),
    ));
    let admissions = Admissions::new();
    for listener in listeners {
        tasks.spawn(accept(
            broker.clone(),
            admissions.clone(),
            listener,
            stopping.clone(),
        ));
    }
    tasks::spawn(&mut tasks, &broker, &stopping);
    Ok(Running {
        broker,
        kafka,
        admin,
        shutdown,
        tasks,
    })
}

impl Running {
    /// Where Kafka clients connect, one for each listener.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        &self.kafka
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Stops accepting, answers what was admitted, syncs and closes the store.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        let broker = self.broker.clone();
        let settled = tokio::task::spawn_blocking(move || {
            // The writer thread drains and syncs, and every outcome is told. What follows only makes the next start short.
            broker.log.close();
            tasks::save_producers(&broker, 0);
            broker.log.settle()
        });
        if let Ok(Err(error)) = settled.await {
            tracing::warn!(%error, "the store was closed without being tidied; the next start takes longer");
        }
    }
}

/// Connections that may wait, where no configuration says it.
const BACKLOG: u32 = 1024;
/// A sixth of the disk's time at most goes to syncs that nobody asked for, unless they are overdue.
const LAZY_SYNC_FACTOR: u32 = 5;

/// What the sockets of a listener are given.
#[derive(Clone, Copy)]
struct Buffers {
    send: Option<u32>,
    receive: Option<u32>,
    backlog: u32,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers {
            send: None,
            receive: None,
            backlog: BACKLOG,
        }
    }
}

impl Buffers {
    fn of(config: &ServerConfig) -> Buffers {
        Buffers {
            send: config.socket_send_buffer_bytes,
            receive: config.socket_receive_buffer_bytes,
            backlog: config.socket_backlog,
        }
    }

    /// Accepted sockets have the buffers of the one that listens, which must have them before.
    fn listen(self, address: SocketAddr) -> std::io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        if let Some(bytes) = self.send {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(address)?;
        socket.listen(self.backlog)
    }
}

async fn listen(address: &HostPort, buffers: Buffers) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        address: address.to_string(),
        source,
    };
    let mut last = std::io::Error::other("the name has no address");
    for found in lookup_host(address.bind_address()).await.map_err(failed)? {
        match buffers.listen(found) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

pub(crate) struct Stores {
    pub(crate) log: Arc<Log>,
    pub(crate) metadata: LocalMetadata,
}

async fn open_stores(config: ServerConfig) -> Result<Stores, StartError> {
    tokio::task::spawn_blocking(move || open_stores_blocking(&config))
        .await
        .map_err(|_| StartError::Interrupted)?
}

fn open_stores_blocking(config: &ServerConfig) -> Result<Stores, StartError> {
    let data = &config.data_dir;
    std::fs::create_dir_all(data).map_err(|source| StartError::DataDir {
        path: data.display().to_string(),
        source,
    })?;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| StartError::Store { path, source }
    };
    let (log_dir, metadata_dir) = (data.join("log"), data.join("metadata"));
    let parts = &config.memory.parts;
    let rocks = RocksOptions::within(parts[Part::WriteBuffers], parts[Part::BlockCache]);
    let store = RocksLog::open(&log_dir, rocks).map_err(failed(&log_dir))?;
    let options = LogOptions {
        tail_cache_bytes: parts[Part::TailCache],
        read_ahead_bytes: parts[Part::ReadAhead],
        queue_bytes: parts[Part::AppendQueue],
        lazy_sync_ms: config.lazy_sync_ms,
        lazy_sync_factor: LAZY_SYNC_FACTOR,
        ..LogOptions::default()
    };
    let log = Log::open(Arc::new(store), options).map_err(failed(&log_dir))?;
    let commands = RocksCommandLog::open(&metadata_dir).map_err(failed(&metadata_dir))?;
    let metadata = LocalMetadata::open(Box::new(commands)).map_err(failed(&metadata_dir))?;
    Ok(Stores { log, metadata })
}

/// Wires the parts: the metadata log drives the topics, the store's progress drives the partitions.
pub(crate) fn assemble(config: ServerConfig, stores: Stores) -> Result<Arc<Broker>, StartError> {
    let Stores { log, metadata } = stores;
    let plugins =
        PluginService::new(&config).map_err(|error| StartError::Plugins(error.to_string()))?;
    let topics = Arc::new(Topics::default());
    let env = Arc::new(PartitionEnv {
        log: log.clone(),
        engine: plugins.engine().clone(),
        topics: Arc::downgrade(&topics),
        node_id: config.node_id,
        decoding: Decoding::new(config.max_decoded_bytes, config.memory.large_decodes),
        chain_results: Default::default(),
    });
    let progress_topics = Arc::downgrade(&topics);
    log.on_progress(Box::new(move |progress| {
        if let Some(topics) = progress_topics.upgrade() {
            topics.progressed(progress);
        }
    }));
    let metrics = Arc::new(Metrics::new());
    let quotas = Arc::new(Quotas::new(&config, metrics.clone()));
    let live = Arc::new(ArcSwap::from_pointee(LiveConfig::of(
        &config.topic_defaults,
    )));
    let (hook_config, hook_topics, hook_plugins) =
        (config.clone(), topics.clone(), plugins.clone());
    let (hook_quotas, hook_live) = (quotas.clone(), live.clone());
    metadata.on_change(Box::new(move |image| {
        hook_quotas.follow(image);
        let defaults = image.broker_defaults(hook_config.node_id, &hook_config.topic_defaults);
        hook_live.store(Arc::new(LiveConfig::of(&defaults)));
        follow_image(image, &hook_config, &hook_topics, &env, &hook_plugins);
    }));
    let requests = config.memory.parts[Part::Requests].min(Semaphore::MAX_PERMITS);
    Ok(Arc::new(Broker {
        request_memory: Arc::new(Semaphore::new(requests)),
        answer_memory: AnswerMemory::new(config.memory.parts[Part::Answers]),
        groups: Groups::new(&config),
        transactions: Transactions::new(&config),
        producer_ids: Default::default(),
        fetch_sessions: FetchSessions::new(config.max_fetch_sessions),
        metrics,
        quotas,
        live,
        scrub: Default::default(),
        metadata: Arc::new(metadata),
        log,
        topics,
        plugins,
        config,
    }))
}

/// Says to the cluster that this process is there; every partition it leads gets a new leader epoch.
async fn register(broker: &Broker, bound: &[SocketAddr]) -> Result<(), StartError> {
    let refused = |error: ProposeError| StartError::Metadata(error.to_string());
    let fresh = uuid::Uuid::new_v4().simple().to_string();
    let existing = broker.image().cluster_id.clone();
    if existing.is_empty() {
        broker
            .metadata
            .propose(Command::SetClusterId { id: fresh })
            .await
            .map_err(refused)?;
    }
    let listeners = bound
        .iter()
        .zip(&broker.config.listeners)
        .zip(&broker.config.advertised)
        .map(|((bound, address), advertised)| {
            let (host, port) = match advertised {
                Some(address) if address.port == 0 => (address.host.clone(), bound.port()),
                Some(address) => (address.host.clone(), address.port),
                None => {
                    let reachable = address.reachable(bound.port());
                    (reachable.host, reachable.port)
                }
            };
            Listener {
                name: "PLAINTEXT".into(),
                host,
                port,
            }
        })
        .collect();
    let spec = BrokerSpec {
        id: broker.config.node_id,
        listeners,
        rack: broker.config.rack.clone(),
        incarnation: *uuid::Uuid::new_v4().as_bytes(),
    };
    broker
        .metadata
        .propose(Command::RegisterBroker(spec))
        .await
        .map_err(refused)?;
    Ok(())
}

/// A partition in the store that the image does not know is left alone: deleting it would turn a lost metadata log
/// into lost records.
fn warn_of_strangers(broker: &Broker) {
    let image = broker.image();
    let known: std::collections::HashSet<_> = image
        .topics
        .values()
        .flat_map(|topic| topic.partitions.iter().map(|p| p.id))
        .collect();
    for entry in broker.log.partitions() {
        if !known.contains(&entry.id) {
            let (id, index) = (entry.id.0, entry.index);
            tracing::warn!(
                id,
                index,
                "the store holds a partition no topic has; left as it is"
            );
        }
    }
}

async fn accept(
    broker: Arc<Broker>,
    admissions: Arc<Admissions>,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, peer)) => {
                match admissions.enter(peer.ip(), &broker.live.load()) {
                    Ok(admitted) => {
                        let (broker, stopping) = (broker.clone(), stopping.clone());
                        connections.spawn(served(broker, socket, peer, admitted, stopping));
                    }
                    Err(key) => {
                        broker.metrics.connection_refused();
                        tracing::warn!(%peer, "connection refused: {key} is reached");
                    }
                }
                let rate = broker.live.load().max_connection_creation_rate;
                let pause = broker.quotas.accepted(rate);
                if !pause.is_zero() {
                    // Those that come meanwhile wait in the system's backlog.
                    let stopped = stopping.wait_for(|stop| *stop);
                    drop(tokio::time::timeout(pause, stopped).await);
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: let some connections end before trying again.
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn served(
    broker: Arc<Broker>,
    socket: TcpStream,
    peer: SocketAddr,
    _admitted: Admitted,
    stopping: watch::Receiver<bool>,
) {
    let refused = broker.quotas.connected(peer.ip());
    if !refused.is_zero() {
        // Held for a while, so that a client that tries again at once does so less often (KIP-612).
        broker.metrics.connection_refused();
        let mut stopping = stopping;
        drop(tokio::time::timeout(refused, stopping.wait_for(|stop| *stop)).await);
        return;
    }
    broker.metrics.connection_opened();
    let metrics = broker.metrics.clone();
    connection::serve(broker, socket, peer, stopping).await;
    metrics.connection_closed();
}

async fn serve_admin(
    broker: Arc<Broker>,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) {
    let stop = async move { drop(stopping.wait_for(|stop| *stop).await) };
    let served = axum::serve(listener, admin::router(broker))
        .with_graceful_shutdown(stop)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin port failed");
    }
}
