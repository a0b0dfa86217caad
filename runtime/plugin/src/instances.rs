//! The live instances of one binding: a pool of equals, or one for each partition where the plugin keeps state.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock;
use crate::instance::Instance;

#[derive(Default)]
pub(crate) struct Instances {
    inner: Mutex<Inner>,
    returned: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Configured, and without a memory of any batch that counts.
    idle: Vec<Instance>,
    partitions: HashMap<i32, Slot>,
    /// In a call now.
    running: usize,
    live: usize,
    made: u64,
}

/// The instance of one partition.
#[derive(Default)]
struct Slot {
    /// `None` while it is in a call.
    instance: Option<Instance>,
    /// What it knows became wrong while it was in a call.
    forgotten: bool,
}

/// What `take` gives.
pub(crate) enum Taken {
    Instance(Instance),
    /// There is room for one: the caller makes it, and gives it back or tells `discard`.
    Room,
    /// As many run as may.
    Busy,
    /// The partition's one instance is in a call; there must never be two.
    InUse,
}

impl Instances {
    pub(crate) fn with(trial: Instance) -> Instances {
        let inner = Inner {
            idle: vec![trial],
            live: 1,
            made: 1,
            ..Inner::default()
        };
        Instances {
            inner: Mutex::new(inner),
            returned: Condvar::new(),
        }
    }

    /// Waits until `until` where as many run as may. `partition`: whose state it must have.
    pub(crate) fn take(&self, partition: Option<i32>, max_running: usize, until: Instant) -> Taken {
        let mut inner = self.lock();
        while inner.running >= max_running.max(1) {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Taken::Busy;
            }
            inner = match self.returned.wait_timeout(inner, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let found = match partition.map(|partition| inner.partitions.entry(partition)) {
            None => inner.idle.pop(),
            Some(std::collections::hash_map::Entry::Occupied(mut slot)) => {
                match slot.get_mut().instance.take() {
                    None => return Taken::InUse,
                    found => found,
                }
            }
            Some(std::collections::hash_map::Entry::Vacant(slot)) => {
                slot.insert(Slot::default());
                inner.idle.pop()
            }
        };
        inner.running += 1;
        match found {
            Some(instance) => Taken::Instance(instance),
            None => {
                inner.live += 1;
                inner.made += 1;
                Taken::Room
            }
        }
    }

    pub(crate) fn give_back(&self, partition: Option<i32>, instance: Instance) {
        let mut inner = self.lock();
        inner.running = inner.running.saturating_sub(1);
        let stale = match partition {
            None => {
                inner.idle.push(instance);
                None
            }
            Some(partition) => inner.settle(partition, instance),
        };
        drop(inner);
        drop(stale);
        self.returned.notify_one();
    }

    /// An instance that was taken will not come back.
    pub(crate) fn discard(&self, partition: Option<i32>) {
        let mut inner = self.lock();
        inner.running = inner.running.saturating_sub(1);
        inner.live = inner.live.saturating_sub(1);
        if let Some(partition) = partition {
            inner.partitions.remove(&partition);
        }
        drop(inner);
        self.returned.notify_one();
    }

    /// The next batch of this partition meets an instance that knows nothing.
    pub(crate) fn forget(&self, partition: i32) {
        let mut inner = self.lock();
        let Some(slot) = inner.partitions.get_mut(&partition) else {
            return;
        };
        let Some(instance) = slot.instance.take() else {
            slot.forgotten = true;
            return;
        };
        inner.partitions.remove(&partition);
        inner.live = inner.live.saturating_sub(1);
        drop(inner);
        drop(instance);
    }

    /// Throws away what rests and has no state, to make room for another binding.
    pub(crate) fn drop_idle(&self) {
        let mut inner = self.lock();
        let idle = std::mem::take(&mut inner.idle);
        inner.live = inner.live.saturating_sub(idle.len());
        drop(inner);
        drop(idle);
        self.returned.notify_all();
    }

    /// Instances alive now, and made since the binding was.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.live as u64, inner.made)
    }

    /// Partitions whose state is held.
    pub(crate) fn partitions(&self) -> usize {
        self.lock().partitions.len()
    }

    /// The largest linear memory among those that rest.
    pub(crate) fn resting_memory(&self) -> usize {
        let inner = self.lock();
        let with_state = inner
            .partitions
            .values()
            .filter_map(|s| s.instance.as_ref());
        let resting = inner.idle.iter().chain(with_state);
        resting.map(Instance::memory_bytes).max().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Gives back an instance whose state became wrong during its call.
    fn settle(&mut self, partition: i32, instance: Instance) -> Option<Instance> {
        match self.partitions.get_mut(&partition) {
            Some(slot) if !slot.forgotten => {
                slot.instance = Some(instance);
                None
            }
            _ => {
                self.partitions.remove(&partition);
                self.live = self.live.saturating_sub(1);
                Some(instance)
            }
        }
    }
}
