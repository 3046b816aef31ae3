//! An allocator that counts.
//!
//! Each thread has a count of its own allocations. Those of threads with a mark are also added up, with the bytes that
//! they hold, for whoever measures another thread.

#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// How often marked threads have allocated.
pub static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The bytes that marked threads hold: what they allocated less what they gave back.
pub static LIVE: AtomicI64 = AtomicI64::new(0);

/// The greatest [`LIVE`] so far.
pub static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static IS_MARKED: Cell<bool> = const { Cell::new(false) };
    static OWN_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// From now on what this thread does is counted for all to see.
pub fn mark_thread() {
    IS_MARKED.set(true);
}

/// How often this thread allocates while it does `what`.
pub fn allocations_of(what: impl FnOnce()) -> u64 {
    let before = OWN_ALLOCATIONS.get();
    what();
    OWN_ALLOCATIONS.get() - before
}

fn count(allocations: u64, bytes: i64) {
    // A thread that is ending has neither count nor mark any more.
    let _ = OWN_ALLOCATIONS.try_with(|own| own.set(own.get() + allocations));
    if IS_MARKED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}
