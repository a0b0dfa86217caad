//! A small blocking Kafka client: metadata, leader routing, retries. Enough for commands, no more.

mod cluster;
mod connection;
mod error;

pub(crate) use cluster::{Client, PartitionView, RETRY_FOR, retry};
pub(crate) use error::{ClientError, check, check_code};

use tidegate_protocol::StrBytes;
use tidegate_protocol::messages::{GroupId, TopicName};

pub(crate) fn bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(bytes(name))
}

pub(crate) fn group_id(name: &str) -> GroupId {
    GroupId(bytes(name))
}
