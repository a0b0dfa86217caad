//! Offsets committed in transactions: stored at once, seen when the transaction's marker says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::offsets::{Committer, answers, check_offset};
use crate::outbox::{Commit, Context, Pending};
use crate::records::{offset_key, offset_value};
use crate::request::{OffsetAndMetadata, Reply, Token};

/// A topic and the index of one of its partitions.
pub(crate) type TopicPartition = (String, i32);

/// The offsets of a group whose transactions are open, by producer id.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransactionalOffsets {
    by_producer: BTreeMap<i64, BTreeMap<TopicPartition, PendingOffset>>,
    /// Of the next one: the order of the log.
    next_sequence: u64,
}

#[derive(Clone, Debug)]
struct PendingOffset {
    offset: OffsetAndMetadata,
    sequence: u64,
    /// A later record of the same key is committed, so this one has no say any more.
    is_overtaken: bool,
}

impl TransactionalOffsets {
    /// A transaction's offset is in the log.
    pub(crate) fn put(&mut self, producer_id: i64, key: TopicPartition, offset: OffsetAndMetadata) {
        let pending = PendingOffset {
            offset,
            sequence: self.next_sequence,
            is_overtaken: false,
        };
        self.next_sequence += 1;
        let of_producer = self.by_producer.entry(producer_id).or_default();
        of_producer.insert(key, pending);
    }

    /// An offset outside of transactions is in the log behind whatever is pending.
    pub(crate) fn overtake(&mut self, key: &TopicPartition) {
        self.overtake_before(key, u64::MAX);
    }

    fn overtake_before(&mut self, key: &TopicPartition, sequence: u64) {
        for of_producer in self.by_producer.values_mut() {
            if let Some(pending) = of_producer.get_mut(key).filter(|p| p.sequence < sequence) {
                pending.is_overtaken = true;
            }
        }
    }

    /// A tombstone is in the log, which takes pending offsets with it.
    pub(crate) fn remove(&mut self, key: &TopicPartition) {
        for of_producer in self.by_producer.values_mut() {
            of_producer.remove(key);
        }
        self.by_producer
            .retain(|_, of_producer| !of_producer.is_empty());
    }

    /// The producer's transaction has ended. Gives what is committed by it.
    pub(crate) fn end(
        &mut self,
        producer_id: i64,
        commit: bool,
    ) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let ended = self.by_producer.remove(&producer_id).unwrap_or_default();
        if !commit {
            return Vec::new();
        }
        let valid = ended.into_iter().filter(|(_, p)| !p.is_overtaken);
        let mut committed = Vec::new();
        for (key, pending) in valid {
            self.overtake_before(&key, pending.sequence);
            committed.push((key, pending.offset));
        }
        committed
    }

    pub(crate) fn contains(&self, key: &TopicPartition) -> bool {
        let mut all = self.by_producer.values();
        all.any(|of_producer| of_producer.contains_key(key))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    pub(crate) fn keys(&self) -> BTreeSet<&TopicPartition> {
        let all = self.by_producer.values();
        all.flat_map(BTreeMap::keys).collect()
    }
}

impl Group {
    /// Whether this caller may commit in a transaction. Clients before KIP-447 say nothing of their membership.
    pub(crate) fn check_transactional_commit(&self, by: &Committer<'_>) -> Result<(), GroupError> {
        if self.deleting {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if by.generation < 0 && by.member.is_empty() && by.instance.is_none() {
            return Ok(());
        }
        if let Some(consumer) = &self.consumer {
            let checked = consumer.check_commit(by);
            // Producers do not know the error of a consumer group's members.
            return checked.map_err(|error| match error {
                GroupError::StaleMemberEpoch => GroupError::IllegalGeneration,
                other => other,
            });
        }
        match by.generation < 0 && self.phase == Phase::Empty {
            true => Ok(()),
            false => self.check_current(by.member, by.instance, by.generation),
        }
    }

    /// Appends a transaction's offsets; the answer follows when they are stored.
    pub(crate) fn commit_in_transaction(
        &mut self,
        token: Token,
        producer: (i64, i16),
        offsets: Vec<(String, i32, OffsetAndMetadata)>,
        cx: &mut Context<'_>,
    ) {
        let mut records = Vec::new();
        let mut entries: Vec<Commit> = Vec::new();
        for (topic, partition, offset) in offsets {
            let checked = check_offset(&topic, offset, cx.options.offset_metadata_max);
            if let Ok(offset) = &checked {
                let key = offset_key(&self.name, &topic, partition);
                records.push((key, Some(offset_value(offset))));
                let key = (topic.clone(), partition);
                *self.committing.entry(key).or_default() += 1;
            }
            entries.push((topic, partition, checked));
        }
        if records.is_empty() {
            let answers = Reply::CommitOffsets(answers(entries, true));
            return cx.out.reply(token, answers);
        }
        let pending = Pending::TransactionalCommit {
            token,
            group: self.name.clone(),
            producer_id: producer.0,
            offsets: entries,
        };
        cx.out.append_in_transaction(producer, records, pending);
    }

    /// The offsets are in the log, or they are not. Nobody sees them yet.
    pub(crate) fn transactional_commit_appended(
        &mut self,
        producer_id: i64,
        entries: &[Commit],
        stored: bool,
    ) {
        for (topic, partition, entry) in entries {
            let Ok(offset) = entry else { continue };
            let key = (topic.clone(), *partition);
            self.committed(&key);
            if stored {
                self.transactional.put(producer_id, key, offset.clone());
            }
        }
    }

    /// The producer's marker is in the log.
    pub(crate) fn transaction_ended(&mut self, producer_id: i64, commit: bool) {
        let committed = self.transactional.end(producer_id, commit);
        self.offsets.extend(committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> OffsetAndMetadata {
        OffsetAndMetadata {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp: 0,
            expire_timestamp: None,
        }
    }

    fn key() -> TopicPartition {
        ("t".into(), 0)
    }

    fn offsets(ended: Vec<(TopicPartition, OffsetAndMetadata)>) -> Vec<i64> {
        ended.into_iter().map(|(_, found)| found.offset).collect()
    }

    #[test]
    fn the_order_of_the_log_decides_between_transactions() {
        let mut pending = TransactionalOffsets::default();
        pending.put(1, key(), at(10));
        pending.put(2, key(), at(20));
        assert_eq!(offsets(pending.end(2, true)), [20]);
        assert_eq!(
            offsets(pending.end(1, true)),
            [0i64; 0],
            "the later record stands"
        );
        pending.put(1, key(), at(10));
        pending.put(2, key(), at(20));
        assert_eq!(offsets(pending.end(1, true)), [10]);
        assert_eq!(offsets(pending.end(2, true)), [20]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_plain_commit_overtakes_and_a_tombstone_removes() {
        let mut pending = TransactionalOffsets::default();
        pending.put(1, key(), at(10));
        pending.overtake(&key());
        assert!(pending.contains(&key()), "still not stable");
        assert_eq!(offsets(pending.end(1, true)), [0i64; 0]);
        pending.put(1, key(), at(10));
        pending.overtake(&key());
        pending.put(1, key(), at(11));
        assert_eq!(offsets(pending.end(1, true)), [11]);
        pending.put(1, key(), at(10));
        pending.remove(&key());
        assert!(pending.is_empty());
        pending.put(1, key(), at(10));
        assert_eq!(offsets(pending.end(1, false)), [0i64; 0]);
    }
}
