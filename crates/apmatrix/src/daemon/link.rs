//! How control reaches a session's thread without waiting for it.
//!
//! Only the session's own thread writes to descriptors that came from its guest. Control counts what it
//! has to tell, and writes to an eventfd that is ours and never blocks. An engine signals the guest's eventfd
//! for adapter interruptions by itself, if it can ([`AlertFd`]): the session thread need not get up for each
//! reply.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arch::{Apqn, Errno};
use device::{PeerEventfd, RingServer, Wakeup};
use rustix::event::{EventfdFlags, eventfd};

use super::alert_fd::AlertFd;

/// The doorbell of one session.
#[derive(Debug)]
pub(crate) struct SessionLink {
    /// Since the last look of the session: changes of the masks, requests to let go.
    changes: AtomicU32,
    requests: AtomicU32,
    close: AtomicBool,
    /// The result of a RESET that the session has not seen.
    reset: Mutex<Option<Result<(), Errno>>>,
    /// The session's rings, if it has any.
    rings: OnceLock<Arc<RingServer>>,
    /// Queues that got replies of which the guest is to be told, and how many; without those that a
    /// ring tells.
    alerts: Mutex<BTreeMap<Apqn, u32>>,
    /// The guest's eventfd for them.
    alert_fd: AlertFd,
    /// The session thread is to signal it.
    alert: AtomicBool,
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
            changes: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            close: AtomicBool::new(false),
            reset: Mutex::default(),
            rings: OnceLock::new(),
            alerts: Mutex::default(),
            alert_fd: AlertFd::default(),
            alert: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            wake,
        })
    }

    /// The guest's configuration changed.
    pub(crate) fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
        self.ring();
    }

    /// How many times the guest's configuration changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Somebody wants the device back.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Release);
        self.ring();
    }

    /// The session is to end.
    pub(crate) fn close(&self) {
        self.close.store(true, Ordering::Release);
        self.ring();
    }

    /// The RESET that the session asked for has ended.
    pub(crate) fn reset_ended(&self, result: Result<(), Errno>) {
        *self.reset.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.ring();
    }

    /// The session has rings, once and for all.
    pub(crate) fn set_rings(&self, rings: &Arc<RingServer>) {
        self.rings.get_or_init(|| Arc::clone(rings));
    }

    /// The session's rings.
    pub(crate) fn rings(&self) -> Option<&Arc<RingServer>> {
        self.rings.get()
    }

    /// A queue got a reply, perhaps in its ring, of which the guest is to be told.
    pub(crate) fn alert(&self, apqn: Apqn, in_ring: bool) {
        let is_told = |rings: &Arc<RingServer>| in_ring && rings.tells_alerts();
        if !self.rings.get().is_some_and(is_told) {
            let mut alerts = self.alerts();
            let replies = alerts.entry(apqn).or_default();
            *replies = replies.saturating_add(1);
            drop(alerts);
            // A session that gets rings after this look asks anyway when it has them.
            if let Some(rings) = self.rings.get() {
                rings.alert_elsewhere();
            }
        }
        if !self.alert_fd.signal() {
            self.alert.store(true, Ordering::Release);
            self.ring();
        }
    }

    /// The guest has registered its eventfd for adapter interruptions, or removed it.
    pub(crate) fn set_eventfd(&self, eventfd: Option<PeerEventfd>) {
        self.alert_fd.set(eventfd);
    }

    /// Takes a queue of which the guest is to be told, and how many replies it got.
    pub(crate) fn next_alert(&self) -> Option<(Apqn, u32)> {
        self.alerts().pop_first()
    }

    fn alerts(&self) -> MutexGuard<'_, BTreeMap<Apqn, u32>> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
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
        let mut reset = self.reset.lock().unwrap_or_else(PoisonError::into_inner);
        Wakeup {
            config_changes: self.changes.swap(0, Ordering::Acquire),
            requests: self.requests.swap(0, Ordering::Acquire),
            reset: reset.take(),
            alert: self.alert.swap(false, Ordering::Acquire),
            close: self.close.load(Ordering::Acquire),
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
        let expected = Wakeup {
            config_changes: 2,
            requests: 1,
            ..Wakeup::default()
        };
        assert_eq!(first, expected);
        assert_eq!(link.take(), Wakeup::default());
        link.reset_ended(Err(Errno::EIO));
        assert_eq!(link.take().reset, Some(Err(Errno::EIO)));
    }

    #[test]
    fn what_a_ring_tells_is_not_told_again() {
        let link = SessionLink::new().unwrap();
        let (one, other) = (Apqn::new(5, 4), Apqn::new(5, 5));
        let woken = || {
            let alert = link.take().alert;
            (alert, std::iter::from_fn(|| link.next_alert()).collect())
        };
        link.alert(one, true);
        link.alert(one, false);
        assert_eq!(woken(), (true, vec![(one, 2)]), "there are no rings yet");
        link.set_rings(&RingServer::detached().unwrap().0);
        link.alert(one, true);
        assert_eq!(woken(), (true, vec![]));
        link.alert(other, false);
        assert_eq!(woken(), (true, vec![(other, 1)]));
        assert_eq!(woken(), (false, vec![]));
    }

    #[test]
    fn the_session_is_woken_only_if_the_guest_cannot_be_told_at_once() {
        let link = SessionLink::new().unwrap();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        link.set_eventfd(PeerEventfd::new(eventfd(0, flags).unwrap()));
        link.alert(Apqn::new(5, 4), false);
        assert!(!link.take().alert);
        link.set_eventfd(None);
        link.alert(Apqn::new(5, 4), false);
        assert!(link.take().alert);
    }
}
