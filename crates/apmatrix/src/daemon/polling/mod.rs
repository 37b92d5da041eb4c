//! How engines learn of requests in rings: by looking, as long as it is worth it, and by being rung for.
//!
//! ```text
//!              the client rings: session thread scans, an engine gets up
//!   [asleep] ------------------------------------------------------------> [awake]
//!       ^    nobody looks; the client rings for each request                  |
//!       |                                          an engine without work looks at its activity;
//!       |                                          engines with work look between two requests
//!       +--- sleeping, a last look: 50 us without a request, or computations are long, ----+
//!            or this machine has more to do than processors
//! ```
//! One engine polls at a time. While it computes, nobody looks at sessions that are awake; so it sends them
//! to sleep first when computations have been long of late and another engine has nothing to do. When all
//! engines compute, each looks before its next request, and clients need not ring for what nobody
//! could begin. A long one that nobody expected, or an engine that becomes idle at the same moment,
//! delays the requests of other rings by itself, once.

mod pressure;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use arch::Apqn;
use device::RingServer;
use machine::GuestId;

use super::fair::Turn;
use super::ready::Ready;
use pressure::Pressure;

/// How long a session stays awake after its last request.
const AWAKE: Duration = Duration::from_micros(50);
/// A computation that is worth ringing for what comes meanwhile.
const LONG: Duration = Duration::from_micros(20);
/// For how long a long computation makes further ones likely.
const MEMORY: Duration = Duration::from_millis(10);
/// For how long nobody polls when processors are short; it doubles while it happens again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(1600);
/// Rounds between two looks at the clock.
const ROUNDS: u32 = 16;

/// The sessions whose rings are polled; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Polling(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ready: Ready,
    watch: Mutex<Watch>,
    /// Sessions that have rung and are not watched yet.
    rung: Mutex<Vec<Weak<RingServer>>>,
    any_rung: AtomicBool,
    begin: Instant,
    /// When the last long computation ended, in nanoseconds from `begin`; 0: never.
    last_long: AtomicU64,
}

/// What the polling engine knows.
#[derive(Debug, Default)]
struct Watch {
    sessions: Vec<Watched>,
    /// Nobody polls before.
    not_before: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
struct Watched {
    rings: Arc<RingServer>,
    activity: u64,
    last: Instant,
}

/// An engine's part in polling.
#[derive(Debug)]
pub(super) struct Lookout {
    polling: Polling,
    /// There is another processor for whoever makes requests.
    may_poll: bool,
    pressure: Pressure,
}

/// Whose a queue is.
type Owner<'a> = dyn Fn(Apqn) -> Option<GuestId> + 'a;

impl Polling {
    /// For the engines that serve `ready`.
    pub(crate) fn new(ready: Ready) -> Self {
        Self(Arc::new(Shared {
            ready,
            watch: Mutex::default(),
            rung: Mutex::default(),
            any_rung: AtomicBool::new(false),
            begin: Instant::now(),
            last_long: AtomicU64::new(0),
        }))
    }

    /// The client of `rings` has rung. Costs the calling thread, and an engine only if there is work.
    pub(super) fn rung(&self, rings: &Arc<RingServer>) {
        let mut is_known = false;
        rings.scan(|apqn| {
            if !std::mem::replace(&mut is_known, true) {
                self.make_known(rings);
            }
            self.0.ready.ring(apqn);
        });
    }

    /// The next engine that looks will watch `rings`.
    fn make_known(&self, rings: &Arc<RingServer>) {
        let mut rung = self.0.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |other: &Weak<RingServer>| Weak::as_ptr(other) == Arc::as_ptr(rings);
        if !rung.iter().any(is_there) {
            rung.push(Arc::downgrade(rings));
        }
        drop(rung);
        self.0.any_rung.store(true, Ordering::Release);
    }

    /// A part for one of `engines` engines, on the calling thread.
    pub(super) fn lookout(&self, engines: usize) -> Lookout {
        Lookout {
            polling: self.clone(),
            may_poll: engines > 1,
            pressure: Pressure::new(),
        }
    }

    fn is_long_likely(&self, now: Instant) -> bool {
        let last = self.0.last_long.load(Ordering::Relaxed);
        let since = now.saturating_duration_since(self.0.begin + Duration::from_nanos(last));
        last != 0 && since < MEMORY
    }
}

impl Lookout {
    /// Waits for the queue whose turn it is; `owner` says whose a queue is.
    pub(super) fn next(&mut self, owner: &Owner<'_>) -> Turn {
        let polling = self.polling.clone();
        let shared = &*polling.0;
        match shared.watch.try_lock() {
            Ok(mut watch) => self.poll(&mut watch, owner),
            Err(TryLockError::Poisoned(watch)) => self.poll(&mut watch.into_inner(), owner),
            Err(TryLockError::WouldBlock) => None,
        }
        .unwrap_or_else(|| {
            let turn = shared.ready.next(owner);
            self.pressure.forget();
            turn
        })
    }

