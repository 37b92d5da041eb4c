//! What the host needs from below.

use arch::{ApInstructions, Apcb, Apid, Apqn, CardQueries, Errno};

use crate::mdev::MdevUuid;

/// The hardware and the hypervisor under the host: the instructions, the masks of attached guests
/// (KVM's part), the configuration of adapters (SCLP's part) and what cards say about themselves.
pub trait Platform: ApInstructions + CardQueries {
    /// Gives the guest of an mdev these masks. When it returns, the guest no longer reaches queues
    /// that left, and sees those that came. Called only for an mdev with an attached guest.
    ///
    /// # Errors
    /// The last line of defence: a queue of `apcb` that another guest has. Nothing changed.
    fn set_masks(&mut self, guest: MdevUuid, apcb: &Apcb) -> Result<(), MaskConflict>;

    /// Takes all masks of the guest of an mdev. When it returns, the guest reaches no queue.
    fn clear_masks(&mut self, guest: MdevUuid);

    /// Configures or deconfigures an adapter, as a write to a card's `config` asks the firmware.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when the firmware does not offer it, `EIO` when it refuses.
    fn configure_adapter(&mut self, apid: Apid, configured: bool) -> Result<(), Errno>;
}

/// Two guests would have had the same queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("queue {apqn} is in the masks of the guest of {holder}")]
pub struct MaskConflict {
    /// The queue.
    pub apqn: Apqn,
    /// The mdev whose guest has it.
    pub holder: MdevUuid,
}
