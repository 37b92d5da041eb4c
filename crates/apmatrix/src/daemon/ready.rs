//! The queues that have work for an engine, each at most once.
//!
//! ```text
//!   NQAP -- ring --> [ rung: 05.0004, ... ] --> schedule -- next --> engine
//!                          ^                      ^                     |
//!                          |                      +---- done, cost -----+
//!                          +-- again, if it has more work --------------+
//! ```
//! A guest decides how often it rings: it may enqueue and reset without end. Because a queue stands
//! here only once, that costs it its own turn and nobody else's, and there are never more places than
//! queues. In which order they have their turns is [`fair`](super::fair)'s.
//!
//! Whose a queue is, is asked when an engine looks at it, not by who rings. The lock here is taken by
//! whoever holds none, and under it only the machine's own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arch::Apqn;
use machine::GuestId;

use super::fair::{Schedule, Turn};

/// The list; clones are the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<List>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct List {
    /// Queues that no engine has looked at since they rang.
    rung: VecDeque<Apqn>,
    schedule: Schedule,
    /// A bit for each queue number that stands in `rung` or waits in `schedule`.
    there: Bits,
    /// Engines that wait for work.
    idle: usize,
}

/// A bit for each queue number.
#[derive(Debug)]
struct Bits(Box<[u64; 1024]>);

impl Default for Bits {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Bits {
    fn place(apqn: Apqn) -> (usize, u64) {
        let number = usize::from(apqn.apid.0) << 8 | usize::from(apqn.apqi.0);
        (number / 64, 1 << (number % 64))
    }

    /// Sets the bit; whether it was not set.
    fn set(&mut self, apqn: Apqn) -> bool {
        let (word, bit) = Self::place(apqn);
        let was = self.0[word] & bit != 0;
        self.0[word] |= bit;
        !was
    }

    fn clear(&mut self, apqn: Apqn) {
        let (word, bit) = Self::place(apqn);
        self.0[word] &= !bit;
    }
}

impl List {
    /// The queue whose turn it is. It may ring again from now on.
    fn take(&mut self, owner: impl Fn(Apqn) -> Option<GuestId>) -> Option<Turn> {
        while let Some(apqn) = self.rung.pop_front() {
            self.schedule.add(apqn, owner(apqn));
        }
        let turn = self.schedule.next()?;
        self.there.clear(turn.apqn());
        Some(turn)
    }
}

impl Ready {
    /// A queue has work. It waits for nobody.
    pub(crate) fn ring(&self, apqn: Apqn) {
        let mut list = self.lock();
        if list.there.set(apqn) {
            list.rung.push_back(apqn);
            // An engine that is about to wait has the lock until it does. Where none waits, a system call
            // is saved.
            let somebody_waits = list.idle > 0;
            drop(list);
            if somebody_waits {
                self.0.rung.notify_one();
            }
        }
    }

    /// A queue has work for the calling engine, which is going to [`take`](Self::take) it: nobody gets up
    /// for it.
    pub(crate) fn put(&self, apqn: Apqn) {
        let mut list = self.lock();
        if list.there.set(apqn) {
            list.rung.push_back(apqn);
        }
    }

    /// The queue whose turn it is, if one has work now, and whether an engine waits in
    /// [`next`](Self::next); `owner` says whose a queue is.
    pub(crate) fn take(&self, owner: impl Fn(Apqn) -> Option<GuestId>) -> Option<(Turn, bool)> {
        let mut list = self.lock();
        let turn = list.take(owner)?;
        Some((turn, list.idle > 0))
    }

    /// Waits for the queue whose turn it is.
    pub(crate) fn next(&self, owner: impl Fn(Apqn) -> Option<GuestId>) -> Turn {
        let mut list = self.lock();
        loop {
            if let Some(turn) = list.take(&owner) {
                return turn;
            }
            list.idle += 1;
            let woken = self.0.rung.wait(list);
            list = woken.unwrap_or_else(PoisonError::into_inner);
            list.idle -= 1;
        }
    }

    /// Whether an engine waits in [`next`](Self::next).
    #[cfg(test)]
    pub(crate) fn has_idle(&self) -> bool {
        self.lock().idle > 0
    }

    /// Counts an engine that waits, without one.
    #[cfg(test)]
    pub(crate) fn pretend_idle(&self) {
        self.lock().idle += 1;
    }

    /// A turn is over; `cost` is the time on a CPU that it took.
    pub(crate) fn done(&self, turn: &Turn, cost: Duration) {
        self.lock().schedule.done(turn, cost);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_rings_without_end_has_one_place() {
        let ready = Ready::default();
        let (loud, quiet) = (Apqn::new(5, 4), Apqn::new(255, 255));
        let owner = |apqn: Apqn| Some(GuestId(apqn.apid.0.into()));
        let next = || {
            let turn = ready.next(owner);
            ready.done(&turn, Duration::from_micros(1));
            turn.apqn()
        };
        for _ in 0..100_000 {
            ready.ring(loud);
        }
        ready.ring(quiet);
        ready.ring(loud);
        assert_eq!([next(), next()], [loud, quiet]);
        ready.ring(loud);
        assert_eq!(next(), loud);
        let list = ready.0.list.lock().unwrap();
        assert!(list.rung.is_empty());
        assert!(list.there.0.iter().all(|word| *word == 0));
    }

    #[test]
    fn a_queue_that_changes_hands_is_paid_for_by_its_new_owner() {
        let ready = Ready::default();
        let (shared, other, third) = (Apqn::new(5, 4), Apqn::new(6, 4), Apqn::new(7, 4));
        // As long as somebody works, what was got is not forgotten.
        ready.ring(third);
        let _working = ready.next(|_| Some(GuestId(3)));
        ready.ring(shared);
        let turn = ready.next(|_| Some(GuestId(1)));
        ready.done(&turn, Duration::from_secs(1));
        // The queue is guest 2's now, which has got nothing yet; guest 1 has another queue.
        let owner = |apqn: Apqn| Some(GuestId(if apqn == shared { 2 } else { 1 }));
        ready.ring(other);
        ready.ring(shared);
        let turns = [ready.next(owner), ready.next(owner)];
        assert_eq!(turns.map(|turn| turn.apqn()), [shared, other]);
    }
}
