//! Committed offsets: taken in, stored, read back, and let go.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::consumer::LogRecord;
use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::outbox::{Commit, Context, Pending};
use crate::records::{group_key, offset_key, offset_value};
use crate::request::{DeletedOffset, OffsetAndMetadata, Reply, Token};
use crate::subscription::{CONSUMER, subscription};

/// Who commits.
pub(crate) struct Committer<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
    /// The generation may be a member epoch (KIP-848).
    pub(crate) knows_epochs: bool,
}

impl Group {
    /// Whether this caller may commit now.
    pub(crate) fn check_commit(&self, by: &Committer<'_>) -> Result<(), GroupError> {
        if self.deleting {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if let Some(consumer) = &self.consumer {
            return consumer.check_commit(by);
        }
        // Without a generation the group is only a name for stored offsets; that is fine as long as
        // nobody uses it as a group.
        if by.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        self.check_current(by.member, by.instance, by.generation)?;
        match self.phase {
            Phase::Stable | Phase::Preparing { .. } => Ok(()),
            // The partitions may belong to somebody else already.
            Phase::Completing => Err(GroupError::RebalanceInProgress),
            Phase::Empty => Err(GroupError::UnknownMemberId),
        }
    }

    /// Appends what can be committed; the answer follows when that is stored.
    pub(crate) fn commit(
        &mut self,
        token: Token,
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
                *self
                    .committing
                    .entry((topic.clone(), partition))
                    .or_default() += 1;
            }
            entries.push((topic, partition, checked));
        }
        if records.is_empty() {
            cx.out
                .reply(token, Reply::CommitOffsets(answers(entries, true)));
            return;
        }
        let pending = Pending::Commit {
            token,
            group: self.name.clone(),
            offsets: entries,
        };
        cx.out.append(records, pending);
    }

    /// The offsets are in the log, so they may be seen; or they are not.
    pub(crate) fn commit_appended(&mut self, entries: &[Commit], stored: bool) {
        for (topic, partition, entry) in entries {
            let Ok(offset) = entry else { continue };
            let key = (topic.clone(), *partition);
            self.committed(&key);
            if stored {
                self.transactional.overtake(&key);
                self.offsets.insert(key, offset.clone());
            }
        }
    }

    /// One append fewer holds an offset of this partition.
    pub(crate) fn committed(&mut self, key: &(String, i32)) {
        if let Some(count) = self.committing.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.committing.remove(key);
            }
        }
    }

    /// Tombstones for everything the log may hold of this group.
    pub(crate) fn tombstones(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let mut keys: BTreeSet<_> = self.offsets.keys().chain(self.committing.keys()).collect();
        keys.extend(self.transactional.keys());
        let offsets = keys
            .into_iter()
            .map(|(topic, partition)| offset_key(&self.name, topic, *partition));
        offsets
            .map(|key| (key, None))
            .chain(self.own_tombstones())
            .collect()
    }

    /// Tombstones for everything but offsets.
    fn own_tombstones(&self) -> Vec<LogRecord> {
        let own = match &self.consumer {
            Some(consumer) => consumer.tombstones(&self.name),
            None => vec![(group_key(&self.name), None)],
        };
        self.doomed().chain(own).collect()
    }

    /// Forgets some offsets for whoever asked. With members, only of topics that none of them consumes: a deleted offset
    /// would send its consumer back to the beginning, or to the end (KIP-496).
    pub(crate) fn delete_offsets(
        &self,
        token: Token,
        partitions: Vec<(String, i32)>,
        cx: &mut Context<'_>,
    ) -> Result<(), GroupError> {
        if self.deleting {
            return Err(GroupError::GroupIdNotFound);
        }
        let subscribed = match self.phase {
            _ if self.consumer.is_some() => self.subscribed_by_consumer(),
            Phase::Empty => BTreeSet::new(),
            _ if self.protocol_type.as_deref() != Some(CONSUMER) => {
                return Err(GroupError::NonEmptyGroup);
            }
            _ => self.members.values().flat_map(subscription).collect(),
        };
        let judge = |(topic, partition): (String, i32)| {
            let result = match subscribed.contains(topic.as_str()) {
                true => Err(GroupError::SubscribedToTopic),
                false => Ok(()),
            };
            (topic, partition, result)
        };
        let partitions: Vec<DeletedOffset> = partitions.into_iter().map(judge).collect();
        let known = |topic: &str, partition: i32| {
            let key = (topic.to_owned(), partition);
            self.offsets.contains_key(&key)
                || self.committing.contains_key(&key)
                || self.transactional.contains(&key)
        };
        let records: Vec<_> = partitions
            .iter()
            .filter(|(topic, partition, result)| result.is_ok() && known(topic, *partition))
            .map(|(topic, partition, _)| (offset_key(&self.name, topic, *partition), None))
            .collect();
        if records.is_empty() {
            cx.out.reply(token, Reply::DeleteOffsets(Ok(partitions)));
            return Ok(());
        }
        let group = self.name.clone();
        cx.out.append(
            records,
            Pending::DeleteOffsets {
                token,
                group,
                partitions,
            },
        );
        Ok(())
    }

    fn subscribed_by_consumer(&self) -> BTreeSet<&str> {
        let consumer = self.consumer.as_ref();
        consumer.map(|group| group.subscribed()).unwrap_or_default()
    }

    /// The tombstones are in the log, or they are not.
    pub(crate) fn offsets_deleted(&mut self, partitions: &[DeletedOffset], stored: bool) {
        for (topic, partition, result) in partitions {
            if stored && result.is_ok() {
                self.forget_offset(&(topic.clone(), *partition));
            }
        }
    }

    /// A tombstone is in the log.
    pub(crate) fn forget_offset(&mut self, key: &(String, i32)) {
        self.offsets.remove(key);
        self.transactional.remove(key);
    }

    /// Offsets that nobody has used for the retention time, by Kafka's rule: counted from when the
    /// group became empty, or from each commit if it never had members (KIP-211).
    pub(crate) fn expired_offsets(&self, retention_ms: i64, now_ms: i64) -> Vec<(String, i32)> {
        if self.phase != Phase::Empty || self.deleting {
            return Vec::new();
        }
        let over = |since_ms: i64| now_ms.saturating_sub(since_ms) >= retention_ms;
        // A consumer group's count from each commit, and those of topics that nobody subscribes to go at any time.
        let never_joined = self.protocol_type.is_none();
        let subscribed = self.subscribed_by_consumer();
        self.offsets
            .iter()
            .filter(|((topic, _), _)| !subscribed.contains(topic.as_str()))
            .filter(|(key, _)| !self.committing.contains_key(*key))
            .filter(|(key, _)| !self.transactional.contains(key))
            .filter(|(_, offset)| match offset.expire_timestamp {
                Some(expires_ms) => now_ms >= expires_ms,
                None if never_joined => over(offset.commit_timestamp),
                None => over(self.state_ms.max(offset.commit_timestamp)),
            })
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Appends tombstones for some offsets; they stay visible until that is stored.
    pub(crate) fn drop_offsets(
        &self,
        offsets: Vec<(String, i32)>,
        whole_group: bool,
        cx: &mut Context<'_>,
    ) {
        let mut records: Vec<_> = offsets
            .iter()
            .map(|(topic, partition)| (offset_key(&self.name, topic, *partition), None))
            .collect();
        if whole_group {
            records.extend(self.own_tombstones());
        }
        let group = self.name.clone();
        cx.out.append(
            records,
            Pending::Expired {
                group,
                offsets,
                whole_group,
            },
        );
    }
}

/// What the client is told about each entry of its request.
pub(crate) fn answers(
    entries: Vec<Commit>,
    stored: bool,
) -> Vec<(String, i32, Result<(), GroupError>)> {
    let answer = |entry: Result<OffsetAndMetadata, GroupError>| match entry {
        Ok(_) if stored => Ok(()),
        Ok(_) => Err(GroupError::CoordinatorNotAvailable),
        Err(error) => Err(error),
    };
    entries
        .into_iter()
        .map(|(topic, partition, entry)| (topic, partition, answer(entry)))
        .collect()
}

pub(crate) fn check_offset(
    topic: &str,
    offset: OffsetAndMetadata,
    metadata_max: usize,
) -> Result<OffsetAndMetadata, GroupError> {
    if offset.metadata.len() > metadata_max {
        return Err(GroupError::OffsetMetadataTooLarge);
    }
    if topic.len() > i16::MAX as usize {
        return Err(GroupError::InvalidRequest);
    }
    Ok(offset)
}
