//! Pure state machines of consumer groups.
//!
//! A [`Coordinator`] holds all groups of one `__consumer_offsets` partition and speaks Kafka's classic
//! group protocol (KIP-62 timeouts, KIP-134 initial delay, KIP-345 static members, KIP-394 known
//! member ids, KIP-559 protocol checks, KIP-814 skipped assignments), and the one in which the
//! coordinator assigns (KIP-848, in [`consumer`]). The host hands in requests, topics and the time; what comes back are [`Effect`]s: replies to requests, possibly of others and much
//! later, and records to append.
//!
//! Promises:
//! - every token handed to [`Coordinator::handle`] is answered exactly once, unless the host takes
//!   it back with [`Coordinator::disconnect`];
//! - an offset is visible only after the append of its record succeeded;
//! - loading the appended records into a new coordinator gives the same offsets, and the same
//!   groups as of their last stable generation.
//!
//! The host must call [`Coordinator::appended`] once per [`Effect::Append`], in the order in which
//! the records lie in the log.
//!
//! Deliberately absent: clocks, randomness (member ids get their unique part from the host), the
//! wire, and KIP-848 groups.
//!
//! Offsets may be committed in a transaction (KIP-98, KIP-447): they are appended under the producer's id and seen when
//! the host tells of the transaction's marker with [`Coordinator::transaction_ended`], in the order of the log.
//! The transactions themselves are coordinated in [`transaction`].

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod consumer;
mod coordinator;
mod error;
mod group;
mod join;
mod members;
mod offsets;
mod outbox;
mod query;
mod rebalance;
pub mod records;
mod request;
mod settle;
mod subscription;
mod sync;
pub mod transaction;
mod transactional;

pub use consumer::{
    Assignor, BeatRefusal, Beaten, ConsumerHeartbeat, DescribedConsumerGroup,
    DescribedConsumerMember, NamedPartitions, Partitions, TopicId, Topics,
};
pub use coordinator::Coordinator;
pub use error::GroupError;
pub use request::{
    AppendId, ConsumerOptions, ConsumerTimeouts, DeletedOffset, DescribedGroup, DescribedMember,
    Effect, FoundOffset, GroupOptions, GroupState, JoinRefusal, JoinRequest, Joined, JoinedMember,
    LeavingMember, LeftMember, ListedGroup, MigrationPolicy, OffsetAndMetadata, Reply, Request,
    SyncRequest, Synced, Token, TopicOffsets,
};
pub use transaction::TransactionError;

/// The partition of `__consumer_offsets` that holds a group: Java's `hashCode` of the name, made
/// positive, modulo the number of partitions.
pub fn partition_for_group(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka makes the one number without a positive twin 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::partition_for_group;

    #[test]
    fn groups_hash_as_in_java() {
        // "hello".hashCode() == 99162322, "polygenelubricants".hashCode() == Integer.MIN_VALUE.
        assert_eq!(partition_for_group("hello", 50), 99_162_322 % 50);
        assert_eq!(partition_for_group("polygenelubricants", 50), 0);
        assert_eq!(partition_for_group("", 50), 0);
        assert_eq!(partition_for_group("x", 0), 0);
    }
}
