//! One budget for what a broker keeps in memory, divided among its parts.
//!
//! A part that is set takes what is said; the others share what is left by weight, each at least what it cannot work
//! without. Beside the budget are the program itself, some KiB for each partition and connection, and the plugins, whose
//! memory has bounds of its own (`tidegate.plugins.*`).

use std::ops::{Index, IndexMut};

/// The parts that share, in the order of `PARTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The newest batches.
    TailCache,
    /// Batches that wait for the writer thread.
    AppendQueue,
    /// Request frames, until they are answered.
    Requests,
    /// Records of answers, until they are written.
    Answers,
    /// Older batches that were read a moment ago, or ahead of who reads on.
    ReadAhead,
    /// RocksDB's memtables.
    WriteBuffers,
    /// RocksDB's blocks of rows, keys, indexes and filters.
    BlockCache,
}

struct PartDef {
    key: &'static str,
    weight: usize,
    least: usize,
}

const MIB: usize = 1 << 20;

static PARTS: [PartDef; 7] = [
    part("tidegate.tail.cache.bytes", 2, MIB),
    part("tidegate.append.queue.bytes", 1, MIB),
    part("queued.max.request.bytes", 4, MIB),
    part("tidegate.answer.memory.bytes", 3, 4 * MIB),
    part("tidegate.read.ahead.bytes", 1, 0),
    part("tidegate.write.buffer.bytes", 4, 36 * MIB),
    part("tidegate.block.cache.bytes", 1, 4 * MIB),
];

const fn part(key: &'static str, weight: usize, least: usize) -> PartDef {
    PartDef { key, weight, least }
}

impl Part {
    pub const ALL: [Part; 7] = [
        Part::TailCache,
        Part::AppendQueue,
        Part::Requests,
        Part::Answers,
        Part::ReadAhead,
        Part::WriteBuffers,
        Part::BlockCache,
    ];

    /// The key that sets it.
    pub fn key(self) -> &'static str {
        PARTS[self as usize].key
    }
}

/// A number of bytes for each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<T>([T; PARTS.len()]);

impl<T> Index<Part> for Parts<T> {
    type Output = T;

    fn index(&self, part: Part) -> &T {
        &self.0[part as usize]
    }
}

impl<T> IndexMut<Part> for Parts<T> {
    fn index_mut(&mut self, part: Part) -> &mut T {
        &mut self.0[part as usize]
    }
}

/// How a broker divides its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// `tidegate.memory.bytes`
    pub total: usize,
    pub parts: Parts<usize>,
    /// Batches at a time that may grow to the size of `tidegate.max.decoded.bytes` when they are decompressed.
    pub large_decodes: usize,
}

/// What a division starts from.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) total: usize,
    /// `log.cleaner.dedupe.buffer.size`, where logs are compacted.
    pub(super) cleaner: usize,
    pub(super) max_decoded: usize,
    /// The largest request frame: it must find room, or its connection would wait for ever.
    pub(super) frame: usize,
    /// What is said of single parts.
    pub(super) given: Parts<Option<usize>>,
}

/// Divides a budget; the error is the least total that would do.
pub(super) fn divide(wishes: &Wishes) -> Result<MemoryConfig, usize> {
    let Wishes {
        total,
        cleaner,
        max_decoded,
        frame,
        ..
    } = *wishes;
    let large_decodes = (total / 8 / max_decoded.max(1)).clamp(1, 1024);
    let beside = cleaner.saturating_add(large_decodes.saturating_mul(max_decoded));
    let least = |part: Part| match part {
        Part::Requests => PARTS[part as usize].least.max(frame),
        _ => PARTS[part as usize].least,
    };
    let mut fixed = wishes.given;
    if let Some(requests) = &mut fixed[Part::Requests] {
        *requests = (*requests).max(frame);
    }
    loop {
        let open = || Part::ALL.into_iter().filter(|part| fixed[*part].is_none());
        let taken = fixed
            .0
            .iter()
            .flatten()
            .fold(beside, |sum, bytes| sum.saturating_add(*bytes));
        let needed = open().fold(taken, |sum, part| sum.saturating_add(least(part)));
        if needed > total {
            // Of a larger total up to an eighth more goes to decompression.
            return Err(needed.saturating_add(needed / 4));
        }
        let weights: usize = open().map(|part| PARTS[part as usize].weight).sum();
        let share = |part: Part| (total - taken) / weights.max(1) * PARTS[part as usize].weight;
        if let Some(small) = open().find(|part| share(*part) < least(*part)) {
            fixed[small] = Some(least(small));
            continue;
        }
        let mut parts = Parts::default();
        for part in Part::ALL {
            parts[part] = fixed[part].unwrap_or_else(|| share(part));
        }
        return Ok(MemoryConfig {
            total,
            parts,
            large_decodes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(total: usize) -> Wishes {
        Wishes {
            total,
            cleaner: 128 * MIB,
            max_decoded: 64 * MIB,
            frame: 100 * MIB,
            given: Parts::default(),
        }
    }

    fn sum(memory: &MemoryConfig, wishes: &Wishes) -> usize {
        let parts: usize = memory.parts.0.iter().sum();
        parts + wishes.cleaner + memory.large_decodes * wishes.max_decoded
    }

    #[test]
    fn the_parts_come_to_the_whole() {
        for total in [512 * MIB, 1 << 30, 3 << 29, 64 << 30] {
            let wishes = wishes(total);
            let memory = divide(&wishes).unwrap();
            let sum = sum(&memory, &wishes);
            assert!(sum <= total && sum + MIB > total, "{sum} of {total}");
            assert!(memory.parts[Part::Requests] >= wishes.frame);
        }
    }

    #[test]
    fn what_is_set_is_kept_and_the_others_share_the_rest() {
        let mut wishes = wishes(1 << 30);
        wishes.given[Part::TailCache] = Some(0);
        wishes.given[Part::Requests] = Some(1);
        let memory = divide(&wishes).unwrap();
        assert_eq!(memory.parts[Part::TailCache], 0);
        assert_eq!(memory.parts[Part::Requests], wishes.frame);
        assert_eq!(
            memory.parts[Part::Answers],
            3 * memory.parts[Part::BlockCache]
        );
        assert!(sum(&memory, &wishes) <= 1 << 30);
    }

    #[test]
    fn too_little_says_how_much_would_do() {
        let needed = divide(&wishes(256 * MIB)).unwrap_err();
        assert!(divide(&wishes(needed)).is_ok(), "{needed}");
        let mut greedy = wishes(1 << 30);
        greedy.given[Part::AppendQueue] = Some(4 << 30);
        let needed = divide(&greedy).unwrap_err();
        assert!(
            divide(&Wishes {
                total: needed,
                ..greedy
            })
            .is_ok()
        );
    }
}
