//! The targets, and their table.

mod batches;
mod codecs;
mod config_files;
mod decompress;
mod frames;
mod gaps;
mod group_records;
mod metadata;
mod notes;
mod properties;
mod requests;
mod stored_keys;
mod topic_configs;
mod transaction_records;
mod transforms;

use crate::corpus::Seed;

/// A function of bytes that panics when something does not hold, and inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Seed>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        &[$(Target {
            name: stringify!($name),
            run: $name::run,
            seeds: $name::seeds,
        }),*]
    };
}

pub const ALL: &[Target] = targets![
    frames,
    requests,
    batches,
    transforms,
    gaps,
    decompress,
    codecs,
    stored_keys,
    notes,
    group_records,
    transaction_records,
    metadata,
    properties,
    config_files,
    topic_configs,
];
