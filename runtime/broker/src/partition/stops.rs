//! Where a consume chain stopped: what it said of a batch it could not get through, so that consumers who wait there are
//! answered without running it again (rule 26).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tidegate_plugin::Chain;
use tidegate_record::Offset;

use super::read::Survivor;

/// Stops of one partition that are remembered, each with up to a batch of bytes. Readers in order all meet the first;
/// others are of readers who jumped.
const MAX_STOPS: usize = 8;

#[derive(Clone)]
pub(super) struct Stop {
    /// What stands before the record that broke the chain.
    pub(super) before: Option<Survivor>,
    pub(super) sentence: String,
}

#[derive(Default)]
pub(super) struct Stops(Mutex<OfChain>);

/// The stops of one chain, by base offset. Another chain tries again.
#[derive(Default)]
struct OfChain {
    chain: Weak<Chain>,
    stops: BTreeMap<Offset, Stop>,
}

impl Stops {
    pub(super) fn get(&self, chain: &Arc<Chain>, base_offset: Offset) -> Option<Stop> {
        let of_chain = self.lock();
        match of_chain.is_of(chain) {
            true => of_chain.stops.get(&base_offset).cloned(),
            false => None,
        }
    }

    pub(super) fn remember(&self, chain: &Arc<Chain>, base_offset: Offset, stop: Stop) {
        let mut of_chain = self.lock();
        if !of_chain.is_of(chain) {
            *of_chain = OfChain {
                chain: Arc::downgrade(chain),
                stops: BTreeMap::new(),
            };
        }
        if of_chain.stops.len() >= MAX_STOPS {
            of_chain.stops.pop_first();
        }
        of_chain.stops.insert(base_offset, stop);
    }

    pub(super) fn clear(&self) {
        *self.lock() = OfChain::default();
    }

    fn lock(&self) -> MutexGuard<'_, OfChain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfChain {
    fn is_of(&self, chain: &Arc<Chain>) -> bool {
        std::ptr::eq(self.chain.as_ptr(), Arc::as_ptr(chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(sentence: &str) -> Stop {
        Stop {
            before: None,
            sentence: sentence.into(),
        }
    }

    #[test]
    fn another_chain_or_a_resume_tries_again() {
        let (one, other) = (Arc::new(Chain::default()), Arc::new(Chain::default()));
        let stops = Stops::default();
        stops.remember(&one, 5, stop("a"));
        stops.remember(&one, 9, stop("b"));
        let found = |chain, offset| stops.get(chain, offset).map(|stop| stop.sentence);
        assert_eq!(found(&one, 5).as_deref(), Some("a"));
        assert_eq!(found(&one, 6), None);
        assert_eq!(found(&other, 5), None);
        stops.remember(&other, 5, stop("c"));
        assert_eq!(found(&one, 5), None);
        assert_eq!(found(&other, 5).as_deref(), Some("c"));
        stops.clear();
        assert_eq!(found(&other, 5), None);
    }

    #[test]
    fn so_many_are_remembered() {
        let chain = Arc::new(Chain::default());
        let stops = Stops::default();
        for offset in 0..1000 {
            stops.remember(&chain, offset, stop("x"));
        }
        assert_eq!(stops.lock().stops.len(), MAX_STOPS);
        assert!(stops.get(&chain, 999).is_some());
    }
}
