//! Batches behind the tail cache that were read from the store a moment ago, and those that whoever reads on asks for next.
//!
//! Consumers that go through a log together share what one of them read, and the next stretch is read while the last one is
//! on its way to its reader. A stretch is known by the offset that it was read from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tidegate_record::Offset;

use super::lock;
use super::partition::Partition;
use super::tail::OVERHEAD;
use crate::Stored;

/// Batches that follow each other. Whoever comes first reads them; the others wait for that.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    /// Empty: the store could not be read.
    batches: OnceLock<Vec<Stored>>,
    /// Held until somebody asks for what was read ahead.
    unasked: Mutex<Option<Unasked>>,
}

/// The stretches of one partition.
#[derive(Debug, Default)]
pub(crate) struct Stretches(BTreeMap<Offset, Arc<Stretch>>);

/// All stretches, in the order in which they were read, with the memory that they are charged for. What left its partition
/// early stays charged until its turn comes, as in the tail cache.
#[derive(Debug)]
pub(crate) struct Ahead {
    budget: usize,
    /// Bytes that were, or are being, read ahead and that nobody asked for yet.
    unasked: Arc<AtomicUsize>,
    order: Mutex<Order>,
}

#[derive(Debug, Default)]
struct Order {
    entries: VecDeque<Entry>,
    used: usize,
}

#[derive(Debug)]
struct Entry {
    partition: Weak<Partition>,
    from: Offset,
    stretch: Weak<Stretch>,
    charge: usize,
}

#[derive(Debug)]
struct Unasked {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Stretch {
    /// Reads the stretch unless somebody did; says whether this call did.
    pub(crate) fn fill(&self, read: impl FnOnce() -> Vec<Stored>) -> bool {
        let mut filled = false;
        self.batches.get_or_init(|| {
            filled = true;
            read()
        });
        filled
    }

    /// As [`crate::LogStore::read`], of this stretch alone.
    pub(crate) fn read(&self, from: Offset, to: Offset, max_bytes: usize) -> Vec<Stored> {
        let mut found = Found::default();
        self.add_to(&mut found, from, to, max_bytes);
        found.batches
    }

    fn end(&self) -> Option<Offset> {
        let last = self.batches.get()?.last()?;
        Some(last.row.last_offset.saturating_add(1))
    }

