//! Plugin names and versions, and the chains that hold them in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::binding::{
    ChainEntry, PluginRef, parse_chain, validate_plugin_name, validate_plugin_version,
};
use crate::command::{Outcome, Refusal};
use crate::config::{CHAINS, CONSUME_CHAIN};
use crate::image::{Image, PluginName, PluginSignature, PluginVersion};

/// Most versions kept under one name; older ones are removed by hand.
const MAX_VERSIONS: usize = 1000;
const WORLDS: [&str; 3] = ["filter", "router", "transform"];

pub(crate) struct Upload {
    pub(crate) digest: [u8; 32],
    pub(crate) size: u64,
    pub(crate) world: String,
    pub(crate) uploaded_ms: i64,
    pub(crate) signature: Option<PluginSignature>,
}

pub(crate) fn register(
    image: &mut Image,
    name: &str,
    version: &str,
    upload: Upload,
) -> Result<Outcome, Refusal> {
    validate_plugin_name(name).map_err(Refusal::InvalidPlugin)?;
    validate_plugin_version(version).map_err(Refusal::InvalidPlugin)?;
    if !WORLDS.contains(&upload.world.as_str()) {
        return Err(Refusal::InvalidPlugin(format!(
            "a plugin's world is one of {}, not `{}`",
            WORLDS.join(", "),
            upload.world
        )));
    }
    if let Some(known) = image.plugins.get(name) {
        match known.versions.get(version) {
            Some(same) if same.digest == upload.digest => {
                return Ok(sign(image, name, version, upload.signature));
            }
            Some(_) => {
                let (name, version) = (name.to_owned(), version.to_owned());
                return Err(Refusal::VersionExists { name, version });
            }
            None if known.versions.len() >= MAX_VERSIONS => {
                return Err(Refusal::InvalidPlugin(format!(
                    "plugin `{name}` has {MAX_VERSIONS} versions; remove old ones first"
                )));
            }
            None => {}
        }
    }
    let order = image.next_plugin_order;
    image.next_plugin_order += 1;
    let Upload {
        digest,
        size,
        world,
        uploaded_ms,
        signature,
    } = upload;
    let row = PluginVersion {
        digest,
        size,
        world,
        uploaded_ms,
        order,
    };
    let entry = Arc::make_mut(&mut image.plugins)
        .entry(name.to_owned())
        .or_default();
    entry.versions.insert(version.to_owned(), row);
    let before = std::mem::replace(&mut entry.latest, version.to_owned());
    remember_latest(image, name, before);
    sign(image, name, version, signature);
    check_bound_worlds(image, name)?;
    Ok(Outcome::Done)
}

/// A version that was signed does not lose its signature to a push without one.
fn sign(
    image: &mut Image,
    name: &str,
    version: &str,
    signature: Option<PluginSignature>,
) -> Outcome {
    match signature {
        Some(given) if image.plugin_signature(name, version) != Some(&given) => {
            let versions = image.plugin_signatures.entry(name.to_owned()).or_default();
            versions.insert(version.to_owned(), given);
            Outcome::Done
        }
        _ => Outcome::Unchanged,
    }
}

/// Signatures go with what they are of.
fn forget_signatures(image: &mut Image, name: &str) {
    let Some(versions) = image.plugin_signatures.get_mut(name) else {
        return;
    };
    match image.plugins.get(name) {
        Some(left) => versions.retain(|version, _| left.versions.contains_key(version)),
        None => versions.clear(),
    }
    if versions.is_empty() {
        image.plugin_signatures.remove(name);
    }
}

pub(crate) fn remove(
    image: &mut Image,
    name: &str,
    version: Option<&str>,
) -> Result<Outcome, Refusal> {
    let known = image.plugins.get(name).ok_or_else(|| unknown_name(name))?;
    if let Some(version) = version.filter(|version| !known.versions.contains_key(*version)) {
        return Err(unknown_version(name, version, known));
    }
    let before = image.clone();
    let plugins = Arc::make_mut(&mut image.plugins);
    match (version, plugins.get_mut(name)) {
        (Some(version), Some(entry)) if entry.versions.len() > 1 => {
            entry.versions.remove(version);
            if entry.latest == version {
                entry.latest = newest(entry);
            }
        }
        _ => {
            plugins.remove(name);
        }
    }
    let kept = |previous: &String| {
        let entry = image.plugins.get(name)?;
        (entry.latest != *previous && entry.versions.contains_key(previous)).then_some(())
    };
    if image.previous_latest.get(name).and_then(kept).is_none() {
        image.previous_latest.remove(name);
    }
    forget_signatures(image, name);
    check_nothing_lost(&before, image, name)?;
    Ok(Outcome::Done)
}

