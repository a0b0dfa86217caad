//! Whether a plugin may stand where a topic puts it. What other topics have to do with it is in `rules`.

use tidegate_metadata::config::{COMPACTION_REWRITE_KEYS, ON_ERROR, TopicConfig};
use tidegate_plugin::{Limits, Plugin, State, World};

use super::bindings::{Place, Stand};
use super::limits;

/// What the engine has for one binding at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) memory_bytes: usize,
    pub(super) instances: usize,
}

/// The error is a sentence that says what to do.
pub(super) fn check(
    stand: &Stand,
    config: &TopicConfig,
    plugin: &Plugin,
    limits: &Limits,
    bounds: Bounds,
) -> Result<(), String> {
    check_world(stand, plugin.world())?;
    check_state(stand, plugin.description().state)?;
    check_policy(stand, config)?;
    let writes_keys = plugin.world() == World::Transform && plugin.description().writes.key;
    if writes_keys && stand.key.place == Place::Produce && config.keys_fixed() {
        return Err(format!(
            "`{}` replaces keys, and topic `{}` is compacted: another key is another record. Set \
             {COMPACTION_REWRITE_KEYS}=true if that is meant, or leave `{}` out of tidegate.produce.chain",
            stand.entry.plugin, stand.key.topic, stand.key.alias
        ));
    }
    check_limits(stand, limits, bounds)
}

fn check_world(stand: &Stand, world: World) -> Result<(), String> {
    match (stand.key.place, world) {
        (Place::Consume, World::Router) => Err(format!(
            "`{}` is a router and cannot stand in tidegate.consume.chain, where there are no offsets for what it would \
             add: put it into tidegate.produce.chain",
            stand.entry.plugin
        )),
        _ => Ok(()),
    }
}

/// Rule 19: consumers rewind. A shadow runs beside the real chain, so nobody tells it what was appended.
fn check_state(stand: &Stand, state: State) -> Result<(), String> {
    match (stand.key.place, state) {
        (Place::Produce, _) | (_, State::None) => Ok(()),
        (place, State::Partition) => Err(format!(
            "`{}` keeps state for each partition and cannot stand in tidegate.{}.chain, where batches come again and in \
             any order: put it into tidegate.produce.chain",
            stand.entry.plugin,
            place.name()
        )),
    }
}

/// A consumer's fetch appends nothing.
fn check_policy(stand: &Stand, config: &TopicConfig) -> Result<(), String> {
    let alias = &stand.key.alias;
    match (stand.key.place, config.error_policy(alias)) {
        (Place::Consume, "dead-letter") => Err(format!(
            "`{alias}` stands in tidegate.consume.chain, where no record can be moved to a dead-letter topic: set \
             {ON_ERROR}.{alias} to reject, drop, pass or pause"
        )),
        _ => Ok(()),
    }
}

fn check_limits(stand: &Stand, base: &Limits, bounds: Bounds) -> Result<(), String> {
    let set = &stand.key.settings.limits;
    let limits = limits::overridden(base, set);
    for (name, value, max, key) in [
        (
            "memory.bytes",
            limits.memory_bytes,
            bounds.memory_bytes,
            "tidegate.plugins.max.memory.bytes",
        ),
        (
            "instances",
            limits.instances,
            bounds.instances,
            "tidegate.plugins.max.instances",
        ),
    ] {
        if set.contains_key(name) && value > max {
            return Err(format!(
                "tidegate.limit.{}.{name} is {value}, and this broker has {max} for all: lower it, or start the broker \
                 with a larger {key}",
                stand.key.alias
            ));
        }
    }
    Ok(())
}
