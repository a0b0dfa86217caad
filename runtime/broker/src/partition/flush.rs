//! How durable a topic wants to be: `flush.messages` and `flush.ms`.
//!
//! Without them a record is *durable* once it is synced: acks=all and the high watermark wait for that. With them the
//! topic is *relaxed*: written is durable enough, and syncs follow by count or by time. What a power cut may then take
//! is at most what one sync would have covered.

use tidegate_metadata::config::TopicConfig;
use tidegate_storage::FlushPolicy;

use crate::topics::TopicSettings;

/// Whether acks=all and the high watermark follow what is written rather than what is synced.
pub(super) fn is_relaxed(topic: &TopicSettings) -> bool {
    // Committed offsets, plugins and the like are the broker's own, and its promises rest on them.
    !topic.internal() && relaxed(&topic.config())
}

/// When the store syncs what no acks=all waits for.
pub(super) fn policy(topic: &TopicSettings) -> FlushPolicy {
    let config = topic.config();
    match is_relaxed(topic) {
        true => FlushPolicy {
            messages: config.flush_messages,
            ms: config.flush_ms.and_then(|ms| u64::try_from(ms).ok()),
        },
        false => FlushPolicy::default(),
    }
}

/// A sync for every message, or after no time at all, is what a topic does that sets neither.
fn relaxed(config: &TopicConfig) -> bool {
    let every_message = config.flush_messages == Some(1) || config.flush_ms == Some(0);
    (config.flush_messages.is_some() || config.flush_ms.is_some()) && !every_message
}
