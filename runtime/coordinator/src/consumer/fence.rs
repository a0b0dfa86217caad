//! Members that are put out: they left, were silent, or held the others up.

use std::collections::BTreeSet;

use crate::consumer::LogRecord;
use crate::consumer::heartbeat::member_tombstones;
use crate::group::Group;
use crate::outbox::Context;

impl Group {
    /// Puts members out. With the last one that speaks KIP-848, the group becomes a classic one where that is allowed.
    pub(crate) fn fence(&mut self, ids: &BTreeSet<String>, cx: &mut Context<'_>) -> Vec<LogRecord> {
        let mut records = Vec::new();
        if ids.is_empty() {
            return records;
        }
        if self.may_downgrade(ids, cx) {
            self.become_classic(ids, &mut records, cx);
            self.prepare_rebalance(cx);
            return records;
        }
        let Some(group) = &mut self.consumer else {
            return records;
        };
        for id in ids {
            group.take(id);
            group.targets.remove(id);
            records.extend(member_tombstones(&self.name, id));
        }
        group.drop_unused_regexes(&self.name, &mut records);
        group.metadata_hash = cx.topics.hash(&group.subscribed());
        // The next heartbeat makes a new target.
        group.epoch = group.epoch.saturating_add(1);
        records.push(group.epoch_record(&self.name));
        if group.members.is_empty() {
            self.state_ms = cx.now_ms;
        }
        records
    }

    /// Puts out whoever is late at `cx.now_ms`.
    pub(crate) fn expire_consumer(&mut self, cx: &mut Context<'_>) {
        let Some(group) = &self.consumer else { return };
        let is_late = |due: Option<i64>| due.is_some_and(|due| due <= cx.now_ms);
        let late: BTreeSet<String> = group
            .members
            .values()
            .filter(|member| is_late(member.timers.next_ms()))
            .map(|member| member.id.clone())
            .collect();
        let records = self.fence(&late, cx);
        if !records.is_empty() {
            self.settle(None, records, cx);
        }
    }
}
