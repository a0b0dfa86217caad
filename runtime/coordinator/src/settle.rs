//! From changed state to an answer: the records are appended, and whoever waits is answered when they are in the log.
//!
//! State is changed before it is stored, and more may follow before the outcome is known. When an append is refused, so is
//! all behind it: the log holds what the group was before. The group takes nothing back: what waits is refused, and its
//! next append carries everything, with tombstones for what the log holds beyond that. If nobody makes it append, a timer
//! does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::consumer::LogRecord;
use crate::error::GroupError;
use crate::group::{Group, Phase};
use crate::outbox::{Context, Logged, Outbox, Pending};
use crate::request::{AppendId, Reply, Token};

/// How long a group waits for an occasion to write itself down after a loss, in milliseconds.
const RETRY_MS: i64 = 1_000;

/// How far a group's log can be trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogState {
    newest: Option<AppendId>,
    /// Keys of lost tombstones.
    doomed: BTreeSet<Bytes>,
    /// Set while the log does not say what the group is: when the group writes itself down if it had no occasion before.
    pub(crate) retry_ms: Option<i64>,
}

impl LogState {
    /// Whether the log says what the group is, and nothing is on its way there.
    pub(crate) fn is_settled(&self, out: &Outbox) -> bool {
        self.retry_ms.is_none() && self.newest.is_none_or(|id| !out.is_pending(id))
    }
}

impl Group {
    /// Appends `records` and answers when they are stored; without records, when everything before is.
    pub(crate) fn settle(
        &mut self,
        reply: Option<(Token, Reply)>,
        records: Vec<LogRecord>,
        cx: &mut Context<'_>,
    ) {
        let records = match self.log.retry_ms {
            Some(_) => self.whole(records),
            None => records,
        };
        // The log says what the group is, or will.
        self.log.retry_ms = None;
        if records.is_empty() {
            if let Some((token, reply)) = reply {
                self.reply_in_turn(token, reply, cx);
            }
            return;
        }
        let replies = reply.into_iter().collect();
        self.append(records, cx, |of| Pending::Group { of, replies });
    }

    /// Appends what a classic group is.
    pub(crate) fn append_classic(
        &mut self,
        value: (Bytes, Bytes),
        cx: &mut Context<'_>,
        pending: impl FnOnce(Logged) -> Pending,
    ) -> AppendId {
        let (key, value) = value;
        let doomed = std::mem::take(&mut self.log.doomed);
        let records = doomed.into_iter().filter(|doomed| *doomed != key);
        let records = records.map(|key| (key, None));
        let records = records.chain([(key.clone(), Some(value))]).collect();
        self.append(records, cx, pending)
    }

    fn append(
        &mut self,
        records: Vec<LogRecord>,
        cx: &mut Context<'_>,
        pending: impl FnOnce(Logged) -> Pending,
    ) -> AppendId {
        self.log.retry_ms = None;
        let tombstones = records.iter().filter(|(_, value)| value.is_none());
        let of = Logged {
            group: self.name.clone(),
            tombstones: tombstones.map(|(key, _)| key.clone()).collect(),
        };
        let id = cx.out.append(records, pending(of));
        self.log.newest = Some(id);
        id
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
            // In between, the log holds the last generation, and the next one is written when it is there.
            None if matches!(self.phase, Phase::Empty | Phase::Stable) && self.generation > 0 => {
                let (key, value) = self.record(None);
                vec![(key, Some(value))]
            }
            None => Vec::new(),
        };
        // Of several records of one key, the last.
        let told: BTreeMap<Bytes, Option<Bytes>> = records.into_iter().collect();
        for (key, value) in told {
            // What a consumer group is stands in its records above, and so does a classic group that is written down.
            let is_there = self.consumer.is_some() || all.iter().any(|(there, _)| *there == key);
            match value {
                None => drop(doomed.insert(key)),
                Some(_) if is_there => {}
                Some(_) => all.push((key, value)),
            }
        }
        let present: BTreeSet<&Bytes> = all.iter().map(|(key, _)| key).collect();
        doomed.retain(|key| !present.contains(key));
        // Tombstones first: that of an epoch ends a group when it is read back.
        let tombstones = doomed.into_iter().map(|key| (key, None));
        tombstones.chain(all).collect()
    }

    /// An append of this group was refused, and what follows it: to be told of all before anything else is done.
    pub(crate) fn lose(&mut self, tombstones: Vec<Bytes>, now_ms: i64) {
        self.log.doomed.extend(tombstones);
        self.log.retry_ms = Some(now_ms.saturating_add(RETRY_MS));
    }

    /// Writes the group down if that is due and it is in a state that is written down.
    pub(crate) fn retry(&mut self, cx: &mut Context<'_>) {
        if self.log.retry_ms.is_none_or(|due| due > cx.now_ms) {
            return;
        }
        let between = matches!(self.phase, Phase::Preparing { .. } | Phase::Completing);
        if self.deleting || between && self.consumer.is_none() {
            // The deletion, or the next generation, says it all.
            self.log.retry_ms = Some(cx.now_ms.saturating_add(RETRY_MS));
        } else {
            self.settle(None, Vec::new(), cx);
        }
    }

    /// The outcome of an append of this group.
    pub(crate) fn settled(&mut self, stored: bool, cx: &mut Context<'_>) {
        if !stored && self.consumer.is_none() && self.phase == Phase::Stable {
            // It was to become a classic group; its next generation writes it down.
            self.prepare_rebalance(cx);
        }
    }

    /// Tombstones that were lost.
    pub(crate) fn doomed(&self) -> impl Iterator<Item = LogRecord> {
        self.log.doomed.iter().map(|key| (key.clone(), None))
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