    /// Adds the batches from the one that holds `from`, as [`crate::LogStore::read`] would.
    fn add_to(&self, found: &mut Found, from: Offset, to: Offset, max_bytes: usize) {
        *lock(&self.unasked) = None;
        let batches = self.batches.get().map_or(&[] as &[Stored], Vec::as_slice);
        let first = batches.partition_point(|stored| stored.row.last_offset < from);
        for stored in batches.iter().skip(first) {
            let bytes = found.bytes.saturating_add(stored.batch.len());
            if stored.row.base_offset >= to || !found.batches.is_empty() && bytes > max_bytes {
                found.is_complete = true;
                return;
            }
            found.bytes = bytes;
            found.batches.push(stored.clone());
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    batches: Vec<Stored>,
    bytes: usize,
    /// The reader wants no more.
    is_complete: bool,
}

impl Stretches {
    /// What is stored is not what it was.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// As [`crate::LogStore::read`], without the store; `None` where that would give much more.
    pub(crate) fn read(&self, from: Offset, to: Offset, max_bytes: usize) -> Option<Vec<Stored>> {
        let mut found = Found::default();
        let mut next = from;
        while let Some(stretch) = self.holding(next) {
            let end = stretch.end()?;
            stretch.add_to(&mut found, next, to, max_bytes);
            if found.is_complete {
                break;
            }
            next = end;
        }
        let enough = found.is_complete || next >= to || found.bytes >= max_bytes / 2;
        (enough && !found.batches.is_empty()).then_some(found.batches)
    }

    /// The stretch at `from`, known or new.
    pub(crate) fn at(&mut self, from: Offset) -> Arc<Stretch> {
        match self.0.get(&from) {
            // Known but too short, or not readable when it was tried.
            Some(known) if known.batches.get().is_none() => known.clone(),
            _ => {
                let stretch = Arc::<Stretch>::default();
                self.0.insert(from, stretch.clone());
                stretch
            }
        }
    }

    fn holding(&self, offset: Offset) -> Option<&Arc<Stretch>> {
        let (_, stretch) = self.0.range(..=offset).next_back()?;
        Some(stretch).filter(|stretch| stretch.end().is_some_and(|end| offset < end))
    }

    /// Whether a stretch begins there, or holds the offset.
    fn has(&self, offset: Offset) -> bool {
        self.0.contains_key(&offset) || self.holding(offset).is_some()
    }

    /// Whether a stretch ends there: whoever reads from there on has read what comes before.
    fn is_end(&self, offset: Offset) -> bool {
        let before = self.0.range(..offset).next_back();
        before.is_some_and(|(_, stretch)| stretch.end() == Some(offset))
    }

    fn forget(&mut self, from: Offset, stretch: &Weak<Stretch>) {
        if let Some(known) = self.0.get(&from)
            && std::ptr::eq(Arc::as_ptr(known), stretch.as_ptr())
        {
            self.0.remove(&from);
        }
    }
}

impl Ahead {
    pub(crate) fn new(budget: usize) -> Ahead {
        Ahead {
            budget,
            unasked: Arc::default(),
            order: Mutex::default(),
        }
    }

    /// Whether so much is kept for others at all.
    pub(crate) fn keeps(&self, max_bytes: usize) -> bool {
        max_bytes <= self.budget / 4
    }

    /// The stretch to be read next by whoever has read from `began` up to `next`, if it is worth it: they went on from where
    /// an earlier read ended, or from the log's start, and what was read ahead before is being used.
    pub(crate) fn next(
        &self,
        partition: &Partition,
        began: Offset,
        next: Offset,
        max_bytes: usize,
    ) -> Option<Arc<Stretch>> {
        let mut stretches = lock(&partition.stretches);
        let goes_on = began <= partition.start() || stretches.is_end(began);
        if !self.keeps(max_bytes) || !goes_on || stretches.has(next) {
            return None;
        }
        let unasked = Unasked::count(&self.unasked, max_bytes);
        if self.unasked.load(Ordering::Relaxed) > self.budget / 2 {
            return None;
        }
        let stretch = stretches.at(next);
        *lock(&stretch.unasked) = Some(unasked);
        Some(stretch)
    }

    /// Keeps a stretch that was just read, and lets go of the oldest.
    pub(crate) fn keep(&self, partition: &Arc<Partition>, from: Offset, stretch: &Arc<Stretch>) {
        let batches = stretch
            .batches
            .get()
            .map_or(&[] as &[Stored], Vec::as_slice);
        let entry = Entry {
            partition: Arc::downgrade(partition),
            from,
            stretch: Arc::downgrade(stretch),
            charge: batches
                .iter()
                .map(|stored| stored.batch.len() + OVERHEAD)
                .sum(),
        };
        if batches.is_empty() {
            return entry.forget();
        }
        // A batch comes whole, whatever its size, so it may have come to more than was asked for.
        if let Some(unasked) = &mut *lock(&stretch.unasked) {
            *unasked = Unasked::count(&self.unasked, entry.charge);
        }
        let mut order = lock(&self.order);
        order.used = order.used.saturating_add(entry.charge);
        order.entries.push_back(entry);
        while order.used > self.budget
            && let Some(oldest) = order.entries.pop_front()
        {
            order.used = order.used.saturating_sub(oldest.charge);
            oldest.forget();
        }
    }
}

impl Entry {
    fn forget(&self) {
        if let Some(partition) = self.partition.upgrade() {
            lock(&partition.stretches).forget(self.from, &self.stretch);
        }
    }
}

impl Unasked {
    fn count(total: &Arc<AtomicUsize>, bytes: usize) -> Unasked {
        total.fetch_add(bytes, Ordering::Relaxed);
        Unasked {
            total: total.clone(),
            bytes,
        }
    }
}

impl Drop for Unasked {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
