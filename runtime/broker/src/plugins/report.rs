//! What is bound where, for the admin port and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_metadata::Image;
use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{BindingStats, Digest, Plugin};

use super::bindings::{Place, Stand};
use super::shadow::ShadowReport;
use super::trust::Subject;
use super::{PluginService, limits, store};
use crate::broker::Broker;

/// One stand of a plugin in a topic's chain.
#[derive(Clone, Debug)]
pub(crate) struct BindingReport {
    pub(crate) topic: String,
    pub(crate) place: Place,
    pub(crate) alias: String,
    pub(crate) plugin: String,
    /// As the chain writes it, pinned or not.
    pub(crate) reference: String,
    pub(crate) version: String,
    pub(crate) digest: [u8; 32],
    pub(crate) world: String,
    /// The effective policies, by name.
    pub(crate) on_error: String,
    /// `None` on the consume side, where nobody is told of a rejection.
    pub(crate) on_reject: Option<String>,
    pub(crate) limits: BTreeMap<&'static str, u64>,
    /// Its configuration, defaults included; a secret value is `None`. Empty where the plugin is not loaded.
    pub(crate) config: BTreeMap<String, Option<String>>,
    /// `None` while it is not made on this broker.
    pub(crate) stats: Option<BindingStats>,
    /// Why it does not run here.
    pub(crate) error: Option<String>,
}

/// A topic's chains, as they are on this broker.
#[derive(Clone, Debug)]
pub(crate) struct TopicReport {
    /// The chains as they are written, by the order of [`Place::ALL`].
    pub(crate) chains: [String; 3],
    pub(crate) dead_letter_topic: Option<String>,
    pub(crate) bindings: Vec<BindingReport>,
    pub(crate) shadow: Option<ShadowReport>,
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

    /// The chains of a topic. `None`: there is no such topic; the error is a sentence about its configuration.
    pub(crate) fn topic_report(
        &self,
        image: &Image,
        topic: &str,
    ) -> Option<Result<TopicReport, String>> {
        let known = image.topic(topic)?;
        let config: TopicConfig = match self.resolve(image, &known.configs) {
            Ok(config) => config,
            Err(why) => return Some(Err(why)),
        };
        let stands = self.stands_of(image, topic);
        Some(Ok(TopicReport {
            chains: Place::ALL.map(|place| place.chain(&config).to_string()),
            bindings: stands.into_iter().map(|stand| self.report(stand)).collect(),
            shadow: self.bindings.shadow_report(topic),
            dead_letter_topic: config.dead_letter_topic,
        }))
    }

    /// What every topic's shadow was found to do, by topic.
    pub(crate) fn shadows(&self, image: &Image) -> Vec<(String, ShadowReport)> {
        let topics = image.topics.keys();
        topics
            .filter_map(|topic| Some((topic.clone(), self.bindings.shadow_report(topic)?)))
            .collect()
    }

    /// The plugin if it is loaded here.
    pub(crate) fn loaded(&self, digest: [u8; 32]) -> Option<Arc<Plugin>> {
        self.engine.plugin(&Digest(digest))
    }

    /// The plugin, loaded if need be and if somebody whom this broker trusts vouches for it. The error is a sentence.
    pub(crate) async fn load(
        &self,
        broker: &Arc<Broker>,
        name: &str,
        version: &str,
        digest: [u8; 32],
    ) -> Result<Arc<Plugin>, String> {
        let subject = Subject {
            name,
            version,
            digest,
        };
        let image = broker.image();
        self.trust
            .verify(subject, image.plugin_signature(name, version))?;
        if let Some(plugin) = self.loaded(digest) {
            return Ok(plugin);
        }
        let (service, theirs) = (broker.plugins.clone(), broker.clone());
        self.work(move || service.plugin(&theirs, Digest(digest)))
            .await
    }

    /// The component's bytes, as they were pushed. The error is a sentence.
    pub(crate) async fn component(
        &self,
        broker: &Arc<Broker>,
        digest: [u8; 32],
    ) -> Result<Vec<u8>, String> {
        let (theirs, max) = (broker.clone(), self.max_upload_bytes);
        let read = tokio::task::spawn_blocking(move || store::read(&theirs, digest, max));
        read.await
            .map_err(|_| "the broker is shutting down".to_owned())??
            .ok_or_else(|| "the plugin's bytes are not on this broker".to_owned())
    }

    fn report(&self, stand: Stand) -> BindingReport {
        let binding = self.bindings.peek(&stand.key);
        let error = match &binding {
            Some(_) => self.bindings.barred(&stand.key.topic, stand.key.place),
            None => Some(self.bindings.why_not(&stand)),
        };
        let settings = &stand.key.settings;
        let limits = limits::overridden(&self.limits, &settings.limits);
        BindingReport {
            place: stand.key.place,
            on_error: settings.on_error.clone().unwrap_or_default(),
            on_reject: settings.on_reject.clone(),
            limits: limits::named(&limits).into(),
            config: self.shown_config(&stand),
            stats: binding.map(|binding| binding.stats()),
            error,
            reference: stand.entry.plugin.to_string(),
            digest: stand.key.digest,
            topic: stand.key.topic,
            alias: stand.key.alias,
            plugin: stand.entry.plugin.name,
            version: stand.version,
            world: stand.world,
        }
    }

    fn shown_config(&self, stand: &Stand) -> BTreeMap<String, Option<String>> {
        let Some(plugin) = self.loaded(stand.key.digest) else {
            return BTreeMap::new();
        };
        let set = &stand.key.settings.plugin;
        let keys = plugin.description().config.iter();
        keys.filter_map(|key| {
            let value = set.get(&key.name).or(key.default.as_ref())?;
            Some((key.name.clone(), (!key.secret).then(|| value.clone())))
        })
        .collect()
    }
}
