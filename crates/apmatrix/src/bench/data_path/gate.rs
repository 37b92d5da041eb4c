//! Guests that work and rest in turns with others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};

/// A guest that gets nothing for longer starves.
pub(super) const STARVED: Duration = Duration::from_secs(60);

/// What guests are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Order {
    /// Send nothing new.
    #[default]
    Rest,
    /// Keep their queues full.
    Work,
    /// Go.
    End,
}

/// Where guests look what they are to do; they rest at first.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    order: Order,
    /// Guests with nothing under way.
    resting: usize,
}

impl Gate {
    /// What the guests are to do now.
    pub(super) fn order(&self) -> Order {
        self.lock().order
    }

    /// Has the guests work.
    pub(super) fn open(&self) {
        self.set(Order::Work);
    }

    /// Sends the guests to rest, and waits until these many do.
    ///
    /// # Errors
    /// When that takes very long.
    pub(super) fn close(&self, guests: usize) -> Result<()> {
        self.set(Order::Rest);
        let work = |state: &mut State| state.resting < guests;
        let waited = self.changed.wait_timeout_while(self.lock(), STARVED, work);
        let starved = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        ensure!(!starved, "a guest starves");
        Ok(())
    }

    /// A guest has nothing under way, and rests for as long as that is the order.
    pub(super) fn rest(&self) -> Order {
        let mut state = self.lock();
        state.resting += 1;
        self.changed.notify_all();
        let rests = |state: &mut State| state.order == Order::Rest;
        let rested = self.changed.wait_while(state, rests);
        state = rested.unwrap_or_else(PoisonError::into_inner);
        state.resting -= 1;
        state.order
    }

    fn set(&self, order: Order) {
        self.lock().order = order;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends guests away at its end, also when something fails.
#[derive(Debug)]
pub(super) struct EndOf<'g>(pub(super) &'g Gate);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.set(Order::End);
    }
}
