//! The queues that have work for an engine, each at most once, in turn.
//!
//! ```text
//!   NQAP -- ring --> [ 05.0004 | 06.0004 | ... ] -- next --> engine
//!                         ^                                     |
//!                         +-- again, at the end, if it has more -+
//! ```
//! A guest decides how often it rings: it may enqueue and reset without end. Because a queue stands in
//! the list only once, that costs it its own turn and nobody else's, and the list never has more places
//! than there are queues.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arch::Apqn;

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
    waiting: VecDeque<Apqn>,
    /// A bit for each queue number that stands in `waiting`.
    there: Bits,
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

impl Ready {
    /// A queue has work. It waits for nobody.
    pub(crate) fn ring(&self, apqn: Apqn) {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.there.set(apqn) {
            list.waiting.push_back(apqn);
            drop(list);
            self.0.rung.notify_one();
        }
    }

    /// A queue has work for the calling engine, which is going to [`take`](Self::take) it: nobody gets up
    /// for it.
    pub(crate) fn put(&self, apqn: Apqn) {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.there.set(apqn) {
            list.waiting.push_back(apqn);
        }
    }

    /// The next queue that has work, if there is one now.
    pub(crate) fn take(&self) -> Option<Apqn> {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        let apqn = list.waiting.pop_front()?;
        list.there.clear(apqn);
        Some(apqn)
    }

    /// Waits for the next queue that has work. It may ring again from now on.
    pub(crate) fn next(&self) -> Apqn {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(apqn) = list.waiting.pop_front() {
                list.there.clear(apqn);
                return apqn;
            }
            let woken = self.0.rung.wait(list);
            list = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_rings_without_end_has_one_place() {
        let ready = Ready::default();
        let (loud, quiet) = (Apqn::new(5, 4), Apqn::new(255, 255));
        for _ in 0..100_000 {
            ready.ring(loud);
        }
        ready.ring(quiet);
        ready.ring(loud);
        assert_eq!([ready.next(), ready.next()], [loud, quiet]);
        ready.ring(loud);
        assert_eq!(ready.next(), loud);
        let list = ready.0.list.lock().unwrap();
        assert!(list.waiting.is_empty());
        assert!(list.there.0.iter().all(|word| *word == 0));
    }
}
