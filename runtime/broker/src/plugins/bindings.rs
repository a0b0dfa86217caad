//! The bindings of this broker: made once for each stand of a plugin in a topic's chain, found by what they are made of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_metadata::binding::{ChainEntry, ChainSpec};
use tidegate_metadata::config::{AliasSettings, TopicConfig};
use tidegate_metadata::{Image, PluginSignature};
use tidegate_plugin::{Binding, BindingSpec, Chain, Digest, Limits, OnError, Side};

use super::limits;
use super::shadow::{Gate, Shadow, ShadowCounters, ShadowReport};
use crate::topics::{ChainSlot, TopicChains};

/// A binding that no chain wants is kept for this long: a check makes it a moment before the change commits.
const KEPT_UNWANTED: Duration = Duration::from_secs(60);
/// A binding that could not be made is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// Which of a topic's chains a plugin stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    Produce,
    Consume,
    /// Beside the produce chain, without effect.
    Shadow,
}

impl Place {
    pub(crate) const ALL: [Place; 3] = [Place::Produce, Place::Consume, Place::Shadow];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Produce => "produce",
            Place::Consume => "consume",
            Place::Shadow => "shadow",
        }
    }

    pub(super) fn chain(self, config: &TopicConfig) -> &ChainSpec {
        match self {
            Place::Produce => &config.produce_chain,
            Place::Consume => &config.consume_chain,
            Place::Shadow => &config.shadow_chain,
        }
    }
}

/// Everything that makes a binding what it is. Two topics never share one: instances, limits and counters are a
/// topic's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BindKey {
    pub(super) topic: String,
    pub(super) place: Place,
    pub(super) alias: String,
    pub(super) digest: [u8; 32],
    /// With the topic's policies filled in.
    pub(super) settings: AliasSettings,
    /// A binding was made only after this was verified, so another signature is another binding.
    pub(super) signed: Option<Signed>,
}

/// What vouches for the bytes of a binding, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Signed {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) signature: PluginSignature,
}

/// A chain's entries with what they mean in one image.
pub(super) struct Stand {
    pub(super) key: BindKey,
    pub(super) entry: ChainEntry,
    pub(super) version: String,
    pub(super) world: String,
}

