//! Bounds on what a decoder may allocate.

use crate::allocator::peak_bytes;

/// For the sentence of an error, the shared header of a `Bytes`, and the like.
pub(crate) const SLACK: usize = 8 << 10;

/// Runs `run`, which may not have more than `bound` bytes alive at any time beyond those alive before. What C code takes
/// with `malloc` is not counted; that is bounded by libFuzzer's limit on the process.
#[track_caller]
pub(crate) fn within<T>(bound: usize, run: impl FnOnce() -> T) -> T {
    let (result, peak) = peak_bytes(run);
    assert!(
        peak <= bound,
        "{peak} bytes were alive at once, at most {bound} may be"
    );
    result
}
