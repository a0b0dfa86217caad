//! A small blocking Kafka client: metadata, leader routing, retries; a producer and a reader on top. Enough for commands, no more.

mod cluster;
mod connection;
mod error;
mod producer;
mod reader;

pub(crate) use cluster::{Client, PartitionView, RETRY_FOR, retry};
pub(crate) use error::{ClientError, check, check_code};
pub(crate) use producer::{Outgoing, Producer, Refused, Sending};
pub(crate) use reader::{Reader, Start};

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
