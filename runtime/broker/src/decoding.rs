//! How many batches may be large at one time after they were decompressed.
//!
//! A few KiB may inflate to `tidegate.max.decoded.bytes`, on every plugin thread at once. So a batch is first opened as if it were
//! small, which most are; one that is not waits for its turn and is opened again.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tidegate_record::{BatchError, CompressionError, DecodeLimits, ProduceError, Records};

/// Most records one batch may hold before a plugin sees it; the smallest record takes seven bytes.
const MAX_RECORDS: usize = 10_000_000;
/// What is small takes no turn: up to twice this for each plugin thread, with the rows of its records.
const SMALL: DecodeLimits = DecodeLimits {
    max_bytes: 4 << 20,
    max_records: 100_000,
};

/// Bounds of decompression, and the turns of what is large.
pub(crate) struct Decoding {
    /// Most bytes that one batch may decompress to.
    pub(crate) max_bytes: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

/// The records of a batch; the turn ends with them.
pub(crate) struct Opened {
    pub(crate) records: Records,
    _turn: Option<Turn>,
}

struct Turn(Arc<Decoding>);

/// Whether a batch was refused for its size alone.
pub(crate) trait TooMuch {
    fn too_much(&self) -> bool;
}

impl TooMuch for BatchError {
    fn too_much(&self) -> bool {
        matches!(
            self,
            BatchError::Compression(CompressionError::TooLarge { .. })
        )
    }
}

impl TooMuch for ProduceError {
    fn too_much(&self) -> bool {
        matches!(self, ProduceError::Inflated { .. })
    }
}

impl Decoding {
    /// `turns`: so many large batches at a time, at least one.
    pub(crate) fn new(max_bytes: usize, turns: usize) -> Arc<Decoding> {
        Arc::new(Decoding {
            max_bytes,
            free: Mutex::new(turns.max(1)),
            freed: Condvar::new(),
        })
    }

    /// What any batch may come to.
    pub(crate) fn limits(&self) -> DecodeLimits {
        DecodeLimits {
            max_bytes: self.max_bytes,
            max_records: MAX_RECORDS,
        }
    }

    /// Opens a batch of `count` records. Blocks while too many large ones are open; whoever holds one must not open another.
    pub(crate) fn open<E: TooMuch>(
        self: &Arc<Self>,
        count: usize,
        decode: impl Fn(DecodeLimits) -> Result<Records, E>,
    ) -> Result<Opened, E> {
        if count <= SMALL.max_records && self.max_bytes > SMALL.max_bytes {
            match decode(SMALL) {
                Err(error) if error.too_much() => {}
                done => {
                    return done.map(|records| Opened {
                        records,
                        _turn: None,
                    });
                }
            }
        }
        let turn = self.turn();
        Ok(Opened {
            records: decode(self.limits())?,
            _turn: Some(turn),
        })
    }

    fn turn(self: &Arc<Self>) -> Turn {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidegate_record::{Batch, BatchBuilder, Codec, RecordParts};

    use super::*;

    fn batch(value_bytes: usize) -> Batch {
        let value = vec![0; value_bytes];
        let mut builder = BatchBuilder::new(Codec::Zstd);
        let record = RecordParts {
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.push(record).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn large_batches_are_open_one_after_another() {
        let decoding = Decoding::new(16 << 20, 2);
        let large = batch(8 << 20);
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let opened = decoding.open(1, |limits| large.records(limits)).unwrap();
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    assert_eq!(opened.records.len(), 1);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
        assert_eq!(*decoding.free.lock().unwrap(), 2);
    }

    #[test]
    fn small_batches_take_no_turn_and_the_bound_holds() {
        let decoding = Decoding::new(16 << 20, 1);
        let large = batch(8 << 20);
        let held = decoding.open(1, |limits| large.records(limits)).unwrap();
        let small = batch(100);
        assert!(decoding.open(1, |limits| small.records(limits)).is_ok());
        drop(held);
        let bomb = batch(20 << 20);
        let refused = decoding.open(1, |limits| bomb.records(limits));
        assert!(refused.is_err_and(|error| error.too_much()));
        assert_eq!(*decoding.free.lock().unwrap(), 1);
    }
}
