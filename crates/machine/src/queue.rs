//! One AP queue: its state machine under its own lock, and the card behind it.

use std::sync::Arc;

use arch::{Apqn, Instruction, Outcome};
use cex::Card;

use crate::GuestId;
use crate::counters::{QueueCounters, QueueSnapshot};
use crate::state::{Condition, Finished, Job, QueueLoad, Requester, State};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};

/// One AP queue.
#[derive(Debug)]
pub(crate) struct Queue {
    apqn: Apqn,
    card: Card,
    /// Requests that reached the card; outlives the queue when the hardware changes.
    reached: Arc<AtomicU64>,
    state: Mutex<State>,
}

impl Queue {
    pub(crate) fn new(
        apqn: Apqn,
        card: Card,
        condition: Condition,
        reached: Arc<AtomicU64>,
    ) -> Self {
        Self {
            apqn,
            card,
            reached,
            state: Mutex::new(State::new(card.hw_info(), condition)),
        }
    }

    pub(crate) const fn card(&self) -> &Card {
        &self.card
    }

    /// Executes an instruction that names this queue. `reply` is the buffer of DQAP.
    pub(crate) fn execute(
        &self,
        requester: Requester,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Outcome {
        lock(&self.state).execute(requester, instruction, reply)
    }

    /// Gives the queue to a guest, empty.
    pub(crate) fn plug(&self, guest: GuestId) {
        lock(&self.state).plug(guest);
    }

    /// Takes the queue from its guest. When this returns, no request of the guest reaches the card
    /// any more and no reply reaches the guest.
    pub(crate) fn unplug(&self) {
        lock(&self.state).unplug();
    }

    /// Follows the hardware.
    pub(crate) fn set_condition(&self, condition: Condition) {
        lock(&self.state).set_condition(condition);
    }

    /// Takes the next request for an engine and counts it: from now on it has reached the card.
    pub(crate) fn take(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        let job = state.take()?;
        // Under the lock, so that the count cannot rise after a revoke has returned.
        self.reached.fetch_add(1, Ordering::Relaxed);
        Some(job)
    }

    /// Brings the reply to a job.
    pub(crate) fn finish(&self, mut job: Job, reply: &[u8]) -> Finished {
        // The longer part, copying, is done before the lock is taken.
        job.answer(reply);
        lock(&self.state).finish(job)
    }

    pub(crate) fn load(&self) -> QueueLoad {
        lock(&self.state).load()
    }

    pub(crate) fn snapshot(&self) -> QueueSnapshot {
        let state = lock(&self.state);
        QueueSnapshot {
            apqn: self.apqn,
            guest: state.guest(),
            interrupts: state.interrupts(),
            counters: QueueCounters {
                reached: self.reached.load(Ordering::Relaxed),
                load: state.load(),
            },
        }
    }
}
