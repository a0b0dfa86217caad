//! The transactions that are open in one partition, and the last stable offset that follows from them (KIP-98).
//!
//! Pure: no clock, no log, no lock; the partition owns one and feeds it what was sent, stored and lost. What stands here
//! is a replay of the log's index rows, but for batches in flight and for what the coordinator said.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use tidegate_record::Offset;
use tidegate_storage::Aborts;

use super::producers::Ticket;

#[derive(Debug, Default)]
pub(super) struct OpenTransactions {
    by_producer: HashMap<i64, Open>,
    /// First offsets of what is open. Two transactions never share one.
    firsts: BTreeSet<Offset>,
    /// First offsets of what has ended, by the offset of the marker, until the high watermark has passed that: whether a
    /// marker is there is not decided before.
    undecided: BTreeMap<Offset, Offset>,
}

#[derive(Debug)]
struct Open {
    epoch: i16,
    /// Where its first batch stands; none is stored yet otherwise.
    first: Option<Offset>,
    /// Batches on their way, oldest first.
    in_flight: VecDeque<Ticket>,
    /// The coordinator knows that the partition is part of the transaction, so it will end it here too.
    confirmed: bool,
}

impl OpenTransactions {
    /// Whether the coordinator has confirmed that a transaction of this producer reaches into this partition.
    pub(super) fn is_confirmed(&self, producer_id: i64, epoch: i16) -> bool {
        self.by_producer
            .get(&producer_id)
            .is_some_and(|open| open.confirmed && open.epoch == epoch)
    }

    /// Whether the producer may only write inside its transaction here.
    pub(super) fn is_open(&self, producer_id: i64) -> bool {
        self.by_producer
            .get(&producer_id)
            .is_some_and(|open| open.first.is_some() || !open.in_flight.is_empty())
    }

    /// Where the producer's open transaction begins.
    pub(super) fn first_of(&self, producer_id: i64) -> Option<Offset> {
        self.by_producer.get(&producer_id)?.first
    }

    /// Producers with a stored batch in an open transaction.
    pub(super) fn producers(&self) -> impl Iterator<Item = i64> {
        let all = self.by_producer.iter();
        all.filter(|(_, open)| open.first.is_some())
            .map(|(id, _)| *id)
    }

    /// Epoch and first offset of the producer's open transaction.
    pub(super) fn begun(&self, producer_id: i64) -> Option<(i16, Offset)> {
        let open = self.by_producer.get(&producer_id)?;
        open.first.map(|first| (open.epoch, first))
    }

    /// The coordinator says that the partition is in the producer's transaction.
    pub(super) fn confirm(&mut self, producer_id: i64, epoch: i16) {
        let open = self.entry(producer_id, epoch);
        open.confirmed = true;
        open.epoch = epoch;
    }

    /// A transactional batch is on its way to the log.
    pub(super) fn sent(&mut self, producer_id: i64, epoch: i16, ticket: Ticket) {
        self.entry(producer_id, epoch).in_flight.push_back(ticket);
    }

    /// It is there.
    pub(super) fn stored(&mut self, producer_id: i64, ticket: Ticket, base_offset: Offset) {
        if let Some(open) = self.by_producer.get_mut(&producer_id) {
            open.in_flight.retain(|known| *known != ticket);
            if open.first.is_none() {
                open.first = Some(base_offset);
                self.firsts.insert(base_offset);
            }
        }
    }

    /// It will never be there.
    pub(super) fn failed(&mut self, producer_id: i64, ticket: Ticket) {
        if let Some(open) = self.by_producer.get_mut(&producer_id) {
            open.in_flight.retain(|known| *known != ticket);
            if open.in_flight.is_empty() && open.first.is_none() && !open.confirmed {
                self.by_producer.remove(&producer_id);
            }
        }
    }

    /// Whether batches of the producer that came before a marker are still undecided. A marker waits for them: behind it
    /// they would begin a transaction that nobody ends, and only they tell where the one that it ends begins.
    pub(super) fn is_ahead(&self, producer_id: i64, marker: Ticket) -> bool {
        self.by_producer
            .get(&producer_id)
            .and_then(|open| open.in_flight.front())
            .is_some_and(|oldest| *oldest < marker)
    }

