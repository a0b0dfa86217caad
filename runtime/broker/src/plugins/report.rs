//! What is bound where, for the admin port and the metrics.

use std::sync::Arc;

use tidegate_plugin::{BindingStats, Digest, Plugin};

use super::PluginService;
use super::bindings::Stand;
use crate::broker::Broker;

/// One stand of a plugin in a topic's chain.
#[derive(Clone, Debug)]
pub(crate) struct BindingReport {
    pub(crate) topic: String,
    /// `produce`, `consume` or `shadow`.
    pub(crate) side: &'static str,
    pub(crate) alias: String,
    pub(crate) plugin: String,
    pub(crate) version: String,
    /// `None` while it is not made on this broker.
    pub(crate) stats: Option<BindingStats>,
}

impl PluginService {
    /// The bindings of one plugin, or of all, by topic; at most `limit` of them.
    pub(crate) fn bindings(
        &self,
        broker: &Broker,
        plugin: Option<&str>,
        limit: usize,
    ) -> Vec<BindingReport> {
        let image = broker.image();
        let topics = image.topics.values().filter(|topic| !topic.internal);
        topics
            .flat_map(|topic| self.stands_of(&image, &topic.name))
            .filter(|stand| plugin.is_none_or(|name| stand.entry.plugin.name == name))
            .take(limit)
            .map(|stand| self.report(stand))
            .collect()
    }

    /// The plugin if it is loaded here.
    pub(crate) fn loaded(&self, digest: [u8; 32]) -> Option<Arc<Plugin>> {
        self.engine.plugin(&Digest(digest))
    }

    /// The plugin, loaded if need be. The error is a sentence.
    pub(crate) async fn load(
        &self,
        broker: &Arc<Broker>,
        digest: [u8; 32],
    ) -> Result<Arc<Plugin>, String> {
        if let Some(plugin) = self.loaded(digest) {
            return Ok(plugin);
        }
        let (service, theirs) = (broker.plugins.clone(), broker.clone());
        self.work(move || service.plugin(&theirs, Digest(digest)))
            .await
    }

    fn report(&self, stand: Stand) -> BindingReport {
        BindingReport {
            side: stand.key.place.name(),
            stats: self
                .bindings
                .peek(&stand.key)
                .map(|binding| binding.stats()),
            topic: stand.key.topic,
            alias: stand.key.alias,
            plugin: stand.entry.plugin.name,
            version: stand.version,
        }
    }
}
