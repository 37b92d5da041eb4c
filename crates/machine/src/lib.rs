//! One partition's AP hardware: adapters, domains and their queues, executing the AP instructions.
//!
//! ```text
//!       host CPU (whole partition)      guest CPUs (each under its APCB)
//!                  \                       /
//!                   v    instructions     v
//!   console --> Machine: queue 03.0006, queue 03.0047, ... --doorbell--> engine: run_one
//!   (hmc)          ^                                                        |
//!                  +---------------- reply, if still wanted ----------------+
//! ```
//!
//! The crate starts no thread, reads no clock and does no I/O: who serves queues, and when, is the
//! caller's. It knows neither Linux nor sysfs. What an instruction answers is a value, never a Rust
//! error; errors are for the administrator.
//!
//! # Locks
//!
//! ```text
//!   control  -->  partition  -->  guest's view  -->  queue
//!   (one)         (read/write)    (read/write)       (one each)
//! ```
//! Locks are taken in this order only. The host's instructions take *partition* for the lookup and
//! then one *queue*; a guest's take its *view* for reading and one *queue*; engines take one *queue*
//! twice and none while a card computes. Control operations exclude each other by *control*. So
//! nothing ever waits for a guest or a card, and guests do not share a lock with each other.
//!
//! # Ownership
//!
//! A queue's lock guards whose it is. An instruction of a guest is checked there, and a revoked queue
//! has begun a new generation there: after [`Machine::set_masks`] returned, no request of the guest
//! reaches the card through a queue that left, and no reply comes back. Two APCBs that share a queue
//! number are refused, whether or not the partition has that queue now.
#![forbid(unsafe_code)]

mod console;
mod counters;
mod cpu;
mod engine;
pub mod faults;
mod guests;
mod hardware;
mod keys;
mod message;
pub mod partition;
pub mod port;
mod queue;
pub mod slow;
pub mod spec;
mod state;
mod sync;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arch::{Apcb, Apid, Apqn, CrycbFormat, Facilities, Instruction, Outcome, QciBlock, QciFlags};
use arch::{QueueStatus, ResponseCode};
use cex::Card;
use cex::keys::HashKey;

use crate::guests::{Guest, shared_queue};
use crate::hardware::Hardware;
use crate::port::Ports;
use crate::queue::Queue;
use crate::sync::{Mutex, RwLock, lock, read};

pub use console::ConsoleError;
pub use counters::{GuestSnapshot, QueueCounters, QueueSnapshot, Snapshot};
pub use cpu::{GuestCpu, HostCpu};
pub use engine::{Ran, Scratch};
pub use partition::{AdapterConfig, ConfigError, PartitionConfig};
pub use slow::{Lasts, SlowReset, SlowResetError};
pub use spec::{SpecError, TermError};
pub use state::{Interrupts, QueueLoad};

/// A guest of the machine. The caller chooses the numbers and does not use one twice at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GuestId(pub u64);

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest {}", self.0)
    }
}

/// Called with a queue's number after it got a request, with no lock held. It must not wait.
pub type Doorbell = Box<dyn Fn(Apqn) + Send + Sync>;

/// The AP hardware of one partition, shared as `Arc<Machine>`.
pub struct Machine {
    doorbell: Doorbell,
    /// Fixed for the machine's life.
    qci: Option<QciFlags>,
    control: Mutex<Control>,
    hardware: RwLock<Hardware>,
}

/// What only control operations look at.
#[derive(Debug, Default)]
struct Control {
    guests: BTreeMap<GuestId, Arc<Guest>>,
    /// The number of the last fault that was injected.
    last_fault: u64,
}

/// Why a guest cannot be attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttachError {
    /// The number is in use.
    #[error("{id} is attached already")]
    AlreadyAttached {
        /// The guest.
        id: GuestId,
    },
    /// Format 2 needs extended addressing.
    #[error("a format-2 CRYCB needs extended addressing, which the machine does not have")]
    FormatNeedsApxa,
}

