//! How control reaches a session's thread without waiting for it.
//!
//! Only the session's own thread touches descriptors that came from its guest. Control sets a flag and
//! writes to an eventfd that is ours and never blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use device::Wakeup;
use rustix::event::{EventfdFlags, eventfd};

const CONFIG_CHANGED: u8 = 1;
const REQUEST: u8 = 2;
const CLOSE: u8 = 4;

/// The doorbell of one session.
#[derive(Debug)]
pub(crate) struct SessionLink {
    flags: AtomicU8,
    /// Counts changes of the guest's masks.
    generation: AtomicU64,
    wake: OwnedFd,
}

impl SessionLink {
    /// A quiet doorbell.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            flags: AtomicU8::new(0),
            generation: AtomicU64::new(0),
            wake,
        })
    }

    /// The guest's configuration changed.
    pub(crate) fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.ring(CONFIG_CHANGED);
    }

    /// How many times the guest's configuration changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Somebody wants the device back.
    pub(crate) fn request(&self) {
        self.ring(REQUEST);
    }

    /// The session is to end.
    pub(crate) fn close(&self) {
        self.ring(CLOSE);
    }

    fn ring(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::Release);
        // A full counter is as good as a ring: the reader has not looked yet.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).ok();
    }

    /// The descriptor that becomes readable by a ring.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes what was rung since the last time.
    pub(crate) fn take(&self) -> Wakeup {
        // Empty the counter first, so that a ring between the two is seen next time.
        rustix::io::read(&self.wake, &mut [0u8; 8]).ok();
        let flags = self.flags.swap(0, Ordering::Acquire);
        Wakeup {
            request: flags & REQUEST != 0,
            config_changed: flags & CONFIG_CHANGED != 0,
            close: flags & CLOSE != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_add_up_until_they_are_taken() {
        let link = SessionLink::new().unwrap();
        link.config_changed();
        link.config_changed();
        link.request();
        let first = link.take();
        assert!(first.config_changed && first.request && !first.close);
        assert_eq!(link.take(), Wakeup::default());
    }
}
