//! Start and stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tidegate_metadata::{BrokerSpec, Command, Listener};
use tidegate_storage::{Log, LogOptions, RocksCommandLog, RocksLog, RocksOptions, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admissions::{Admissions, Admitted};
use crate::broker::{Broker, follow_image};
use crate::config::{HostPort, ServerConfig};
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::metadata_log::{LocalMetadata, ProposeError};
use crate::metrics::Metrics;
use crate::partition::PartitionEnv;
use crate::plugins::PluginService;
use crate::topics::Topics;
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
        listeners.push(listen(address).await?);
    }
    let admin_listener = listen(&config.admin).await?;
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
    let admissions = Admissions::new(
        broker.config.max_connections,
        broker.config.max_connections_per_ip,
    );
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

async fn listen(address: &HostPort) -> Result<TcpListener, StartError> {
    let host = if address.host.is_empty() {
        "0.0.0.0"
    } else {
        &address.host
    };
    TcpListener::bind((host, address.port))
        .await
        .map_err(|source| StartError::Listen {
            address: address.to_string(),
            source,
        })
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
    let store = RocksLog::open(&log_dir, RocksOptions::default()).map_err(failed(&log_dir))?;
    let options = LogOptions {
        tail_cache_bytes: config.tail_cache_bytes,
        queue_bytes: config.append_queue_bytes,
        lazy_sync_ms: config.lazy_sync_ms,
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
        max_decoded_bytes: config.max_decoded_bytes,
        chain_results: Default::default(),
    });
    let progress_topics = Arc::downgrade(&topics);
    log.on_progress(Box::new(move |progress| {
        if let Some(topics) = progress_topics.upgrade() {
            topics.progressed(progress);
        }
    }));
    let (hook_config, hook_topics, hook_plugins) =
        (config.clone(), topics.clone(), plugins.clone());
    metadata.on_change(Box::new(move |image| {
        follow_image(image, &hook_config, &hook_topics, &env, &hook_plugins);
    }));
    let memory = config
        .queued_request_bytes
        .max(config.socket_request_max_bytes);
    Ok(Arc::new(Broker {
        request_memory: Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS))),
        groups: Groups::new(&config),
        producer_ids: Default::default(),
        fetch_sessions: FetchSessions::new(config.max_fetch_sessions),
        metrics: Arc::new(Metrics::new()),
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
            Ok((socket, peer)) => match admissions.enter(peer.ip()) {
                Ok(admitted) => {
                    let (broker, stopping) = (broker.clone(), stopping.clone());
                    connections.spawn(served(broker, socket, peer, admitted, stopping));
                }
                Err(key) => {
                    broker.metrics.connection_refused();
                    tracing::warn!(%peer, "connection refused: {key} is reached");
                }
            },
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
