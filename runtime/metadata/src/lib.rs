//! The pure cluster image: (image, command) to image.
//!
//! Everything a broker must remember across a restart, other than records, is a [`Command`] in a
//! synced log; the [`Image`] is what the commands add up to. [`apply`] reads no clock and no
//! randomness: ids and times arrive inside the command, so every broker that replays the same log
//! holds the same image. A command that would leave the image wrong is refused with a sentence, and
//! a refused command must not be written to the log.
//!
//! Deliberately absent: Kafka's error codes (assigned at the broker's edge from [`Refusal`]), plugin
//! bytes (the image holds digests), and whether a router's targets exist (the broker asks the
//! plugin).

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod apply;
pub mod binding;
mod codec;
mod command;
pub mod config;
mod image;
mod placement;
mod plugins;
pub mod quota;
mod topic_name;

pub use apply::apply;
pub use codec::{CodecError, decode_command, decode_image, encode_command, encode_image};
pub use command::{BrokerSpec, Command, Outcome, Refusal};
pub use image::{
    Broker, Image, Listener, Partition, PluginName, PluginSignature, PluginVersion, ResolvedPlugin,
    Topic,
};
pub use topic_name::{InvalidTopicName, collision_key, validate_topic_name};

/// Most partitions one topic may have; a bound, so that a count on the wire sizes nothing unchecked.
pub const MAX_PARTITIONS_PER_TOPIC: usize = 10_000;