    /// A computation took `time`.
    pub(super) fn computed(&self, time: Duration) {
        if time >= LONG {
            let now = self.polling.0.begin.elapsed().as_nanos();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            self.polling.0.last_long.store(now, Ordering::Relaxed);
        }
    }

    /// Looks at the rings, at least once, until there is work or it is not worth it any more.
    fn poll(&mut self, watch: &mut Watch, owner: &Owner<'_>) -> Option<Turn> {
        let polling = self.polling.clone();
        let ready = &polling.0.ready;
        let mut now = Instant::now();
        watch.welcome(&polling, now);
        let polls = self.may_poll && self.is_undisturbed(watch, now);
        for session in &mut watch.sessions {
            // The request that was run last may have been theirs.
            session.last = now;
        }
        let mut rounds = 0;
        loop {
            watch.look(ready, now);
            if let Some((turn, has_idle)) = ready.take(owner) {
                // Where all engines work, nobody could do anything about it if the client rang.
                if has_idle && (!polls || polling.is_long_likely(now)) {
                    watch.send_to_sleep(ready, |_| true);
                }
                return Some(turn);
            }
            if !polls {
                watch.send_to_sleep(ready, |_| true);
                return ready.take(owner).map(|(turn, _)| turn);
            }
            if watch.sessions.is_empty() {
                return None;
            }
            rounds += 1;
            if rounds % ROUNDS == 0 {
                now = Instant::now();
                let idle = |session: &Watched| now.saturating_duration_since(session.last) > AWAKE;
                watch.send_to_sleep(ready, idle);
                watch.welcome(&polling, now);
            }
            std::hint::spin_loop();
        }
    }

    /// Whether this machine has processors left, as far as this thread can tell.
    fn is_undisturbed(&mut self, watch: &mut Watch, now: Instant) -> bool {
        if watch.not_before.is_some_and(|until| now < until) {
            self.pressure.forget();
            return false;
        }
        if self.pressure.is_high(now) {
            watch.pause = (2 * watch.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            watch.not_before = Some(now + watch.pause);
            return false;
        }
        let quiet = |until| now.saturating_duration_since(until) > LONGEST_PAUSE;
        if watch.not_before.is_some_and(quiet) {
            (watch.pause, watch.not_before) = (Duration::ZERO, None);
        }
        true
    }
}

impl Watch {
    /// Watches those that have rung.
    fn welcome(&mut self, polling: &Polling, now: Instant) {
        let any_rung = &polling.0.any_rung;
        if !any_rung.load(Ordering::Relaxed) || !any_rung.swap(false, Ordering::Acquire) {
            return;
        }
        let rung = &polling.0.rung;
        let mut rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        for rings in rung.drain(..).filter_map(|rings| rings.upgrade()) {
            let is_there = |watched: &Watched| Arc::ptr_eq(&watched.rings, &rings);
            if !self.sessions.iter().any(is_there) {
                rings.wake();
                self.sessions.push(Watched {
                    // Not what it is now: the next look finds what came before the client knew.
                    activity: rings.activity().wrapping_sub(1),
                    rings,
                    last: now,
                });
            }
        }
    }

    /// Looks once at every session that is awake.
    fn look(&mut self, ready: &Ready, now: Instant) {
        for session in &mut self.sessions {
            let activity = session.rings.activity();
            if activity != session.activity {
                session.activity = activity;
                session.last = now;
                announce(&session.rings, ready);
            }
        }
    }

    /// Nobody looks at sessions that `which` picks any more, unless they have just got something.
    fn send_to_sleep(&mut self, ready: &Ready, which: impl Fn(&Watched) -> bool) {
        self.sessions.retain(|session| {
            if !which(session) {
                return true;
            }
            session.rings.sleep();
            announce(&session.rings, ready);
            false
        });
    }
}

/// Announces what was submitted. The first is for the engine that looks, which takes it next: nobody else
/// has to get up for it.
fn announce(rings: &RingServer, ready: &Ready) {
    let mut first = true;
    rings.scan(|apqn| {
        if std::mem::replace(&mut first, false) {
            ready.put(apqn);
        } else {
            ready.ring(apqn);
        }
    });
}

#[cfg(test)]
mod tests;