    /// What an ABORT marker of the producer would end.
    pub(super) fn aborts(&self, producer_id: i64, stable_offset: Offset) -> Option<Aborts> {
        self.first_of(producer_id).map(|first_offset| Aborts {
            first_offset,
            stable_offset,
        })
    }

    /// A marker of the producer is in the log.
    pub(super) fn ended(&mut self, producer_id: i64, marker: Offset) {
        let Some(mut open) = self.by_producer.remove(&producer_id) else {
            return;
        };
        if let Some(first) = open.first.take() {
            self.firsts.remove(&first);
            self.undecided.insert(marker, first);
        }
        // What was sent behind the marker belongs to the next transaction, which the coordinator has yet to confirm.
        if !open.in_flight.is_empty() {
            open.confirmed = false;
            self.by_producer.insert(producer_id, open);
        }
    }

    /// The high watermark has moved: markers below it are decided.
    pub(super) fn committed(&mut self, high_watermark: Offset) {
        if !self.undecided.is_empty() {
            self.undecided = self.undecided.split_off(&high_watermark);
        }
    }

    /// First offset of a transaction that is open, or whose end is not decided.
    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let open = self.firsts.first().copied();
        let ended = self.undecided.values().min().copied();
        open.into_iter().chain(ended).min()
    }

    /// Whether the end of a transaction is in the log but not decided.
    pub(super) fn is_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Takes in a transactional batch that the log holds, in the log's order.
    pub(super) fn replay(&mut self, producer_id: i64, epoch: i16, base_offset: Offset) {
        self.confirm(producer_id, epoch);
        self.stored(producer_id, Ticket::MAX, base_offset);
    }

    fn entry(&mut self, producer_id: i64, epoch: i16) -> &mut Open {
        self.by_producer.entry(producer_id).or_insert_with(|| Open {
            epoch,
            first: None,
            in_flight: VecDeque::new(),
            confirmed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unstable_offset_is_that_of_the_oldest_undecided_transaction() {
        let mut open = OpenTransactions::default();
        open.sent(1, 0, 1);
        assert_eq!(open.first_unstable(), None, "nothing of it is stored");
        open.stored(1, 1, 10);
        open.sent(2, 0, 2);
        open.stored(2, 2, 20);
        open.sent(1, 0, 3);
        open.stored(1, 3, 30);
        assert_eq!(open.first_unstable(), Some(10));
        open.ended(1, 40);
        assert_eq!(
            open.first_unstable(),
            Some(10),
            "the marker may yet be lost"
        );
        open.committed(40);
        assert_eq!(
            open.first_unstable(),
            Some(10),
            "the watermark stands before the marker"
        );
        open.committed(41);
        assert_eq!(open.first_unstable(), Some(20));
        open.ended(2, 50);
        open.committed(60);
        assert_eq!(open.first_unstable(), None);
    }

    #[test]
    fn a_marker_waits_for_what_came_before_it_only() {
        let mut open = OpenTransactions::default();
        open.confirm(1, 0);
        open.sent(1, 0, 1);
        open.sent(1, 1, 3);
        assert!(open.is_ahead(1, 2));
        open.stored(1, 1, 10);
        assert!(!open.is_ahead(1, 2));
        assert_eq!(
            open.aborts(1, 5).map(|aborts| aborts.first_offset),
            Some(10)
        );
        open.ended(1, 11);
        assert!(
            open.is_open(1),
            "the batch behind the marker opens the next one"
        );
        assert!(
            !open.is_confirmed(1, 1),
            "which the coordinator does not know yet"
        );
        open.stored(1, 3, 12);
        assert_eq!(open.first_of(1), Some(12));
    }

    #[test]
    fn a_batch_that_failed_opens_nothing() {
        let mut open = OpenTransactions::default();
        open.sent(1, 0, 1);
        open.failed(1, 1);
        assert!(!open.is_open(1) && open.by_producer.is_empty());
        open.confirm(2, 0);
        open.sent(2, 0, 2);
        open.failed(2, 2);
        assert!(
            open.is_confirmed(2, 0),
            "the coordinator will still send a marker"
        );
        open.ended(2, 5);
        assert!(!open.is_confirmed(2, 0) && open.first_unstable().is_none());
    }
}
