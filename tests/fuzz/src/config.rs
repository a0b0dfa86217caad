//! The broker's readers of configuration, by path, and what they look for in the module around them.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/broker/src/config/address.rs"]
mod address;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/broker/src/config/error.rs"]
mod error;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/broker/src/config/file.rs"]
mod file;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/broker/src/config/gap.rs"]
mod gap;
#[path = "../../../runtime/broker/src/config/properties.rs"]
mod properties;

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) use address::HostPort;
use error::ConfigError;
pub(crate) use file::TopicDeclaration;
pub(crate) use gap::{ConsumeGap, GapChoice};

type Pairs = BTreeMap<String, String>;

/// Values and topics of a file.
pub(crate) fn read(path: &Path, text: &str) -> Result<(Pairs, BTreeMap<String, Pairs>), String> {
    file::parse(path, text).map(|layer| (layer.values, layer.topics))
}

pub(crate) fn topic(fields: Pairs) -> Result<TopicDeclaration, (String, String)> {
    file::declaration(fields)
}

pub(crate) fn properties(text: &str) -> Result<Vec<(String, String)>, String> {
    properties::parse(text)
}

pub(crate) fn listener(text: &str) -> Result<(String, HostPort), String> {
    HostPort::parse_listener(text)
}

pub(crate) fn clients(text: &str) -> Result<Vec<(String, GapChoice)>, String> {
    ConsumeGap::parse_clients(text)
}
