//! When a guest's queues were not as they should be: a request may fail then, and only then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a guest that has lost its queues may take to have them in use again: a scan, a reset of each.
const RECOVERY: Duration = Duration::from_secs(3);

/// The troubles of one guest. Whoever makes one says so before.
pub(super) struct Trouble {
    start: Instant,
    /// Milliseconds since the start until which something is wrong because of the matrix, or of a fault.
    matrix: AtomicU64,
    faults: AtomicU64,
}

impl Trouble {
    pub(super) const fn new(start: Instant) -> Self {
        Self {
            start,
            matrix: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// Milliseconds since the start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("a test ends")
    }

    /// Queues are taken, until they are given back.
    pub(super) fn begins(&self) {
        self.matrix.store(u64::MAX, Ordering::SeqCst);
    }

    /// All queues are there again.
    pub(super) fn ends(&self) {
        self.matrix.store(self.now(), Ordering::SeqCst);
    }

    /// Something is wrong for this time from now on.
    pub(super) fn lasts(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).expect("short");
        self.faults.fetch_max(self.now() + time, Ordering::SeqCst);
    }

    /// Whether it explains that a request failed that was made at this time.
    pub(super) fn explains(&self, made: u64) -> bool {
        let until = self.matrix.load(Ordering::SeqCst);
        let until = until.max(self.faults.load(Ordering::SeqCst));
        let recovery = u64::try_from(RECOVERY.as_millis()).expect("short");
        until.saturating_add(recovery) >= made
    }
}
