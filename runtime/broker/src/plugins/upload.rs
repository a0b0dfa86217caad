//! Plugins come and go.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tidegate_metadata::binding::{validate_plugin_name, validate_plugin_version};
use tidegate_metadata::{Command, Image, PluginSignature, Refusal};
use tidegate_plugin::{Digest, LoadError, World};

use super::PluginService;
use super::store::{self, Sha};
use super::trust::{Offered, Subject};
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::metadata_log::ProposeError;

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
    /// Other bytes have the version, or a binding that follows the latest would not take it.
    #[error("{0}")]
    Conflict(String),
    /// Nobody whom this broker trusts has signed it.
    #[error("{0}")]
    Untrusted(String),
    /// Worth trying again.
    #[error("{0}")]
    Unavailable(String),
}

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Bound(String),
    #[error("{0}")]
    Unavailable(String),
}

impl PluginService {
    /// Validates, compiles, stores and registers a plugin. Durable when it returns. The same bytes again are a success,
    /// and bring a signature to a version that had none.
    pub(crate) async fn upload_signed(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        version: &str,
        wasm: Bytes,
        offered: Offered,
    ) -> Result<Uploaded, UploadError> {
        validate_plugin_name(name).map_err(UploadError::Invalid)?;
        validate_plugin_version(version).map_err(UploadError::Invalid)?;
        let digest = Sha::from(Sha256::digest(&wasm));
        let _one_at_a_time = self.uploads.lock().await;
        let image = broker.image();
        let known = registered(&image, name, version);
        if known.is_some_and(|known| known != digest) {
            return Err(exists(name, version));
        }
        let stored = image.plugin_signature(name, version);
        let subject = Subject {
            name,
            version,
            digest,
        };
        // Before anything is compiled: a stranger's file must not cost that.
        let signature = self.trust.admit(subject, offered, stored)?;
        if known.is_some() && signature.as_ref() == stored {
            return Ok(Uploaded {
                digest,
                already: true,
            });
        }
        let accepted = self.accept(broker, subject, signature, wasm).await;
        if accepted.is_err() && !referenced(&broker.image()).contains_key(&digest) {
            self.engine.forget(&Digest(digest));
        }
        accepted.map(|()| Uploaded {
            digest,
            already: known.is_some(),
        })
    }

    async fn accept(
        &self,
        broker: &Arc<Broker>,
        subject: Subject<'_>,
        signature: Option<PluginSignature>,
        wasm: Bytes,
    ) -> Result<(), UploadError> {
        let Subject {
            name,
            version,
            digest,
        } = subject;
        let (engine, bytes) = (self.engine.clone(), wasm.clone());
        let plugin = self
            .work(move || Ok(engine.load(&bytes)))
            .await
            .map_err(UploadError::Unavailable)?
            .map_err(refused)?;
        let command = register(subject, signature, wasm.len() as u64, plugin.world());
        let _turn = self.change_turn().await;
        // Bindings that follow the latest must take the new one, before anybody is told that it is there.
        self.check_command(broker, &command, false)
            .await
            .map_err(|why| {
                UploadError::Conflict(format!("{name} {version} cannot become the latest: {why}"))
            })?;
        if !self.stored().contains(&digest) {
            store::write(broker, digest, &wasm)
                .await
                .map_err(UploadError::Unavailable)?;
            self.stored().insert(digest);
        }
        broker
            .metadata
            .propose(command)
            .await
            .map(drop)
            .map_err(|error| match error {
                ProposeError::Refused(Refusal::VersionExists { .. }) => exists(name, version),
                ProposeError::Refused(refusal) => UploadError::Invalid(refusal.to_string()),
                other => UploadError::Unavailable(other.to_string()),
            })
    }

    /// Removes one version, or all of a name. Refused while something is bound to it.
    pub(crate) async fn remove(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        version: Option<&str>,
    ) -> Result<(), RemoveError> {
        let _one_at_a_time = self.uploads.lock().await;
        let _turn = self.change_turn().await;
        let command = Command::RemovePlugin {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        let before = referenced(&broker.image());
        self.check_command(broker, &command, false)
            .await
            .map_err(|why| {
                RemoveError::Bound(format!(
                    "plugin `{name}` is bound by the configuration file: {why}"
                ))
            })?;
        broker
            .metadata
            .propose(command)
            .await
            .map_err(|error| match error {
                ProposeError::Refused(refusal @ Refusal::UnknownPlugin(_)) => {
                    RemoveError::Unknown(refusal.to_string())
                }
                ProposeError::Refused(refusal) => RemoveError::Bound(refusal.to_string()),
                other => RemoveError::Unavailable(other.to_string()),
            })?;
        let after = referenced(&broker.image());
        for (digest, size) in before
            .into_iter()
            .filter(|(digest, _)| !after.contains_key(digest))
        {
            self.forget(broker, digest, size).await;
        }
        Ok(())
    }

    /// Nobody can name these bytes any more; what fails here only costs space.
    async fn forget(&self, broker: &Arc<Broker>, digest: Sha, size: u64) {
        self.engine.forget(&Digest(digest));
        self.stored().remove(&digest);
        if let Err(why) = store::remove(broker, digest, size).await {
            tracing::warn!(why, "the chunks of a removed plugin stay");
        }
    }
}

fn register(
    subject: Subject<'_>,
    signature: Option<PluginSignature>,
    size: u64,
    world: World,
) -> Command {
    let (name, version) = (subject.name.to_owned(), subject.version.to_owned());
    let (digest, world) = (subject.digest, world.as_str().to_owned());
    let now_ms = now_ms();
    match signature {
        Some(signature) => Command::RegisterSignedPlugin {
            name,
            version,
            digest,
            size,
            world,
            now_ms,
            signature,
        },
        None => Command::RegisterPlugin {
            name,
            version,
            digest,
            size,
            world,
            now_ms,
        },
    }
}

/// Names the key that bounds what was too much.
fn refused(error: LoadError) -> UploadError {
    match error {
        LoadError::CompileTime { .. } => {
            UploadError::Invalid(format!("{error} (tidegate.plugins.compile.timeout.ms)"))
        }
        LoadError::CompileMemory { .. } => {
            UploadError::Invalid(format!("{error} (tidegate.plugins.compile.memory.bytes)"))
        }
        LoadError::Unavailable(why) => UploadError::Unavailable(why),
        other => UploadError::Invalid(other.to_string()),
    }
}

fn registered(image: &Image, name: &str, version: &str) -> Option<Sha> {
    Some(image.plugins.get(name)?.versions.get(version)?.digest)
}

/// The digests that a name and version stand for, with their sizes.
fn referenced(image: &Image) -> HashMap<Sha, u64> {
    image
        .plugins
        .values()
        .flat_map(|name| name.versions.values())
        .map(|version| (version.digest, version.size))
        .collect()
}

fn exists(name: &str, version: &str) -> UploadError {
    let refusal = Refusal::VersionExists {
        name: name.to_owned(),
        version: version.to_owned(),
    };
    UploadError::Conflict(refusal.to_string())
}