#[derive(Default)]
pub(super) struct Bindings {
    inner: Mutex<Inner>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Inner {
    ready: HashMap<BindKey, Ready>,
    failed: HashMap<BindKey, (String, Instant)>,
    barred: Barred,
    /// The chain last made for a place. Partitions remember things about a chain, so it stays the same one for as long as
    /// its bindings do, whatever else changes in the cluster.
    chains: HashMap<(String, Place), Arc<Chain>>,
    /// What shadows were found to do, by topic, for as long as the shadow is made of the same.
    shadows: HashMap<String, (Vec<BindKey>, Arc<ShadowCounters>)>,
}

/// Chains that break a rule, with the sentence that says which. They got here past every check: by a new version of
/// the broker, or by its configuration file.
pub(super) type Barred = BTreeMap<(String, Place), String>;

struct Ready {
    binding: Arc<Binding>,
    wanted: Instant,
}

impl BindKey {
    pub(super) fn spec(&self, limits: &Limits) -> BindingSpec {
        let settings = &self.settings;
        let on_error = settings.on_error.as_deref().and_then(|p| p.parse().ok());
        BindingSpec {
            alias: self.alias.clone(),
            config: settings.plugin.clone(),
            limits: limits::overridden(limits, &settings.limits),
            on_error: match (self.place, on_error.unwrap_or_default()) {
                // Nobody would resume what has no effect.
                (Place::Shadow, OnError::Pause) => OnError::Reject,
                (_, policy) => policy,
            },
            on_reject: settings
                .on_reject
                .as_deref()
                .and_then(|p| p.parse().ok())
                .unwrap_or_default(),
            side: match self.place {
                Place::Consume => Side::Consume,
                Place::Produce | Place::Shadow => Side::Produce,
            },
            ..BindingSpec::default()
        }
    }
}

/// What stands in one of a topic's chains. The error is a sentence: a plugin is not uploaded.
pub(super) fn stands(
    topic: &str,
    config: &TopicConfig,
    place: Place,
    image: &Image,
) -> Result<Vec<Stand>, String> {
    let stand = |entry: &ChainEntry| {
        let found = image
            .resolve_plugin(&entry.plugin)
            .ok_or_else(|| absent(entry, image))?;
        let alias = entry.alias.clone();
        let own = config.aliases.get(&alias).cloned().unwrap_or_default();
        let key = BindKey {
            topic: topic.to_owned(),
            place,
            digest: found.plugin.digest,
            settings: AliasSettings {
                on_error: Some(config.error_policy(&alias).to_owned()),
                // Rejections refuse nothing on the consume side: there is nobody to tell.
                on_reject: (place != Place::Consume)
                    .then(|| config.reject_policy(&alias).to_owned()),
                ..own
            },
            signed: image
                .plugin_signature(found.name, found.version)
                .map(|signature| Signed {
                    name: found.name.to_owned(),
                    version: found.version.to_owned(),
                    signature: *signature,
                }),
            alias,
        };
        Ok(Stand {
            key,
            entry: entry.clone(),
            version: found.version.to_owned(),
            world: found.plugin.world.clone(),
        })
    };
    place.chain(config).iter().map(stand).collect()
}

/// All of a topic's chains together.
pub(super) fn all_stands(
    topic: &str,
    config: &TopicConfig,
    image: &Image,
) -> Result<Vec<Stand>, String> {
    let chains = Place::ALL.map(|place| stands(topic, config, place, image));
    Ok(chains
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

impl Bindings {
    pub(super) fn get(&self, key: &BindKey) -> Option<Arc<Binding>> {
        let mut inner = self.lock();
        let ready = inner.ready.get_mut(key)?;
        ready.wanted = Instant::now();
        Some(ready.binding.clone())
    }

    /// As `get`, for somebody who only looks.
    pub(super) fn peek(&self, key: &BindKey) -> Option<Arc<Binding>> {
        self.lock()
            .ready
            .get(key)
            .map(|ready| ready.binding.clone())
    }

    pub(super) fn insert(&self, key: BindKey, binding: Arc<Binding>) -> Arc<Binding> {
        let mut inner = self.lock();
        inner.failed.remove(&key);
        // The first one stays: its counters may have begun.
        let ready = inner.ready.entry(key).or_insert(Ready {
            binding,
            wanted: Instant::now(),
        });
        ready.binding.clone()
    }

    pub(super) fn fail(&self, key: BindKey, why: String) {
        self.lock().failed.insert(key, (why, Instant::now()));
    }

    /// Whether it is worth trying to make this one now.
    pub(super) fn wants_making(&self, key: &BindKey) -> bool {
        let inner = self.lock();
        let waits = inner
            .failed
            .get(key)
            .is_some_and(|(_, at)| at.elapsed() < RETRY_AFTER);
        !inner.ready.contains_key(key) && !waits
    }

    /// Lets go of what no chain has wanted for a while. True: nothing is left that will have to go.
    pub(super) fn evict(&self, wanted: &HashSet<BindKey>) -> bool {
        let mut inner = self.lock();
        inner
            .ready
            .retain(|key, ready| wanted.contains(key) || ready.wanted.elapsed() < KEPT_UNWANTED);
        inner.failed.retain(|key, _| wanted.contains(key));
        let places: HashSet<_> = wanted.iter().map(|key| (&*key.topic, key.place)).collect();
        inner
            .chains
            .retain(|(topic, place), _| places.contains(&(&**topic, *place)));
        inner
            .shadows
            .retain(|_, (keys, _)| keys.iter().all(|key| wanted.contains(key)));
        inner.ready.keys().all(|key| wanted.contains(key))
    }

    /// Replaces what is barred; gives the chains for which that changes something, with what bars them now.
    pub(super) fn bar(&self, barred: Barred) -> Vec<(String, Place, Option<String>)> {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.barred, barred);
        let now = &inner.barred;
        let chains: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        chains
            .into_iter()
            .filter(|chain| before.get(*chain) != now.get(*chain))
            .map(|chain| (chain.0.clone(), chain.1, now.get(chain).cloned()))
            .collect()
    }

    /// Why a chain of the topic may not run, though it could.
    pub(super) fn barred(&self, topic: &str, place: Place) -> Option<String> {
        let chain = (topic.to_owned(), place);
        self.lock().barred.get(&chain).cloned()
    }

    /// The chains of a topic from what is ready here. The flag says whether something has to be made first.
    pub(super) fn chains(
        &self,
        topic: &str,
        config: &TopicConfig,
        image: &Image,
    ) -> (TopicChains, bool) {
        let slot = |place| self.slot(topic, config, place, image);
        let (produce, no_produce) = slot(Place::Produce);
        let (consume, no_consume) = slot(Place::Consume);
        let (shadow, no_shadow) = slot(Place::Shadow);
        let chains = TopicChains {
            produce,
            consume,
            shadow: match shadow {
                ChainSlot::Ready(chain) => Some(self.shadow(topic, config, image, chain)),
                ChainSlot::Unavailable(_) => None,
                ChainSlot::None => {
                    self.lock().shadows.remove(topic);
                    None
                }
            },
        };
        (chains, no_produce || no_consume || no_shadow)
    }

    fn shadow(
        &self,
        topic: &str,
        config: &TopicConfig,
        image: &Image,
        chain: Arc<Chain>,
    ) -> Arc<Shadow> {
        let stands = stands(topic, config, Place::Shadow, image).unwrap_or_default();
        let keys: Vec<BindKey> = stands.into_iter().map(|stand| stand.key).collect();
        let mut inner = self.lock();
        let entry = inner.shadows.entry(topic.to_owned()).or_default();
        if entry.0 != keys {
            *entry = (keys, Arc::default());
        }
        Shadow::new(chain, entry.1.clone(), self.gate.clone())
    }

    /// What the topic's shadow was found to do.
    pub(super) fn shadow_report(&self, topic: &str) -> Option<ShadowReport> {
        let inner = self.lock();
        let (_, counters) = inner.shadows.get(topic)?;
        Some(counters.report())
    }

    fn slot(
        &self,
        topic: &str,
        config: &TopicConfig,
        place: Place,
        image: &Image,
    ) -> (ChainSlot, bool) {
        if place.chain(config).is_empty() {
            return (ChainSlot::None, false);
        }
        let stands = match stands(topic, config, place, image) {
            Ok(stands) => stands,
            Err(why) => return (ChainSlot::Unavailable(why), false),
        };
        let mut bound = Vec::with_capacity(stands.len());
        for stand in &stands {
            match self.get(&stand.key) {
                Some(binding) => bound.push(binding),
                None => return (ChainSlot::Unavailable(self.why_not(stand)), true),
            }
        }
        match self.barred(topic, place) {
            // What the change is may be what lifts the bar, so it has to be looked at again.
            Some(why) => (ChainSlot::Unavailable(why), true),
            None => (ChainSlot::Ready(self.chain_of(topic, place, bound)), false),
        }
    }

    fn chain_of(&self, topic: &str, place: Place, bound: Vec<Arc<Binding>>) -> Arc<Chain> {
        let mut inner = self.lock();
        let known = inner.chains.entry((topic.to_owned(), place)).or_default();
        let same = known.bindings().len() == bound.len()
            && known
                .bindings()
                .iter()
                .zip(&bound)
                .all(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            *known = Arc::new(Chain::new(bound));
        }
        known.clone()
    }

    /// Why the stand's binding is not ready here.
    pub(super) fn why_not(&self, stand: &Stand) -> String {
        match self.lock().failed.get(&stand.key) {
            Some((why, _)) => why.clone(),
            None => format!(
                "plugin `{}` version {} is still being compiled on this broker",
                stand.entry.plugin, stand.version
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change behind the lock is one call on a map.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn digest(key: &BindKey) -> Digest {
    Digest(key.digest)
}

fn absent(entry: &ChainEntry, image: &Image) -> String {
    let name = &entry.plugin.name;
    match image.plugins.get(name) {
        None => format!(
            "plugin `{name}` is not uploaded; upload it with `tidegate plugin push FILE --name {name} --version VERSION`"
        ),
        Some(known) => {
            let versions: Vec<&str> = known.versions.keys().map(String::as_str).collect();
            format!(
                "plugin `{}` is not uploaded; there is {}",
                entry.plugin,
                versions.join(", ")
            )
        }
    }
}
