//! The plugins and topics that the configuration file declares, applied where they are not so yet.
//!
//! A declaration only adds: a topic or a binding that left the file stays until somebody removes it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_metadata::{Command, Refusal};
use tidegate_plugin::SignedBy;

use super::{Offered, PluginService};
use crate::broker::Broker;
use crate::config::{PluginFile, TopicDeclaration};
use crate::metadata_log::ProposeError;

impl PluginService {
    /// To be awaited once at start, after [`recover`](Self::recover). Does nothing where nothing differs. The error is
    /// a sentence that names the declaration.
    pub(crate) async fn apply_declarations(&self, broker: &Arc<Broker>) -> Result<(), String> {
        for plugin in &broker.config.plugins {
            self.declare_plugin(broker, plugin)
                .await
                .map_err(|why| format!("plugin `{}` of the configuration: {why}", plugin.name))?;
        }
        let topics = &broker.config.topics;
        let named = |name: &str| {
            let name = name.to_owned();
            move |why| format!("topic `{name}` of the configuration: {why}")
        };
        // All topics are there before the first chain is bound: a declared one may be a router's target.
        for (name, declared) in topics {
            create(broker, name, declared).await.map_err(named(name))?;
        }
        for (name, declared) in topics {
            self.configure(broker, name, declared)
                .await
                .map_err(named(name))?;
        }
        Ok(())
    }

    async fn declare_plugin(&self, broker: &Arc<Broker>, file: &PluginFile) -> Result<(), String> {
        let bytes = read(&file.path, self.max_upload_bytes).await?;
        let offered = match &file.signature {
            Some(path) => signature(path).await?,
            None => Offered::default(),
        };
        let (name, version, wasm) = (&file.name, &file.version, Bytes::from(bytes));
        self.upload_signed(broker, name, version, wasm, offered)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    async fn configure(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        declared: &TopicDeclaration,
    ) -> Result<(), String> {
        let _turn = self.change_turn().await;
        let image = broker.image();
        let topic = image
            .topic(name)
            .ok_or("it went away while the broker started")?;
        let set: BTreeMap<String, Option<String>> = declared
            .configs
            .iter()
            .filter(|(key, value)| topic.configs.get(*key) != Some(*value))
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        if set.is_empty() {
            return Ok(());
        }
        let command = Command::SetTopicConfigs {
            name: name.to_owned(),
            set,
        };
        self.check_command(broker, &command, false).await?;
        propose(broker, command).await
    }
}

/// At most one byte more than may be, so that a file that is too large is seen to be.
async fn read(path: &Path, max: usize) -> Result<Vec<u8>, String> {
    let from = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(from)?
            .take(max as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    read.await
        .map_err(|_| "the broker is shutting down".to_owned())?
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// A file that `tidegate plugin sign` wrote.
async fn signature(path: &Path) -> Result<Offered, String> {
    const MAX_BYTES: usize = 4096;
    let text = String::from_utf8_lossy(&read(path, MAX_BYTES).await?).into_owned();
    let signed: SignedBy = text
        .parse()
        .map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Offered {
        signature: Some(signed.signature),
        key: Some(signed.key),
    })
}

async fn create(
    broker: &Arc<Broker>,
    name: &str,
    declared: &TopicDeclaration,
) -> Result<(), String> {
    let image = broker.image();
    let Some(topic) = image.topic(name) else {
        let command = Command::CreateTopic {
            name: name.to_owned(),
            id: uuid::Uuid::new_v4().into_bytes(),
            partitions: declared.partitions.unwrap_or(broker.config.num_partitions),
            replication_factor: declared
                .replication_factor
                .unwrap_or(broker.config.default_replication_factor),
            assignments: Vec::new(),
            configs: BTreeMap::new(),
            internal: false,
        };
        return match broker.metadata.propose(command).await {
            Ok(_) | Err(ProposeError::Refused(Refusal::TopicExists(_))) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
    };
    let have = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    match declared.partitions.filter(|wanted| *wanted > have) {
        None => Ok(()),
        Some(count) => {
            let assignments = Vec::new();
            let command = Command::CreatePartitions {
                name: name.to_owned(),
                count,
                assignments,
            };
            propose(broker, command).await
        }
    }
}

async fn propose(broker: &Arc<Broker>, command: Command) -> Result<(), String> {
    broker
        .metadata
        .propose(command)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
