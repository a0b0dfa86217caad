//! The last different texts, within bounds of number, memory and age.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

/// What an entry takes beside its bytes: two pointers with a length, two counts, a time, and its
/// share of a hash table that is at worst half full, and copied as it grows.
const ENTRY_BYTES: usize = 96;

pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) ms: Option<i64>,
}

/// What the instance of one partition remembers.
#[derive(Default)]
pub struct Window {
    /// In the order in which they came, with their time in milliseconds.
    entries: VecDeque<(i64, Rc<[u8]>)>,
    known: HashSet<Rc<[u8]>>,
    bytes: usize,
}

impl Window {
    /// Whether the text is not known, and remembers it. What is known is not made younger: a
    /// duplicate that repeats for ever is let through once in each window.
    pub(crate) fn is_new(&mut self, text: &[u8], now_ms: i64, bounds: &Bounds) -> bool {
        if let Some(ms) = bounds.ms {
            self.forget_while(|window| window.is_oldest_before(now_ms.saturating_sub(ms)));
        }
        if self.known.contains(text) {
            return false;
        }
        let cost = text.len() + ENTRY_BYTES;
        if cost > bounds.bytes {
            // It alone would be too much to remember.
            return true;
        }
        self.forget_while(|window| {
            window.entries.len() >= bounds.records || window.bytes + cost > bounds.bytes
        });
        let text: Rc<[u8]> = text.into();
        self.bytes += cost;
        self.known.insert(text.clone());
        self.entries.push_back((now_ms, text));
        true
    }

    fn is_oldest_before(&self, ms: i64) -> bool {
        self.entries.front().is_some_and(|(at, _)| *at <= ms)
    }

    fn forget_while(&mut self, too_much: impl Fn(&Self) -> bool) {
        while too_much(self) {
            let Some((_, text)) = self.entries.pop_front() else {
                return;
            };
            self.known.remove(&text);
            self.bytes -= text.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const WIDE: Bounds = Bounds {
        records: 1_000,
        bytes: 1 << 20,
        ms: None,
    };

    #[test]
    fn age_is_bounded() {
        let mut window = Window::default();
        let bounds = Bounds {
            ms: Some(10),
            ..WIDE
        };
        assert!(window.is_new(b"a", 100, &bounds));
        assert!(!window.is_new(b"a", 109, &bounds));
        assert!(window.is_new(b"a", 110, &bounds));
        // The broker's clock was set back.
        assert!(!window.is_new(b"a", 50, &bounds));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut window = Window::default();
        let bounds = Bounds {
            bytes: 4 * (ENTRY_BYTES + 100),
            ..WIDE
        };
        let text = |i: u8| vec![i; 100];
        for i in 0..6 {
            assert!(window.is_new(&text(i), 0, &bounds));
            assert!(window.bytes <= bounds.bytes);
        }
        assert!(window.is_new(&text(0), 0, &bounds));
        assert!(!window.is_new(&text(5), 0, &bounds));
        let long = vec![9; bounds.bytes];
        assert!(window.is_new(&long, 0, &bounds) && window.is_new(&long, 0, &bounds));
        assert!(!window.is_new(&text(5), 0, &bounds));
    }

    proptest! {
        /// Against the plainest way to say it: the last `records` different texts let through.
        #[test]
        fn agrees_with_a_list(texts in vec("[a-e]{0,2}", 0..200), records in 1usize..8) {
            let mut window = Window::default();
            let mut list: Vec<String> = Vec::new();
            for text in texts {
                let new = !list[list.len().saturating_sub(records)..].contains(&text);
                let bounds = Bounds { records, ..WIDE };
                prop_assert_eq!(window.is_new(text.as_bytes(), 0, &bounds), new);
                if new {
                    list.push(text);
                }
            }
            prop_assert_eq!(window.known.len(), window.entries.len());
        }
    }
}
