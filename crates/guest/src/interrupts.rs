//! Adapter interruptions of the embedded guest, which is its own VMM.
//!
//! ```text
//!   bus: AQIC with the byte's address --> a reply --> alert eventfd
//!   VMM: rings, AP_GET_ALERTS --> byte := not 0, GISA: ISC pending
//!   CPU: ISC enabled in control register 6 --> taken --> bytes := 0, look at the queues
//! ```

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use arch::Gisa;
use bus::{BUS_ISC, Bus};
use device::{Client, ClientError, DmaRange};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// The guest's memory, as far as it has any: a notification byte per queue.
const MEMORY: DmaRange = DmaRange {
    address: 0x1_0000,
    length: 0x1_0000,
    readable: true,
    writable: true,
};
/// Absolute address of the bytes; the bus adds the queue's number in PQAP(AQIC).
pub(crate) const BYTES: u64 = MEMORY.address;
/// Control register 6 of the guest's CPU: every subclass interrupts.
const ALL_SUBCLASSES: u64 = 0xff00_0000;
/// A reply that comes without an interruption, because the daemon was away for a while, is found by
/// looking.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What a guest with adapter interruptions has.
#[derive(Debug)]
pub(crate) struct Interrupts {
    alert: OwnedFd,
    /// Offsets of bytes that are not zero.
    told: BTreeSet<u64>,
    gisa: Gisa,
    taken: u64,
}

impl Interrupts {
    /// Registers with the daemon.
    ///
    /// # Errors
    /// When it refuses or there are no descriptors left.
    pub(crate) fn new(client: &mut Client) -> Result<Self, ClientError> {
        let alert = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| ClientError::Io(error.into()))?;
        client.dma_map(MEMORY)?;
        client.set_alert(alert.try_clone().map_err(ClientError::Io)?)?;
        Ok(Self {
            alert,
            told: BTreeSet::new(),
            gisa: Gisa::default(),
            taken: 0,
        })
    }

    /// Follows what the bus has enabled.
    pub(crate) fn follow(&mut self, bus: &Bus) {
        let mut gisa = Gisa::default();
        for _ in bus.queues().filter(|(_, queue)| queue.interrupts) {
            gisa.register(BUS_ISC);
        }
        self.gisa = gisa;
    }

    /// Interruptions that were taken.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Waits until an interruption is taken, at most `time`; whether one was.
    pub(crate) fn wait(&mut self, client: &mut Client, time: Duration) -> bool {
        let time = time.min(LONGEST_WAIT);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let mut fds = [PollFd::from_borrowed_fd(self.alert.as_fd(), PollFlags::IN)];
        // A signal ends the wait early, which does no harm.
        poll(&mut fds, Some(&timeout)).ok();
        if rustix::io::read(&self.alert, &mut [0u8; 8]).is_err() {
            return false;
        }
        let (told, gisa) = (&mut self.told, &mut self.gisa);
        let fetched = client.alerts(|alert| {
            let offset = alert.nib.wrapping_sub(MEMORY.address);
            if offset < MEMORY.length {
                told.insert(offset);
                gisa.make_pending(alert.isc);
            }
        });
        fetched.is_ok() && self.take()
    }

    /// The CPU takes what is pending; whether a queue is to be looked at.
    fn take(&mut self) -> bool {
        let Some(_isc) = self.gisa.take(ALL_SUBCLASSES) else {
            return false;
        };
        self.taken += 1;
        !std::mem::take(&mut self.told).is_empty()
    }
}
