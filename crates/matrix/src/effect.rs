//! What a command made happen, for whoever runs the host.

use arch::{Apqn, ResponseCode};
use bus::Uevent;

use crate::mdev::MdevUuid;

/// The result of an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Whether the command is complete.
    pub outcome: Outcome,
    /// What happened, in order.
    pub list: Vec<Effect>,
}

/// Whether an accepted command is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answer the caller now.
    Done,
    /// A removal waits for the guest to let go, or for resets: keep the caller waiting until
    /// [`Effect::Removed`] for this mdev (spec 5.6).
    Pending(MdevUuid),
    /// Done, but for resets that have not ended: keep the caller waiting until there was an
    /// [`Effect::ResetEnded`] for each of these queues (spec 7).
    Resetting {
        /// The queues.
        queues: Vec<Apqn>,
        /// Whether the reset of another queue has ended with another response code than 00.
        failed: bool,
    },
    /// Done, but the reset of this queue ended with another response code than 00. A `ResetDevice` is
    /// answered EIO (spec 5.3); nobody else is told.
    ResetFailed {
        /// The first such queue.
        apqn: Apqn,
        /// Its response code.
        code: ResponseCode,
    },
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The masks of this mdev's guest were set or cleared: signal its `CFG_CHG` event (spec 5.5).
    ConfigChanged(MdevUuid),
    /// The guest of this mdev is asked to let go: signal its REQ event (spec 5.6).
    ReleaseRequest(MdevUuid),
    /// An mdev exists from now on.
    Created(MdevUuid),
    /// An mdev is gone.
    Removed(MdevUuid),
    /// A reset that a command had to wait for is over. A `ResetDevice` that waited for it is answered
    /// EIO if the code is not 00 (spec 5.3).
    ResetEnded {
        /// The queue.
        apqn: Apqn,
        /// What its last ZAPQ answered.
        code: ResponseCode,
    },
    /// The view of this mdev was filtered because a reset ended, and changed.
    Filtered(MdevUuid),
    /// A message to user space.
    Uevent(Uevent),
    /// A line for the log.
    Log(String),
}
