//! How a group gets from one generation to the next, and how members drop out.

use crate::error::GroupError;
use crate::group::{Group, InitialDelay, Phase};
use crate::outbox::{Context, Pending};
use crate::request::{JoinRefusal, Reply};

impl Group {
    /// Starts a rebalance unless one is being prepared; everyone must join again.
    pub(crate) fn prepare_rebalance(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Preparing { .. }) {
            return;
        }
        if self.phase == Phase::Completing {
            self.fail_syncs(GroupError::RebalanceInProgress, cx);
        }
        self.unsynced.clear();
        self.sync_deadline_ms = None;
        let timeout_ms = self.rebalance_timeout_ms();
        self.phase = if self.phase == Phase::Empty {
            let delay_ms = cx.options.initial_rebalance_delay_ms.min(timeout_ms).max(0);
            let remaining_ms = timeout_ms - delay_ms;
            Phase::Preparing {
                deadline_ms: cx.now_ms.saturating_add(delay_ms),
                initial: Some(InitialDelay {
                    remaining_ms,
                    grew: false,
                }),
            }
        } else {
            let deadline_ms = cx.now_ms.saturating_add(timeout_ms);
            Phase::Preparing {
                deadline_ms,
                initial: None,
            }
        };
        self.state_ms = cx.now_ms;
        self.try_complete_join(cx);
    }

    /// Ends the preparation when everybody is there. The initial delay is always waited for.
    pub(crate) fn try_complete_join(&mut self, cx: &mut Context<'_>) {
        let waits_for_all = matches!(self.phase, Phase::Preparing { initial: None, .. });
        let all_here = self.invited.is_empty() && self.members.values().all(|m| m.join.is_some());
        if waits_for_all && all_here {
            self.complete_join(cx);
        }
    }

    /// Begins the next generation with those who joined.
    fn complete_join(&mut self, cx: &mut Context<'_>) {
        self.drop_absent(cx);
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none has come back: their places are kept, and the
            // generation waits for the first of them.
            let deadline_ms = cx.now_ms.saturating_add(self.rebalance_timeout_ms());
            self.phase = Phase::Preparing {
                deadline_ms,
                initial: None,
            };
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.state_ms = cx.now_ms;
        self.assigning = None;
        if self.members.is_empty() {
            self.become_empty(cx);
        } else {
            self.begin_generation(cx);
        }
    }

    fn become_empty(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = None;
        let replies = Vec::new();
        self.append_classic(self.record(None), cx, |of| Pending::Group { of, replies });
    }

    fn begin_generation(&mut self, cx: &mut Context<'_>) {
        self.protocol = self.select_protocol();
        self.phase = Phase::Completing;
        self.unsynced = self.members.keys().cloned().collect();
        self.sync_deadline_ms = Some(cx.now_ms.saturating_add(self.rebalance_timeout_ms()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.is_new = false;
            member.seen(cx.now_ms);
            if let Some(token) = member.join.take() {
                cx.out.reply(token, Reply::Join(Ok(joined)));
            }
        }
    }

    /// Dynamic members that did not rejoin in time are out; static ones keep their place until their
    /// session ends.
    fn drop_absent(&mut self, cx: &mut Context<'_>) {
        let absent: Vec<String> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in absent {
            self.drop_member(&id, cx);
        }
    }

    /// Keeps the leader if it joined, else takes another who did.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|member| member.join.is_some()) {
            return true;
        }
        match self.members.values().find(|member| member.join.is_some()) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    /// Takes a member out and lets the group get on without it.
    pub(crate) fn remove_member(&mut self, id: &str, cx: &mut Context<'_>) {
        self.drop_member(id, cx);
        match self.phase {
            Phase::Stable | Phase::Completing => self.prepare_rebalance(cx),
            Phase::Preparing { .. } => self.try_complete_join(cx),
            Phase::Empty => {}
        }
    }

    fn drop_member(&mut self, id: &str, cx: &mut Context<'_>) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        self.unsynced.remove(id);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        // Its client may still be there and only late; this error makes it join as a new member.
        let error = GroupError::UnknownMemberId;
        if let Some(token) = member.join {
            let refusal = JoinRefusal {
                error,
                member_id: String::new(),
            };
            cx.out.reply(token, Reply::Join(Err(refusal)));
        }
        if let Some(token) = member.sync {
            cx.out.reply(token, Reply::Sync(Err(error)));
        }
    }

    /// Answers every waiting SyncGroup with an error and forgets the assignment.
    pub(crate) fn fail_syncs(&mut self, error: GroupError, cx: &mut Context<'_>) {
        self.assigning = None;
        for member in self.members.values_mut() {
            member.assignment = Default::default();
            if let Some(token) = member.sync.take() {
                member.seen(cx.now_ms);
                cx.out.reply(token, Reply::Sync(Err(error)));
            }
        }
    }

    /// Does what is due at `cx.now_ms`.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        match self.consumer {
            Some(_) => self.expire_consumer(cx),
            None => self.expire_classic(cx),
        }
        self.retry(cx);
    }

    fn expire_classic(&mut self, cx: &mut Context<'_>) {
        self.invited.retain(|_, lapses_ms| *lapses_ms > cx.now_ms);
        let silent: Vec<String> = self
            .members
            .values()
            .filter(|member| member.expires_ms().is_some_and(|due| due <= cx.now_ms))
            .map(|member| member.id.clone())
            .collect();
        for id in silent {
            self.remove_member(&id, cx);
        }
        if self.sync_deadline_ms.is_some_and(|due| due <= cx.now_ms) {
            self.expire_syncs(cx);
        }
        if let Phase::Preparing {
            deadline_ms,
            initial,
        } = self.phase
            && deadline_ms <= cx.now_ms
        {
            self.end_preparation(initial, cx);
        }
        self.try_complete_join(cx);
    }

    fn end_preparation(&mut self, initial: Option<InitialDelay>, cx: &mut Context<'_>) {
        match initial {
            Some(InitialDelay {
                remaining_ms,
                grew: true,
            }) if remaining_ms > 0 => {
                let delay_ms = cx.options.initial_rebalance_delay_ms.clamp(1, remaining_ms);
                let remaining_ms = remaining_ms - delay_ms;
                self.phase = Phase::Preparing {
                    deadline_ms: cx.now_ms.saturating_add(delay_ms),
                    initial: Some(InitialDelay {
                        remaining_ms,
                        grew: false,
                    }),
                };
            }
            _ => self.complete_join(cx),
        }
    }

    /// Who joined this generation but never asked for its assignment holds the others up.
    fn expire_syncs(&mut self, cx: &mut Context<'_>) {
        self.sync_deadline_ms = None;
        let late = std::mem::take(&mut self.unsynced);
        for id in &late {
            self.drop_member(id, cx);
        }
        if !late.is_empty() {
            self.prepare_rebalance(cx);
        }
    }
}
