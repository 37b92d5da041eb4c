//! What the operator does with faults: inject, list, clear; and the caller's timer releases replies.

use arch::Apqn;

use super::fault::{FaultId, Order};
use super::withheld::Ticket;
use crate::Machine;
use crate::engine::Ran;
use crate::sync::{lock, read};

/// A fault that is not over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActiveFault {
    /// Its number.
    pub id: FaultId,
    /// The order, with the number of hits that remain.
    pub order: Order,
    /// How often it has hit.
    pub hits: u64,
}

/// Why a fault cannot be injected. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InjectError {
    /// The partition has no such queue.
    #[error("there is no queue {apqn}: the partition has no such adapter or usage domain")]
    NoSuchQueue {
        /// The queue.
        apqn: Apqn,
    },
    /// The queue has as many faults as it can have.
    #[error("queue {apqn} has 64 faults already; clear some")]
    TooMany {
        /// The queue.
        apqn: Apqn,
    },
}

impl Machine {
    /// Makes a fault active.
    ///
    /// # Errors
    /// There is no such queue, or it has too many faults.
    pub fn inject(&self, order: Order) -> Result<FaultId, InjectError> {
        let mut control = lock(&self.control);
        let apqn = order.apqn;
        let queue = self.queue(apqn).ok_or(InjectError::NoSuchQueue { apqn })?;
        let id = FaultId(control.last_fault + 1);
        queue.inject(id, order)?;
        control.last_fault = id.0;
        Ok(id)
    }

    /// The faults that are not over, by queue and then by age.
    #[must_use]
    pub fn faults(&self) -> Vec<ActiveFault> {
        let hardware = read(&self.hardware);
        let queues = hardware.queues().values();
        queues.flat_map(|queue| queue.faults().list()).collect()
    }

    /// Ends one fault; whether it was active.
    pub fn clear_fault(&self, id: FaultId) -> bool {
        let hardware = read(&self.hardware);
        let mut queues = hardware.queues().values();
        queues.any(|queue| queue.clear_faults(|fault| fault == id) > 0)
    }

    /// Ends the faults of a queue, or of all queues; how many there were. Replies that are withheld
    /// come when they are released.
    pub fn clear_faults(&self, apqn: Option<Apqn>) -> usize {
        read(&self.hardware)
            .queues()
            .iter()
            .filter(|(name, _)| apqn.is_none_or(|apqn| apqn == **name))
            .map(|(_, queue)| queue.clear_faults(|_| true))
            .sum()
    }

    /// Whether the reply of a [`Ran::Withheld`] still waits to be released: a reset or revoke erases it.
    #[must_use]
    pub fn withholds(&self, apqn: Apqn, ticket: Ticket) -> bool {
        self.queue(apqn)
            .is_some_and(|queue| queue.withholds(ticket))
    }

    /// Posts the withheld reply of [`Ran::Withheld`], unless the queue was reset or revoked
    /// meanwhile: that is [`Ran::Idle`].
    pub fn release(&self, apqn: Apqn, ticket: Ticket) -> Ran {
        self.queue(apqn)
            .and_then(|queue| queue.release(ticket))
            .map_or(Ran::Idle, Ran::from)
    }
}
