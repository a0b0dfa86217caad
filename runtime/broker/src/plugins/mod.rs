//! Plugins of a broker: uploading, storing, binding, and the chains that stand on topics.


use std::sync::Arc;

use bytes::Bytes;
use tidegate_metadata::config::TopicConfig;
use tidegate_metadata::{Command, Image};
use tidegate_plugin::{Engine, EngineError};

use crate::broker::Broker;
use crate::config::ServerConfig;
use crate::topics::TopicChains;

/// The topic that holds the plugins' bytes.
pub(crate) const PLUGINS_TOPIC: &str = "__tidegate_plugins";

pub(crate) struct PluginService {
    engine: Engine,
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uploaded {
    pub(crate) digest: [u8; 32],
    /// The same bytes were there under this name and version.
    pub(crate) already: bool,
}

/// Why a push was not accepted; each is a sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    /// Worth trying again.
    #[error("{0}")]
    Unavailable(String),
}

impl PluginService {
    pub(crate) fn new(_config: &ServerConfig) -> Result<Arc<PluginService>, EngineError> {
        let engine = Engine::new(Default::default())?;
        Ok(Arc::new(PluginService { engine }))
    }

    /// Shared with the partitions.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Called once, when the broker is made: background work finds it through a weak reference.
    pub(crate) fn attach(&self, _broker: &Arc<Broker>) {}

    /// Compiles what the image's bindings need; after it `chains` gives `Ready` for all that can be ready.
    pub(crate) async fn recover(&self, _broker: &Arc<Broker>) {}

    /// Plugins and topics of the configuration file, applied where they are not so yet. Errors are sentences.
    pub(crate) async fn apply_declarations(&self, _broker: &Arc<Broker>) -> Result<(), String> {
        Ok(())
    }

    pub(crate) async fn upload(
        &self,
        _broker: &Arc<Broker>,
        _name: &str,
        _version: &str,
        _wasm: Bytes,
    ) -> Result<Uploaded, UploadError> {
        Err(UploadError::Unavailable("not built yet".into()))
    }

    /// What stands on a topic now. Never blocks.
    pub(crate) fn chains(&self, _topic: &str, _config: &TopicConfig, _image: &Image) -> TopicChains {
        TopicChains::default()
    }

    /// Whether a command that is about to be proposed leaves every topic with chains that can run: call it before
    /// proposing `CreateTopic`, `SetTopicConfigs`, `SetBrokerConfigs`. Missing exact targets of routers are created
    /// unless `validate_only`. The error is a sentence.
    pub(crate) async fn check_command(
        &self,
        _broker: &Arc<Broker>,
        _command: &Command,
        _validate_only: bool,
    ) -> Result<(), String> {
        Ok(())
    }

    /// As `check_command`, for one topic with these settings.
    pub(crate) async fn check(
        &self,
        _broker: &Arc<Broker>,
        _topic: &str,
        _config: &TopicConfig,
        _validate_only: bool,
    ) -> Result<(), String> {
        Ok(())
    }

    /// Held across `check_command` and the proposal, so that two changes cannot each pass and together break rule 22.
    pub(crate) async fn change_turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::new(tokio::sync::Mutex::new(())).lock_owned().await
    }
}
