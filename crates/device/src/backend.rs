//! What the daemon implements so that [`serve`](crate::serve) can serve its mediated devices.
//!
//! ```text
//!   DeviceBackend::open --Ok--> DeviceSession --drop--> closed
//!         | Err(errno)               |
//!         v                          +-- execute, apcb, reset, dma_*, irq_registered: one per command
//!   the client gets errno            +-- woken: when the descriptor of wake_fd becomes readable
//! ```
//!
//! All methods run on the connection's own thread and may take their time: only the guest of that
//! connection waits for them.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use arch::{Apcb, Apqn, CrycbFormat, Errno, Facilities, Instruction, Outcome, QciBlock};

use crate::eventfd::PeerEventfd;
use crate::irq::IrqIndex;
use crate::ring::RingServer;
use crate::version::OpenRequest;

/// One mediated device that can be opened by connecting to its socket.
pub trait DeviceBackend {
    /// An open device. Dropping it closes the device (spec 5.2): the guest's masks are cleared and
    /// its queues are reset.
    type Session: DeviceSession;

    /// Opens the device for a VM (spec 5.1). Called once per connection, after a well-formed
    /// VERSION.
    ///
    /// # Errors
    /// What the client gets: EBUSY when the device is open already, EPERM when the VM has another
    /// device, ENODEV when the device is being removed.
    fn open(&self, request: &OpenRequest) -> Result<Self::Session, Errno>;
}

/// An open mediated device.
pub trait DeviceSession {
    /// What the VM gets of what it asked for; what it did not ask for is cut off. Called once, right
    /// after opening.
    fn grant(&self) -> Grant;

    /// Executes one instruction under the guest's APCB. `reply` is the guest's buffer of DQAP,
    /// empty for every other instruction.
    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome;

    /// The guest's present view.
    fn apcb(&self) -> ApcbView;

    /// Resets every queue of the device (spec 5.3). The result is EIO when a queue's final status is
    /// not normal; `None` when that takes time: [`Wakeup::reset`] then tells the end.
    fn reset(&mut self) -> Option<Result<(), Errno>>;

    /// The client registered (`true`) or removed (`false`) the eventfd of `index`. The eventfd
    /// itself stays with the session; ask for a signal by [`Wakeup`].
    fn irq_registered(&mut self, index: IrqIndex, registered: bool) {
        let (_, _) = (index, registered);
    }

    /// Guest memory `range` may be used for notification bytes.
    ///
    /// # Errors
    /// EEXIST when the range overlaps another one; EUSERS when the table is full.
    fn dma_map(&mut self, range: DmaRange) -> Result<(), Errno> {
        let _ = range;
        Ok(())
    }

    /// Guest memory `range` goes away: interrupts whose notification byte lies inside end
    /// (spec 5.7).
    ///
    /// # Errors
    /// ENOENT when the range was not mapped.
    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        let _ = range;
        Ok(())
    }

    /// The client asks for rings: `rings` is made, and the session may make their ends for its queues.
    /// [`rung`](Self::rung) is called from now on.
    ///
    /// # Errors
    /// EOPNOTSUPP: the session has no use for them, as by default.
    fn set_rings(&mut self, rings: &Arc<RingServer>) -> Result<(), Errno> {
        let _ = rings;
        Err(Errno::EOPNOTSUPP)
    }

    /// The client has rung the doorbell of its rings: something was submitted while nobody polled.
    fn rung(&mut self) {}

    /// The client registered the eventfd for adapter interruptions, or removed it (`None`). Any thread may
    /// signal it by [`PeerEventfd::signal_at_once`]; where that does not work, ask by [`Wakeup::alert`].
    fn set_alert(&mut self, eventfd: Option<PeerEventfd>) {
        drop(eventfd);
    }

    /// Takes one adapter interruption that is due: a queue of the guest's whose interruptions are
    /// enabled got a reply since the last time.
    fn next_alert(&mut self) -> Option<Alert> {
        None
    }

    /// A descriptor that becomes readable when [`woken`](Self::woken) should be called: how the
    /// rest of the daemon reaches this connection's thread without waiting for it. It must be
    /// level-triggered (an eventfd or a pipe) and must stay the same for the whole session.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The descriptor of [`wake_fd`](Self::wake_fd) is readable. The implementation empties it and
    /// says what to do.
    fn woken(&mut self) -> Wakeup {
        Wakeup::default()
    }
}

/// What a woken session thread does. Only this thread writes to descriptors that came from the guest,
/// because a hostile peer can make that block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wakeup {
    /// Signal `CFG_CHG` so often: "the guest's AP configuration changed".
    pub config_changes: u32,
    /// Signal REQ so often: "please release the device".
    pub requests: u32,
    /// Answer a `DEVICE_RESET` that took time.
    pub reset: Option<Result<(), Errno>>,
    /// End the session instead.
    pub close: bool,
    /// Signal the eventfd for adapter interruptions.
    pub alert: bool,
}

/// An adapter interruption that is due (spec 6.5): the VMM stores the notification byte and makes the
/// subclass pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alert {
    /// The queue that got a reply.
    pub apqn: Apqn,
    /// The guest's interruption subclass, 0..=7.
    pub isc: u8,
    /// Absolute address of the guest's notification byte.
    pub nib: u64,
    /// Replies since the last time, at least 1. Hardware makes one interruption of several that come
    /// before a CPU takes it; so may the VMM.
    pub replies: u32,
}

/// What the daemon grants a VM in its answer to VERSION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Facilities: a subset of what was asked for. MSA extension 3 is not negotiated here, it is
    /// part of `crycb_format`.
    pub facilities: Facilities,
    /// Which block of the CRYCB holds the masks: not above what was asked for.
    pub crycb_format: CrycbFormat,
    /// Extended addressing: adapters above 63 and domains above 15 can be named.
    pub apxa: bool,
}

/// What a guest sees of the AP configuration at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApcbView {
    /// Grows by at least one with every change of the masks, within one session.
    pub generation: u64,
    /// The masks, already cut to the session's CRYCB format.
    pub apcb: Apcb,
    /// What PQAP(QCI) answers.
    pub qci: QciBlock,
}

/// A range of guest absolute addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaRange {
    /// First byte.
    pub address: u64,
    /// Length in bytes, not 0; `address + length` does not overflow.
    pub length: u64,
    /// Access that the map allows; meaningless for an unmap.
    pub readable: bool,
    /// Access that the map allows; meaningless for an unmap.
    pub writable: bool,
}
