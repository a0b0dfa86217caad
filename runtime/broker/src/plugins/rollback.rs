//! Moving what a plugin's bare name means.

use std::sync::Arc;

use tidegate_metadata::{Command, Refusal};

use super::PluginService;
use crate::broker::Broker;
use crate::metadata_log::ProposeError;

/// What `latest` means now, and what it meant before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolledBack {
    pub(crate) latest: String,
    pub(crate) previous: String,
}

/// Why `latest` stays where it is; each is a sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RollbackError {
    #[error("{0}")]
    Unknown(String),
    /// There is nothing to go back to, or a binding would not take it.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Unavailable(String),
}

impl PluginService {
    /// Makes `version` the latest; without one, the version that was the latest before, so that asking twice changes
    /// nothing in the end. Every binding that follows the latest is made with it first: a refusal leaves everything.
    pub(crate) async fn rollback(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        version: Option<&str>,
    ) -> Result<RolledBack, RollbackError> {
        let _one_at_a_time = self.uploads.lock().await;
        let _turn = self.change_turn().await;
        let image = broker.image();
        let known = image.plugins.get(name).ok_or_else(|| {
            RollbackError::Unknown(format!("plugin `{}` is not uploaded", shorten(name)))
        })?;
        let version = match version.or(image.previous_latest.get(name).map(String::as_str)) {
            Some(version) => version.to_owned(),
            None => {
                return Err(RollbackError::Conflict(format!(
                    "no version of plugin `{name}` was the latest before {}; name the version to go to",
                    known.latest
                )));
            }
        };
        let previous = known.latest.clone();
        let command = Command::SetLatestPlugin {
            name: name.to_owned(),
            version: version.clone(),
        };
        self.check_command(broker, &command, false)
            .await
            .map_err(|why| {
                RollbackError::Conflict(format!("{name} {version} cannot become the latest: {why}"))
            })?;
        broker
            .metadata
            .propose(command)
            .await
            .map_err(|error| match error {
                ProposeError::Refused(refusal @ Refusal::UnknownPlugin(_)) => {
                    RollbackError::Unknown(refusal.to_string())
                }
                ProposeError::Refused(refusal) => RollbackError::Conflict(refusal.to_string()),
                other => RollbackError::Unavailable(other.to_string()),
            })?;
        Ok(RolledBack {
            latest: version,
            previous,
        })
    }
}

fn shorten(name: &str) -> String {
    name.chars().take(64).collect()
}
