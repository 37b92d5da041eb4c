//! The client for several threads, one per virtual CPU.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arch::{ApInstructions, Facilities, Instruction, Outcome};

use crate::backend::{Alert, ApcbView, DmaRange, Grant};
use crate::client::{Client, ClientError};
use crate::irq::IrqIndex;
use crate::ring::Rings;

/// A [`Client`] behind a lock that is held for one round trip at a time; instructions in rings need no
/// round trip, and share nothing between queues. A thread may wait for the
/// round trips of others, each of which ends by its deadline; when the daemon is away the first one
/// waits and the others are answered at once. [`SharedClient::keep`] sees to the connection.
#[derive(Debug)]
pub struct SharedClient {
    grant: Grant,
    client: Mutex<Client>,
    rings: Arc<Rings>,
}

impl SharedClient {
    /// Shares `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            grant: client.grant(),
            rings: client.rings(),
            client: Mutex::new(client),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Client> {
        // A client is consistent between calls: a panic elsewhere is no reason to stop.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Client::grant`].
    #[must_use]
    pub const fn grant(&self) -> Grant {
        self.grant
    }

    /// See [`Client::max_message`].
    #[must_use]
    pub fn max_message(&self) -> u32 {
        self.lock().max_message()
    }

    /// See [`Client::is_open`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// See [`Client::reconnects`].
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.lock().reconnects()
    }

    /// Executes one instruction; see [`ApInstructions::execute`].
    pub fn execute(&self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        // Whoever has the lock sees that the daemon has gone by himself.
        let look = || match self.client.try_lock() {
            Ok(mut client) => client.look(),
            Err(TryLockError::Poisoned(client)) => client.into_inner().look(),
            Err(TryLockError::WouldBlock) => {}
        };
        match self.rings.execute(instruction, reply, look) {
            Ok(outcome) => outcome,
            // The queue is kept until the daemon has answered.
            Err(queue) => {
                let outcome = self.lock().ask_to_execute(instruction, reply);
                self.rings.answered(queue, instruction, outcome)
            }
        }
    }

    /// See [`Client::uses_rings`].
    #[must_use]
    pub fn uses_rings(&self) -> bool {
        self.rings.in_use()
    }

    /// See [`Client::reset`].
    ///
    /// # Errors
    /// Those of [`Client::reset`].
    pub fn reset(&self) -> Result<(), ClientError> {
        self.lock().reset()
    }

    /// See [`Client::alerts`].
    ///
    /// # Errors
    /// Those of [`Client::alerts`].
    pub fn alerts(&self, take: impl FnMut(Alert)) -> Result<(), ClientError> {
        self.lock().alerts(take)
    }

    /// See [`Client::dma_map`].
    ///
    /// # Errors
    /// Those of [`Client::dma_map`].
    pub fn dma_map(&self, range: DmaRange) -> Result<(), ClientError> {
        self.lock().dma_map(range)
    }

    /// See [`Client::release`].
    pub fn release(&self) {
        self.lock().release();
    }

    /// See [`Client::apcb`].
    ///
    /// # Errors
    /// Those of [`Client::apcb`].
    pub fn apcb(&self) -> Result<ApcbView, ClientError> {
        self.lock().apcb()
    }

    /// See [`Client::set_irq`].
    ///
    /// # Errors
    /// Those of [`Client::set_irq`].
    pub fn set_irq(&self, index: IrqIndex, eventfd: Option<OwnedFd>) -> Result<(), ClientError> {
        self.lock().set_irq(index, eventfd)
    }
}

impl ApInstructions for &SharedClient {
    fn facilities(&self) -> Facilities {
        self.grant.facilities
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        SharedClient::execute(self, instruction, reply)
    }
}
