//! A guest's eventfd for adapter interruptions, signalled by engines.
//!
//! ```text
//!                         a signal takes a millisecond
//!   [engines signal it] --------------------------------> [its session thread does]
//!           ^                                                        |
//!           +------------------- 1000 signals later -----------------+
//! ```
//! A signal never waits, but it wakes whoever waits for the eventfd, and a hostile VMM can have thousands of
//! waiters. Its share of the engines pays for that work as for the request; but meanwhile the engine serves
//! nobody, so it leaves the next signals to the VMM's own thread.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use device::PeerEventfd;

/// A signal that takes longer woke many, or its thread was not running for a while.
const LONG: Duration = Duration::from_millis(1);
/// Signals that are left to the session thread after a long one.
const LEFT: u32 = 1000;

/// The eventfd, if the guest has registered one.
#[derive(Debug, Default)]
pub(super) struct AlertFd {
    eventfd: Mutex<Option<PeerEventfd>>,
    /// Signals that engines leave to the session thread.
    left: AtomicU32,
}

impl AlertFd {
    /// The guest has registered its eventfd, or removed it.
    pub(super) fn set(&self, eventfd: Option<PeerEventfd>) {
        *self.lock() = eventfd;
    }

    /// Signals it; false if the session thread is to do that.
    pub(super) fn signal(&self) -> bool {
        if self.is_left() {
            return false;
        }
        // Whoever it wakes may take the CPU from this thread, so no lock is held.
        let Some(eventfd) = self.lock().clone() else {
            return false;
        };
        let start = Instant::now();
        let signalled = eventfd.signal_at_once();
        self.took(start.elapsed());
        signalled
    }

    /// Counts one signal that is left to the session thread, if this is one.
    fn is_left(&self) -> bool {
        // Several engines may count at once.
        let one_less = |left: u32| left.checked_sub(1);
        let counted = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        counted.is_ok()
    }

    fn took(&self, time: Duration) {
        if time > LONG {
            self.left.store(LEFT, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<PeerEventfd>> {
        self.eventfd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn engines_signal_what_is_registered() {
        let alert = AlertFd::default();
        assert!(!alert.signal(), "nothing is registered");
        let ours = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        alert.set(PeerEventfd::new(ours.try_clone().unwrap()));
        for _ in 0..3 {
            // However busy this machine is.
            alert.left.store(0, Ordering::Relaxed);
            assert!(alert.signal());
        }
        alert.left.store(0, Ordering::Relaxed);
        let mut counter = [0; 8];
        rustix::io::read(&ours, &mut counter).unwrap();
        assert_eq!(u64::from_ne_bytes(counter), 3);
        alert.set(None);
        assert!(!alert.signal());
        assert!(rustix::io::read(&ours, &mut counter).is_err());
    }

    #[test]
    fn engines_that_count_at_once_count_each_signal_once() {
        let alert = AlertFd::default();
        for _ in 0..100 {
            alert.left.store(1, Ordering::Relaxed);
            let counted: usize = std::thread::scope(|scope| {
                let engines = [(); 2].map(|()| scope.spawn(|| alert.is_left()));
                let left = engines.map(|engine| usize::from(engine.join().unwrap()));
                left.iter().sum()
            });
            assert_eq!((counted, alert.left.load(Ordering::Relaxed)), (1, 0));
        }
    }

    #[test]
    fn after_a_long_signal_the_session_does_the_next_ones() {
        let alert = AlertFd::default();
        let ours = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        alert.set(PeerEventfd::new(ours.try_clone().unwrap()));
        alert.took(LONG);
        assert_eq!(alert.left.load(Ordering::Relaxed), 0);
        alert.took(2 * LONG);
        for _ in 0..LEFT {
            assert!(!alert.signal());
        }
        assert!(alert.signal());
    }
}
