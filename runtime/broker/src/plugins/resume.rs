//! Letting a plugin run again that its policy or its breaker stopped.

use tidegate_plugin::BreakerState;

use super::PluginService;
use crate::broker::Broker;

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Unavailable(String),
}

impl PluginService {
    /// Ends the pause and closes the breaker of one alias of a topic, or of all that are stopped. Gives the aliases.
    pub(crate) fn resume(
        &self,
        broker: &Broker,
        topic: &str,
        alias: Option<&str>,
    ) -> Result<Vec<String>, ResumeError> {
        let image = broker.image();
        let live = broker.topics.get(topic);
        let Some(live) = live.filter(|_| image.topic(topic).is_some()) else {
            return Err(ResumeError::Unknown(format!(
                "topic `{}` does not exist",
                topic.chars().take(255).collect::<String>()
            )));
        };
        let mut stands = self.stands_of(&image, topic);
        let all: Vec<String> = stands.iter().map(|stand| stand.key.alias.clone()).collect();
        stands.retain(|stand| alias.is_none_or(|alias| stand.key.alias == alias));
        if let (Some(alias), true) = (alias, stands.is_empty()) {
            return Err(ResumeError::Unknown(format!(
                "no plugin stands as `{}` in a chain of topic `{topic}`; there is {}",
                alias.chars().take(64).collect::<String>(),
                match all.is_empty() {
                    true => "none at all".to_owned(),
                    false => all.join(", "),
                }
            )));
        }
        let mut resumed = Vec::new();
        for stand in &stands {
            let Some(binding) = self.bindings.peek(&stand.key) else {
                continue;
            };
            let stopped =
                binding.paused().is_some() || binding.stats().breaker != BreakerState::Closed;
            if stopped || alias.is_some() {
                binding.resume();
                resumed.push(stand.key.alias.clone());
            }
        }
        if let (Some(alias), true) = (alias, resumed.is_empty()) {
            return Err(ResumeError::Unavailable(format!(
                "the plugin that stands as `{alias}` in topic `{topic}` is not ready on this broker yet"
            )));
        }
        resumed.dedup();
        for partition in live.partitions() {
            partition.resume_chain();
        }
        Ok(resumed)
    }
}
