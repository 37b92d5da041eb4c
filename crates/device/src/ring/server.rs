//! The rings of a session, as the server sees them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use arch::{Apqn, HwInfo, QciBlock};

use super::end::RingEnd;
use super::layout::{
    ACTIVITY, ASK, OTHER_ALERTS, QCI, RINGS, SEQUENCE, SLEEPING, SLOTS, WORDS, directory, owner,
    submitted,
};
use super::memory::Memory;
use super::sync::{AtomicU64, Ordering, fence};
use super::words::Words;

/// The rings of one session. Threads share it; a ring itself belongs to a [`RingEnd`].
#[derive(Debug)]
pub struct RingServer {
    pub(super) area: Words,
    pub(super) window: Words,
    /// What `submitted` of each ring was when it was looked at last.
    seen: Box<[AtomicU64]>,
    /// Makes and ends rings, and writes the QCI block.
    making: Mutex<()>,
    /// The client takes from the rings that replies in them are to interrupt.
    tells_alerts: bool,
}

/// What a client gets to use the rings.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Area, window, the writing end of the doorbell.
    pub(crate) descriptors: [OwnedFd; 3],
    /// The reading end of the doorbell: a pipe, because the flags of an end that is never given away
    /// cannot be changed by the client, as those of an eventfd could.
    pub(crate) doorbell: OwnedFd,
}

impl RingServer {
    /// Makes the memory of a session; nobody polls it yet. `tells_alerts`: see
    /// [`tells_alerts`](Self::tells_alerts).
    ///
    /// # Errors
    /// When the system has no memory or no descriptor left, or does not have such memory.
    pub(crate) fn new(tells_alerts: bool) -> io::Result<(Arc<Self>, Offer)> {
        let (area, area_file) = Memory::shared(WORDS, "apmatrix-area", true)?;
        let (window, window_file) = Memory::shared(WORDS, "apmatrix-window", false)?;
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (doorbell, bell) = rustix::pipe::pipe_with(flags)?;
        let offer = Offer {
            descriptors: [area_file, window_file, bell],
            doorbell,
        };
        Ok((Self::over(area.into(), window.into(), tells_alerts), offer))
    }

    /// Rings without a client, and the descriptor of what would be its memory: for tests of what a server
    /// makes of that.
    ///
    /// # Errors
    /// When the system has no memory or no descriptor left.
    pub fn detached() -> io::Result<(Arc<Self>, OwnedFd)> {
        let (area, area_file) = Memory::shared(WORDS, "apmatrix-area", true)?;
        let (window, _) = Memory::shared(WORDS, "apmatrix-window", false)?;
        Ok((Self::over(area.into(), window.into(), true), area_file))
    }

    pub(super) fn over(area: Words, window: Words, tells_alerts: bool) -> Arc<Self> {
        window.store(SLEEPING, 1, Ordering::SeqCst);
        Arc::new(Self {
            area,
            window,
            seen: (0..RINGS).map(|_| AtomicU64::new(0)).collect(),
            making: Mutex::default(),
            tells_alerts,
        })
    }

    /// A closed ring for a queue; `None` when all rings are in use or a ring does not hold what the
    /// queue does. The ring is free again when its end is dropped.
    #[must_use]
    pub fn make(self: &Arc<Self>, apqn: Apqn, info: HwInfo) -> Option<RingEnd> {
        if info.depth() > SLOTS {
            return None;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |ring: &usize| self.window.load(directory(*ring), Ordering::Relaxed) == 0;
        let ring = (0..RINGS).find(free)?;
        Some(RingEnd::new(Arc::clone(self), ring, apqn, info))
    }

    /// What QCI answers from now on; `None`: the client has to ask.
    pub fn configured(&self, block: Option<&QciBlock>) {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.window.load(SEQUENCE, Ordering::Relaxed) & !ASK;
        let Some(block) = block else {
            return self
                .window
                .store(SEQUENCE, sequence | ASK, Ordering::Release);
        };
        self.window
            .store(SEQUENCE, sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.window.write_bytes(QCI, &block.encode());
        self.window
            .store(SEQUENCE, sequence.wrapping_add(2), Ordering::Release);
    }

    /// A number that is another one when the client has submitted something since.
    #[must_use]
    pub fn activity(&self) -> u64 {
        self.area.load(ACTIVITY, Ordering::Acquire)
    }

    /// Whether the client counts for itself the replies in rings that are to interrupt its guest: it is
    /// only to be woken for them.
    #[must_use]
    pub const fn tells_alerts(&self) -> bool {
        self.tells_alerts
    }

    /// There is an alert that no ring tells: the client is to ask for it.
    pub fn alert_elsewhere(&self) {
        self.window[OTHER_ALERTS].fetch_add(1, Ordering::Release);
    }

    /// Hands every queue in whose ring something was submitted since the last look to `found`.
    pub fn scan(&self, mut found: impl FnMut(Apqn)) {
        for (ring, seen) in self.seen.iter().enumerate() {
            let entry = self.window.load(directory(ring), Ordering::Acquire);
            let Some(apqn) = owner(entry) else {
                continue;
            };
            let word = self.area.load(submitted(ring), Ordering::Acquire);
            if seen.swap(word, Ordering::Relaxed) != word {
                found(apqn);
            }
        }
    }

    /// Says that somebody polls [`activity`](Self::activity) from now on, so that the client need not
    /// ring.
    pub fn wake(&self) {
        self.window.store(SLEEPING, 0, Ordering::SeqCst);
    }

    /// Whether the client has to ring.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.window.load(SLEEPING, Ordering::Relaxed) != 0
    }

    /// Says that nobody polls any more. The caller looks once more by [`scan`](Self::scan): what is
    /// submitted behind that is rung for.
    pub fn sleep(&self) {
        self.window.store(SLEEPING, 1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}
