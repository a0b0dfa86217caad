//! From changed state to an answer: the records are appended, and whoever waits is answered when they are in the log.
//!
//! State is changed before it is stored, and more may follow before the outcome is known. So when an append is lost, all
//! that was appended behind it stands on something that is not in the log. The group then takes nothing back: it refuses
//! what waits, and its next append carries everything, with tombstones for what the log may hold beyond that.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::consumer::LogRecord;
use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::outbox::{Context, Pending};
use crate::request::{AppendId, Reply, Token};

/// How far a group's log can be trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogState {
    newest: Option<AppendId>,
    /// Appends before this one stand on a lost one.
    sound_from: AppendId,
    /// The log does not say what the group is.
    pub(crate) lost: bool,
    /// Keys of lost tombstones.
    doomed: BTreeSet<Bytes>,
}

impl Group {
    /// Appends `records` and answers when they are stored; without records, when everything before is.
    pub(crate) fn settle(
        &mut self,
        reply: Option<(Token, Reply)>,
        records: Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) {
        let records = match self.log.lost {
            true => self.whole(records),
            false => records,
        };
        if records.is_empty() {
            if let Some((token, reply)) = reply {
                self.reply_in_turn(token, reply, cx);
            }
            return;
        }
        self.log.lost = false;
        let tombstones = records.iter().filter(|(_, value)| value.is_none());
        let pending = Pending::Consumer {
            group: self.name.clone(),
            replies: reply.into_iter().collect(),
            tombstones: tombstones.map(|(key, _)| key.clone()).collect(),
        };
        self.log.newest = Some(cx.out.append(records, pending));
    }

    /// What is told must not be newer than what is stored.
    fn reply_in_turn(&mut self, token: Token, reply: Reply, cx: &mut Context<'_>) {
        match self.log.newest {
            Some(id) if cx.out.is_pending(id) => cx.out.attach(id, token, reply),
            _ => cx.out.reply(token, reply),
        }
    }

    /// Everything, whatever the log holds.
    fn whole(&mut self, records: Vec<LogRecord>) -> Vec<LogRecord> {
        let mut doomed = std::mem::take(&mut self.log.doomed);
        let mut all = match &self.consumer {
            Some(consumer) => consumer.all_records(&self.name),
            None => Vec::new(),
        };
        let is_consumer = self.consumer.is_some();
        for (key, value) in records {
            match value {
                None => {
                    doomed.insert(key);
                }
                // A consumer group's records are all there already.
                Some(_) if is_consumer => {}
                Some(_) => all.push((key, value)),
            }
        }
        let present: BTreeSet<&Bytes> = all.iter().map(|(key, _)| key).collect();
        doomed.retain(|key| !present.contains(key));
        // Tombstones first: that of an epoch ends a group when it is read back.
        let tombstones = doomed.into_iter().map(|key| (key, None));
        tombstones.chain(all).collect()
    }

    /// The outcome of an append of this group; says whether what waits for it may be told.
    pub(crate) fn settled(
        &mut self,
        id: AppendId,
        tombstones: Vec<Bytes>,
        stored: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        if stored {
            return id >= self.log.sound_from;
        }
        self.log.doomed.extend(tombstones);
        self.log.lost = true;
        self.log.sound_from = cx.out.next_append();
        if self.consumer.is_none() && self.phase == Phase::Stable {
            // It was to become a classic group; its next generation writes it down.
            self.prepare_rebalance(cx);
        }
        false
    }

    /// Tombstones that were lost, to go with a classic group's next record.
    pub(crate) fn doomed(&self) -> impl Iterator<Item = LogRecord> {
        self.log.doomed.iter().map(|key| (key.clone(), None))
    }

    pub(crate) fn has_doomed(&self) -> bool {
        !self.log.doomed.is_empty()
    }
}

/// What waits for an append is told this if that is lost: the client asks again.
pub(crate) fn not_stored(reply: Reply) -> Reply {
    let error = GroupError::CoordinatorNotAvailable;
    match reply {
        Reply::Join(_) => Reply::Join(Err(crate::JoinRefusal {
            error,
            member_id: String::new(),
        })),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Heartbeat(_) => Reply::Heartbeat(Err(error)),
        Reply::Leave(_) => Reply::Leave(Err(error)),
        Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error.into())),
        other => other,
    }
}
