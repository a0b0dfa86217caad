//! A broker in memory, for tests of what stands above the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_metadata::{BrokerSpec, Command, Listener, Outcome};
use tidegate_storage::{CommandLog, Log, LogOptions, MemoryCommandLog, MemoryLog, StoreError};

use super::upload::Uploaded;
use super::{Offered, PluginService, UploadError};
use crate::broker::Broker;
use crate::config::{ServeOptions, ServerConfig};
use crate::metadata_log::LocalMetadata;
use crate::server::{Stores, assemble};
use crate::topics::TopicChains;

#[path = "../../../plugin/tests/suite/guests.rs"]
#[allow(dead_code, reason = "the plugin host's tests use all of it")]
pub(crate) mod guests;

/// What survives a restart.
#[derive(Clone, Default)]
pub(crate) struct Disks {
    log: Arc<MemoryLog>,
    commands: Arc<MemoryCommandLog>,
}

struct SharedCommands(Arc<MemoryCommandLog>);

impl CommandLog for SharedCommands {
    fn append(&self, command: &[u8]) -> Result<u64, StoreError> {
        self.0.append(command)
    }

    fn replay(
        &self,
        from: u64,
        f: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.0.replay(from, f)
    }

    fn snapshot(&self, index: u64, image: &[u8]) -> Result<(), StoreError> {
        self.0.snapshot(index, image)
    }

    fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.0.load_snapshot()
    }
}

impl PluginService {
    /// An upload without a signature.
    pub(crate) async fn upload(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        version: &str,
        wasm: Bytes,
    ) -> Result<Uploaded, UploadError> {
        self.upload_signed(broker, name, version, wasm, Offered::default())
            .await
    }
}

pub(crate) fn config() -> ServerConfig {
    ServerConfig::load(&ServeOptions::default()).expect("the defaults are valid")
}

/// Starts a broker on what an earlier one left, as far as its plugins are concerned.
pub(crate) async fn start(config: ServerConfig, disks: &Disks) -> Arc<Broker> {
    let log = Log::open(disks.log.clone(), LogOptions::default()).expect("memory opens");
    let metadata = LocalMetadata::open(Box::new(SharedCommands(disks.commands.clone())))
        .expect("memory replays");
    let broker = assemble(config, Stores { log, metadata }).expect("the engine starts");
    register(&broker).await;
    broker.plugins.attach(&broker);
    broker.plugins.recover(&broker).await;
    broker
}

async fn register(broker: &Broker) {
    let spec = BrokerSpec {
        id: broker.node_id(),
        listeners: vec![Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 1,
        }],
        rack: None,
        incarnation: *uuid::Uuid::new_v4().as_bytes(),
    };
    propose(broker, Command::SetClusterId { id: "test".into() }).await;
    propose(broker, Command::RegisterBroker(spec)).await;
}

/// Proposes without a check, as nobody but a test may.
pub(crate) async fn propose(broker: &Broker, command: Command) -> Outcome {
    broker
        .metadata
        .propose(command)
        .await
        .expect("the command is accepted")
}

/// Checks and proposes, as the APIs do.
pub(crate) async fn change(broker: &Arc<Broker>, command: Command) -> Result<(), String> {
    let _turn = broker.plugins.change_turn().await;
    broker
        .plugins
        .check_command(broker, &command, false)
        .await?;
    broker
        .metadata
        .propose(command)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(crate) fn create(name: &str, configs: &[(&str, &str)]) -> Command {
    Command::CreateTopic {
        name: name.to_owned(),
        id: *uuid::Uuid::new_v4().as_bytes(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: configs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        internal: false,
    }
}

pub(crate) fn set(name: &str, configs: &[(&str, Option<&str>)]) -> Command {
    let set: BTreeMap<_, _> = configs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)))
        .collect();
    Command::SetTopicConfigs {
        name: name.to_owned(),
        set,
    }
}

pub(crate) async fn push(broker: &Arc<Broker>, name: &str, version: &str, wasm: &[u8]) {
    let pushed = broker
        .plugins
        .upload(broker, name, version, Bytes::copy_from_slice(wasm))
        .await;
    pushed.expect("the plugin is accepted");
}

pub(crate) fn chains(broker: &Broker, topic: &str) -> TopicChains {
    let topic = broker.topics.get(topic).expect("the topic is there");
    topic.settings.chains().as_ref().clone()
}

/// A filter that keeps everything.
pub(crate) fn filter() -> Vec<u8> {
    guests::Guest::filter(guests::KEEP_ALL).build()
}

/// A router whose only target is this topic.
pub(crate) fn router(target: &str) -> Vec<u8> {
    let len = target.len();
    guests::Guest {
        // A list of one string stands at 1000.
        extra: format!(
            "(data (i32.const 1000) \"\\f0\\03\\00\\00\\{len:02x}\\00\\00\\00{target}\")"
        ),
        targets: "
            (i32.store8 (i32.const 512) (i32.const 0))
            (i32.store (i32.const 516) (i32.const 1000))
            (i32.store (i32.const 520) (i32.const 1))
            (i32.const 512)"
            .into(),
        ..guests::Guest::router(guests::ROUTE_ALL)
    }
    .build()
}

/// A filter that takes no configuration at all.
pub(crate) fn refuses_configuration() -> Vec<u8> {
    guests::Guest {
        configure: "(call $fail (i32.const 740) (i32.const 11))".into(),
        ..guests::Guest::filter(guests::KEEP_ALL)
    }
    .build()
}
