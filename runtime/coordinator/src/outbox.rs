//! Where effects gather while a request is worked on, and what waits for an append.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::consumer::Topics;
use crate::error::GroupError;
use crate::request::{
    AppendId, DeletedOffset, Effect, GroupOptions, Joined, OffsetAndMetadata, Reply, Token,
};

/// What to do once an append's outcome is known.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// The leader's assignment of this generation.
    Assignment { of: Logged, generation: i32 },
    /// A static member's new id, answered once it is stored.
    Replacement {
        of: Logged,
        token: Token,
        joined: Joined,
    },
    Commit {
        token: Token,
        group: String,
        offsets: Vec<Commit>,
    },
    /// Offsets of a transaction.
    TransactionalCommit {
        token: Token,
        group: String,
        producer_id: i64,
        offsets: Vec<Commit>,
    },
    Delete {
        token: Token,
        groups: Vec<(String, Result<(), GroupError>)>,
    },
    DeleteOffsets {
        token: Token,
        group: String,
        partitions: Vec<DeletedOffset>,
    },
    /// Tombstones of offsets whose time or topic is over.
    Expired {
        group: String,
        offsets: Vec<(String, i32)>,
        whole_group: bool,
    },
    /// What a group is, and what is told once that is stored.
    Group {
        of: Logged,
        replies: Vec<(Token, Reply)>,
    },
}

/// Whose state an append holds, and the keys that it deletes: what the group must write again if it is lost.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) group: String,
    pub(crate) tombstones: Vec<Bytes>,
}

impl Pending {
    /// Set: the append says what a group is.
    pub(crate) fn logged(&self) -> Option<&Logged> {
        match self {
            Pending::Assignment { of, .. }
            | Pending::Replacement { of, .. }
            | Pending::Group { of, .. } => Some(of),
            _ => None,
        }
    }
}

/// One entry of a commit request: refused at once, or part of the append.
pub(crate) type Commit = (String, i32, Result<OffsetAndMetadata, GroupError>);

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    effects: Vec<Effect>,
    /// Tokens not answered yet. A reply to any other token is dropped, which is what makes
    /// "exactly once" hold whatever the state machine does.
    waiting: BTreeSet<Token>,
    appends: BTreeMap<AppendId, Pending>,
    next_append: AppendId,
}

impl Outbox {
    pub(crate) fn expect(&mut self, token: Token) {
        self.waiting.insert(token);
    }

    pub(crate) fn forget(&mut self, token: Token) {
        self.waiting.remove(&token);
    }

    pub(crate) fn reply(&mut self, token: Token, reply: Reply) {
        if self.waiting.remove(&token) {
            self.effects.push(Effect::Reply(token, reply));
        }
    }

    pub(crate) fn append(
        &mut self,
        records: Vec<(Bytes, Option<Bytes>)>,
        pending: Pending,
    ) -> AppendId {
        let id = self.next_append;
        self.next_append += 1;
        self.appends.insert(id, pending);
        self.effects.push(Effect::Append { id, records });
        id
    }

    pub(crate) fn append_in_transaction(
        &mut self,
        (producer_id, producer_epoch): (i64, i16),
        records: Vec<(Bytes, Option<Bytes>)>,
        pending: Pending,
    ) {
        let id = self.next_append;
        self.next_append += 1;
        self.appends.insert(id, pending);
        self.effects.push(Effect::AppendInTransaction {
            id,
            producer_id,
            producer_epoch,
            records,
        });
    }

    pub(crate) fn is_pending(&self, id: AppendId) -> bool {
        self.appends.contains_key(&id)
    }

    /// Holds an answer back until an append of a group's state is stored.
    pub(crate) fn attach(&mut self, id: AppendId, token: Token, reply: Reply) {
        match self.appends.get_mut(&id) {
            Some(Pending::Group { replies, .. }) => replies.push((token, reply)),
            _ => self.reply(token, reply),
        }
    }

    pub(crate) fn take_pending(&mut self, id: AppendId) -> Option<Pending> {
        self.appends.remove(&id)
    }

    /// Takes out an append that was refused and all behind it that share its fate, in their order.
    pub(crate) fn take_refused(&mut self, id: AppendId) -> Vec<(AppendId, Pending)> {
        let alone = |pending: &Pending| matches!(pending, Pending::TransactionalCommit { .. });
        if self.appends.get(&id).is_none_or(alone) {
            return self.appends.remove_entry(&id).into_iter().collect();
        }
        let mut refused = Vec::new();
        for (id, pending) in self.appends.split_off(&id) {
            match alone(&pending) {
                true => drop(self.appends.insert(id, pending)),
                false => refused.push((id, pending)),
            }
        }
        refused
    }

    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

/// What a group needs from around it while it works.
pub(crate) struct Context<'a> {
    pub(crate) out: &'a mut Outbox,
    pub(crate) options: &'a GroupOptions,
    pub(crate) topics: &'a Topics,
    pub(crate) now_ms: i64,
}
