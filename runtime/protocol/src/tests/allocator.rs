//! Counts what the current thread allocates, so that tests can bound it.
#![allow(unsafe_code)] // GlobalAlloc is an unsafe trait; this one only adds and forwards.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The most bytes alive at once, beyond those alive before, while `run` ran on this thread.
pub(super) fn peak_bytes<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, PEAK.get().saturating_sub(before))
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(layout.size())));
        unsafe { System.dealloc(block, layout) }
    }
}

/// A reservation beyond any test's need would be given lazily by the kernel; count it regardless.
fn add(size: usize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(size));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

#[test]
fn counts_reservations() {
    let (_, peak) = peak_bytes(|| Vec::<u8>::with_capacity(1 << 20));
    assert!((1 << 20..1 << 21).contains(&peak), "{peak}");
    let (_, peak) = peak_bytes(|| 1);
    assert_eq!(peak, 0);
}
