//! Makes in the background what chains miss on this broker.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidegate_metadata::Image;

use super::bindings::{Barred, BindKey, Place, Stand, stands};
use super::rules::World;
use super::{PluginService, is_own_topic, own_topics, standing};
use crate::broker::Broker;

/// How often failed bindings are tried again and unwanted ones let go.
const LOOK_EVERY: Duration = Duration::from_secs(15);

impl PluginService {
    /// Starts the thread that makes what chains miss. Called once, when the broker is made; the thread ends with it.
    pub(crate) fn attach(&self, broker: &Arc<Broker>) {
        let (wake, woken) = sync_channel(1);
        if self.wake.set(wake).is_err() {
            return;
        }
        let broker = Arc::downgrade(broker);
        let thread = std::thread::Builder::new().name("tidegate-prepare".to_owned());
        if let Err(error) = thread.spawn(move || run(&broker, &woken)) {
            tracing::error!(%error, "no thread to compile plugins on: chains of later changes will not run");
        }
    }

    /// Makes everything that is missing and worth trying, and gives the topics their chains. Blocks for as long as the
    /// plugins take. True: nothing is left to do until the image changes.
    pub(super) fn prepare(&self, broker: &Arc<Broker>) -> bool {
        let image = broker.image();
        let mut wanted = HashSet::new();
        let mut complete = true;
        // Whatever stands on a topic may have been decided before something was ready that is so now.
        let mut stale = BTreeSet::new();
        for topic in image.topics.values().filter(|topic| !topic.internal) {
            let stands = self.stands_of(&image, &topic.name);
            wanted.extend(stands.iter().map(|stand| stand.key.clone()));
            complete &= self.make_missing(broker, &stands);
            if !stands.is_empty() {
                stale.insert(topic.name.clone());
            }
        }
        // The rules before the chains: nothing may run for a moment that they forbid.
        for (topic, place, why) in self.bindings.bar(self.barred(&image)) {
            if let Some(why) = why {
                tracing::warn!(topic, chain = place.name(), why, "a chain may not run");
            }
            stale.insert(topic);
        }
        for topic in stale {
            self.refresh(broker, &topic);
        }
        self.bindings.evict(&wanted) && complete
    }

    /// Every chain that could run here and breaks a rule.
    fn barred(&self, image: &Image) -> Barred {
        let facts = self.facts(image, &|stand| self.bindings.peek(&stand.key));
        let world = World {
            facts: &facts,
            is_internal: &|name| is_own_topic(image, name),
            internal_topics: &own_topics(image),
        };
        let mut barred = Barred::new();
        for topic in image.topics.values().filter(|topic| !topic.internal) {
            let Ok(config) = self.resolve(image, &topic.configs) else {
                continue;
            };
            for stand in self.stands_of(image, &topic.name) {
                let place = stand.key.place;
                let may_stand = match self.loaded(stand.key.digest) {
                    Some(plugin) => {
                        standing::check(&stand, &config, &plugin, &self.limits, self.bounds)
                    }
                    None => Ok(()),
                };
                if let Err(why) = may_stand {
                    barred.insert((topic.name.clone(), place), why);
                }
            }
            if let Err(why) = world.check_source(&topic.name) {
                barred.insert((topic.name.clone(), Place::Produce), why);
            }
        }
        barred
    }

    /// All chains of a topic; those that name what is not uploaded are left out.
    pub(super) fn stands_of(&self, image: &Image, topic: &str) -> Vec<Stand> {
        let Some(config) = image
            .topic(topic)
            .and_then(|topic| self.resolve(image, &topic.configs).ok())
        else {
            return Vec::new();
        };
        Place::ALL
            .into_iter()
            .filter_map(|place| stands(topic, &config, place, image).ok())
            .flatten()
            .collect()
    }

    /// False: something failed, and is to be tried again.
    fn make_missing(&self, broker: &Arc<Broker>, stands: &[Stand]) -> bool {
        let mut complete = true;
        for stand in stands {
            let key: &BindKey = &stand.key;
            if self.bindings.get(key).is_some() {
                continue;
            }
            if !self.bindings.wants_making(key) {
                complete = false;
                continue;
            }
            if let Err(why) = self.make(broker, stand) {
                tracing::warn!(
                    topic = key.topic,
                    alias = key.alias,
                    why,
                    "a chain cannot run"
                );
                self.bindings.fail(key.clone(), why);
                complete = false;
            }
        }
        complete
    }

    /// Gives a topic the chains of the newest image. A change that comes between is seen here or reconciled after.
    fn refresh(&self, broker: &Arc<Broker>, name: &str) {
        loop {
            let image = broker.image();
            let known = (image.topic(name), broker.topics.get(name));
            let (Some(topic), Some(live)) = known else {
                return;
            };
            let Ok(config) = self.resolve(&image, &topic.configs) else {
                return;
            };
            let (chains, _) = self.bindings.chains(name, &config, &image);
            live.settings.set_chains(chains);
            if Arc::ptr_eq(&image, &broker.image()) {
                return;
            }
        }
    }
}

fn run(broker: &Weak<Broker>, woken: &Receiver<()>) {
    let mut settled: Option<Arc<Image>> = None;
    loop {
        let look = match woken.recv_timeout(LOOK_EVERY) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(broker) = broker.upgrade() else {
            return;
        };
        let unchanged = settled
            .as_ref()
            .is_some_and(|image| Arc::ptr_eq(image, &broker.image()));
        if look || !unchanged {
            let image = broker.image();
            settled = broker.plugins.prepare(&broker).then_some(image);
        }
    }
}