pub(crate) fn set_latest(image: &mut Image, name: &str, version: &str) -> Result<Outcome, Refusal> {
    let known = image.plugins.get(name).ok_or_else(|| unknown_name(name))?;
    if !known.versions.contains_key(version) {
        return Err(unknown_version(name, version, known));
    }
    if known.latest == version {
        return Ok(Outcome::Unchanged);
    }
    if let Some(entry) = Arc::make_mut(&mut image.plugins).get_mut(name) {
        let before = std::mem::replace(&mut entry.latest, version.to_owned());
        remember_latest(image, name, before);
    }
    check_bound_worlds(image, name)?;
    Ok(Outcome::Done)
}

/// `before` is empty for the first version of a name.
fn remember_latest(image: &mut Image, name: &str, before: String) {
    if !before.is_empty() {
        image.previous_latest.insert(name.to_owned(), before);
    }
}

/// Checks that the plugins of all chains are there and may stand where they are put.
pub(crate) fn check_chains(
    image: &Image,
    configs: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    for name in CHAINS {
        let Some(value) = configs.get(name) else {
            continue;
        };
        let refuse = |why: String| Refusal::InvalidConfig {
            name: name.to_owned(),
            why,
        };
        let chain = parse_chain(value).map_err(refuse)?;
        for entry in chain.iter() {
            check_entry(image, name == CONSUME_CHAIN, entry).map_err(refuse)?;
        }
    }
    Ok(())
}

fn check_entry(image: &Image, consume: bool, entry: &ChainEntry) -> Result<(), String> {
    let found = image
        .resolve_plugin(&entry.plugin)
        .ok_or_else(|| not_uploaded(image, &entry.plugin))?;
    if consume && found.plugin.world == "router" {
        return Err(format!(
            "`{}` is a router, and a router cannot stand in a consume chain: there are no offsets \
             for what it would add",
            entry.plugin
        ));
    }
    Ok(())
}

/// A new `latest` of another world may not slip a router into a consume chain.
fn check_bound_worlds(image: &Image, plugin: &str) -> Result<(), Refusal> {
    for topic in image.topics.values() {
        if image_names(&topic.configs, plugin) {
            check_chains(image, &topic.configs)?;
        }
    }
    if image_names(&image.broker_configs, plugin) {
        check_chains(image, &image.broker_configs)?;
    }
    Ok(())
}

/// After a removal, everything that was bound must still resolve, and to the same bytes unless it
/// follows the latest.
fn check_nothing_lost(before: &Image, after: &Image, plugin: &str) -> Result<(), Refusal> {
    let broker = [("the broker's defaults", &before.broker_configs)];
    let topics = before
        .topics
        .values()
        .map(|topic| (topic.name.as_str(), &topic.configs));
    for (holder, configs) in topics.chain(broker) {
        for name in CHAINS {
            let chain = configs.get(name).and_then(|value| parse_chain(value).ok());
            let lost = chain.unwrap_or_default().0.into_iter().any(|entry| {
                entry.plugin.name == plugin
                    && before
                        .resolve_plugin(&entry.plugin)
                        .map(|found| found.version)
                        != after
                            .resolve_plugin(&entry.plugin)
                            .map(|found| found.version)
            });
            if lost {
                let (plugin, topic) = (plugin.to_owned(), holder.to_owned());
                return Err(Refusal::PluginBound { plugin, topic });
            }
        }
    }
    Ok(())
}

fn image_names(configs: &BTreeMap<String, String>, plugin: &str) -> bool {
    CHAINS
        .iter()
        .filter_map(|name| parse_chain(configs.get(*name)?).ok())
        .any(|chain| chain.iter().any(|entry| entry.plugin.name == plugin))
}

fn newest(entry: &PluginName) -> String {
    let newest = entry
        .versions
        .iter()
        .max_by_key(|(_, version)| version.order);
    newest
        .map(|(version, _)| version.clone())
        .unwrap_or_default()
}

fn not_uploaded(image: &Image, reference: &PluginRef) -> String {
    let name = &reference.name;
    match image.plugins.get(name) {
        None => format!(
            "plugin `{name}` is not uploaded; upload it with `tidegate plugin push FILE --name \
             {name} --version VERSION`"
        ),
        Some(known) => format!(
            "plugin `{name}` is uploaded, but not as `{reference}`; it has {}",
            versions(known)
        ),
    }
}

fn unknown_name(name: &str) -> Refusal {
    let name: String = name.chars().take(64).collect();
    Refusal::UnknownPlugin(format!("plugin `{name}` is not uploaded"))
}

fn unknown_version(name: &str, version: &str, known: &PluginName) -> Refusal {
    let version: String = version.chars().take(64).collect();
    Refusal::UnknownPlugin(format!(
        "plugin `{name}` has no version `{version}`; it has {}",
        versions(known)
    ))
}

/// The few newest versions, for a sentence.
fn versions(known: &PluginName) -> String {
    const SHOWN: usize = 5;
    let mut all: Vec<_> = known
        .versions
        .iter()
        .map(|(name, v)| (v.order, name.as_str()))
        .collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    let shown: Vec<_> = all.iter().take(SHOWN).map(|(_, name)| *name).collect();
    let more = if all.len() > SHOWN {
        " and older ones"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}