/// Why a guest does not get its masks. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetMasksError {
    /// There is no such guest.
    #[error("{id} is not attached")]
    NotAttached {
        /// The guest.
        id: GuestId,
    },
    /// Another guest has a queue of the masks.
    #[error("queue {apqn} belongs to {by}")]
    QueueHeld {
        /// The first such queue.
        apqn: Apqn,
        /// Its guest.
        by: GuestId,
    },
}

impl Machine {
    /// A machine with this hardware, which keeps no keys. `doorbell` is rung whenever a queue got a
    /// request.
    ///
    /// # Errors
    /// A number in the configuration that is out of range.
    pub fn new(config: &PartitionConfig, doorbell: Doorbell) -> Result<Self, ConfigError> {
        Self::with_secret(config, doorbell, None)
    }

    /// As [`new`](Self::new); queues keep the prepared keys of their owners until a reset or revoke, found
    /// by a hash under `secret`, which is random.
    ///
    /// # Errors
    /// A number in the configuration that is out of range.
    pub fn keeping_keys(
        config: &PartitionConfig,
        doorbell: Doorbell,
        secret: HashKey,
    ) -> Result<Self, ConfigError> {
        Self::with_secret(config, doorbell, Some(secret))
    }

    fn with_secret(
        config: &PartitionConfig,
        doorbell: Doorbell,
        secret: Option<HashKey>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            doorbell,
            qci: config.qci,
            control: Mutex::default(),
            hardware: RwLock::new(Hardware::new(config.clone(), secret)),
        })
    }

    /// The facilities of the host's CPUs: all, except QCI on a machine without it.
    #[must_use]
    pub fn facilities(&self) -> Facilities {
        let mut facilities = Facilities::all();
        facilities.set(Facilities::APQCI, self.qci.is_some());
        facilities
    }

    /// A CPU of the partition's host.
    #[must_use]
    pub const fn host(&self) -> HostCpu<&Self> {
        HostCpu::new(self)
    }

    /// A CPU of the partition's host that keeps the machine alive.
    #[must_use]
    pub fn host_shared(self: &Arc<Self>) -> HostCpu<Arc<Self>> {
        HostCpu::new(Arc::clone(self))
    }

    /// A CPU of a guest. It finds no queue if the guest is not attached; one that was made before
    /// the guest was attached never finds any.
    #[must_use]
    pub fn guest(&self, id: GuestId) -> GuestCpu<&Self> {
        GuestCpu::new(self, self.guest_or_nobody(id))
    }

    /// A CPU of a guest that keeps the machine alive; otherwise as [`guest`](Self::guest).
    #[must_use]
    pub fn guest_shared(self: &Arc<Self>, id: GuestId) -> GuestCpu<Arc<Self>> {
        GuestCpu::new(Arc::clone(self), self.guest_or_nobody(id))
    }

    /// Makes a guest known, without any queue. Of `facilities` it gets those that the host has.
    ///
    /// # Errors
    /// The guest is attached already, or the format needs what the machine does not have.
    pub fn attach_guest(
        &self,
        id: GuestId,
        format: CrycbFormat,
        facilities: Facilities,
    ) -> Result<(), AttachError> {
        if format == CrycbFormat::Format2 && !self.apxa() {
            return Err(AttachError::FormatNeedsApxa);
        }
        let mut control = lock(&self.control);
        if control.guests.contains_key(&id) {
            return Err(AttachError::AlreadyAttached { id });
        }
        let guest = Guest::new(id, format, facilities & self.facilities());
        control.guests.insert(id, Arc::new(guest));
        Ok(())
    }

    /// Gives a guest the queues of `apcb`, cut to what its CRYCB format can hold, and takes all
    /// others from it. Queues that enter are empty; what a queue that leaves held is erased. The
    /// change is atomic for the guest.
    ///
    /// This waits neither for the guest nor for a card: jobs that an engine works on are orphaned.
    ///
    /// # Errors
    /// A queue of another guest, or no such guest; nothing has changed.
    pub fn set_masks(&self, id: GuestId, apcb: &Apcb) -> Result<(), SetMasksError> {
        let control = lock(&self.control);
        let guest = control
            .guests
            .get(&id)
            .ok_or(SetMasksError::NotAttached { id })?;
        let apcb = guest.format().truncate(apcb);
        for (by, other) in &control.guests {
            let shared = shared_queue(&apcb, &other.apcb());
            if let Some(apqn) = shared.filter(|_| *by != id) {
                return Err(SetMasksError::QueueHeld { apqn, by: *by });
            }
        }
        let hardware = read(&self.hardware);
        guest.set_masks(apcb, &hardware);
        Ok(())
    }

    /// Takes all queues from a guest; see [`set_masks`](Self::set_masks).
    pub fn clear_masks(&self, id: GuestId) {
        let control = lock(&self.control);
        if let Some(guest) = control.guests.get(&id) {
            guest.set_masks(Apcb::EMPTY, &read(&self.hardware));
        }
    }

    /// Takes all queues from a guest and forgets it. Its CPUs find no queue any more.
    pub fn detach_guest(&self, id: GuestId) {
        let mut control = lock(&self.control);
        if let Some(guest) = control.guests.remove(&id) {
            guest.set_masks(Apcb::EMPTY, &read(&self.hardware));
        }
    }

    /// Gives the queues of a guest ports of `ports`, also those that it gets later, or takes its ports.
    /// Whether there is such a guest.
    pub fn set_ports(&self, id: GuestId, ports: Option<Arc<dyn Ports>>) -> bool {
        let control = lock(&self.control);
        let guest = control.guests.get(&id);
        guest.is_some_and(|guest| {
            guest.set_ports(ports, &read(&self.hardware));
            true
        })
    }

    /// Closes the ports of a guest, without loss, as long as every instruction of it is to come by
    /// [`ApInstructions::execute`](arch::ApInstructions::execute); or opens them again.
    pub fn divert(&self, id: GuestId, diverted: bool) {
        let guest = lock(&self.control).guests.get(&id).map(Arc::clone);
        if let Some(guest) = guest {
            guest.divert(diverted, &read(&self.hardware));
        }
    }

    /// The masks that a guest has, if it is attached.
    #[must_use]
    pub fn masks(&self, id: GuestId) -> Option<Apcb> {
        lock(&self.control)
            .guests
            .get(&id)
            .map(|guest| guest.apcb())
    }

    /// Every queue of the partition, ascending.
    #[must_use]
    pub fn queues(&self) -> Vec<Apqn> {
        read(&self.hardware).queues().keys().copied().collect()
    }

    fn guest_or_nobody(&self, id: GuestId) -> Arc<Guest> {
        let known = lock(&self.control).guests.get(&id).map(Arc::clone);
        known.unwrap_or_else(|| {
            let facilities = self.facilities();
            Arc::new(Guest::new(id, CrycbFormat::Format0, facilities))
        })
    }

    fn queue(&self, apqn: Apqn) -> Option<Arc<Queue>> {
        read(&self.hardware).queues().get(&apqn).map(Arc::clone)
    }

    /// The card of an adapter that is configured and in good health: others answer nothing.
    fn answering_card(&self, apid: Apid) -> Option<Card> {
        let hardware = read(&self.hardware);
        let adapter = hardware.config().adapters.get(&apid)?;
        let answers = !adapter.deconfigured && !adapter.checkstopped;
        answers.then(|| Card::new(adapter.ap_type, adapter.mode))
    }

    fn host_qci(&self) -> QciBlock {
        read(&self.hardware).config().qci_block()
    }

    const fn qci_flags(&self) -> Option<QciFlags> {
        self.qci
    }

    fn apxa(&self) -> bool {
        self.qci.is_some_and(|flags| flags.contains(QciFlags::APXA))
    }

    fn ring_if_enqueued(&self, instruction: &Instruction<'_>, outcome: &Outcome) {
        if let Instruction::Nqap { apqn, .. } = instruction
            && let Outcome::Status(QueueStatus { code, .. }) = outcome
            && *code == ResponseCode::NORMAL
        {
            (self.doorbell)(*apqn);
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("hardware", &read(&self.hardware).config().to_string())
            .finish_non_exhaustive()
    }
}
