//! What the host finds below it: the machine's instructions, the guests' masks, the adapters'
//! configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use arch::{
    ApInstructions, Apcb, Apid, Apqn, CardFacts, CardQueries, Errno, Facilities, Instruction,
    MasterKeys, Outcome,
};
use machine::{GuestId, Machine, SetMasksError};
use matrix::{Host, MaskConflict, MdevUuid, Platform};

/// The platform of a host that runs on our machine.
#[derive(Debug)]
pub(crate) struct MachinePlatform {
    machine: Arc<Machine>,
    /// Which guest holds which mediated device.
    guests: BTreeMap<MdevUuid, GuestId>,
}

impl MachinePlatform {
    /// No guest yet.
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self {
            machine,
            guests: BTreeMap::new(),
        }
    }

    /// The masks of `mdev` are from now on those of `guest`.
    pub(crate) fn connect(&mut self, mdev: MdevUuid, guest: GuestId) {
        self.guests.insert(mdev, guest);
    }

    /// `mdev` has no guest any more.
    pub(crate) fn disconnect(&mut self, mdev: MdevUuid) {
        self.guests.remove(&mdev);
    }

    /// Gives every guest the masks that `host` says it has.
    pub(super) fn agree_with(&mut self, host: &Host) {
        let wanted = |mdev: MdevUuid| {
            let mdev = host.matrix().mdev(mdev)?;
            mdev.guest().map(|_| mdev.view)
        };
        let differing: Vec<(MdevUuid, GuestId)> = self
            .guests
            .iter()
            .filter(|(mdev, guest)| self.machine.masks(**guest) != wanted(**mdev))
            .map(|(mdev, guest)| (*mdev, *guest))
            .collect();
        // All let go before any gets, so that a queue can go back to where it was.
        for (_, guest) in &differing {
            self.machine.clear_masks(*guest);
        }
        for (mdev, _) in differing {
            if let Some(view) = wanted(mdev)
                && let Err(conflict) = self.set_masks(mdev, &view)
            {
                tracing::error!(%mdev, "a guest's masks cannot be put back: {conflict}");
            }
        }
    }

    /// What a partition's boot does to its queues: each is reset and erased.
    pub(crate) fn reset_all(&mut self) {
        for apqn in self.machine.queues() {
            self.machine.host().zapq(apqn);
        }
    }

    /// Takes all queues from all guests, and forgets the guests.
    pub(super) fn disconnect_all(&mut self) {
        for guest in std::mem::take(&mut self.guests).into_values() {
            self.machine.clear_masks(guest);
        }
    }

    /// The guest of a mediated device.
    pub(crate) fn guest_of(&self, mdev: MdevUuid) -> Option<GuestId> {
        self.guests.get(&mdev).copied()
    }
}

impl ApInstructions for MachinePlatform {
    fn facilities(&self) -> Facilities {
        self.machine.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.machine.host().execute(instruction, reply)
    }
}

impl CardQueries for MachinePlatform {
    fn card_facts(&mut self, apid: Apid) -> Option<CardFacts> {
        self.machine.host().card_facts(apid)
    }

    fn master_keys(&mut self, apqn: Apqn) -> Option<MasterKeys> {
        self.machine.host().master_keys(apqn)
    }
}

impl Platform for MachinePlatform {
    fn set_masks(&mut self, mdev: MdevUuid, apcb: &Apcb) -> Result<(), MaskConflict> {
        let Some(guest) = self.guest_of(mdev) else {
            return Ok(());
        };
        self.machine.set_masks(guest, apcb).map_err(|error| {
            // The host's own validation excludes this; it is the last defence, so say it loudly.
            tracing::error!(%mdev, "the machine refused a guest's masks: {error}");
            let (apqn, by) = match error {
                SetMasksError::QueueHeld { apqn, by } => (apqn, by),
                SetMasksError::NotAttached { id } => (Apqn::new(0, 0), id),
            };
            let holder = self.guests.iter().find(|(_, holder)| **holder == by);
            MaskConflict {
                apqn,
                holder: holder.map_or(mdev, |(mdev, _)| *mdev),
            }
        })
    }

    fn clear_masks(&mut self, mdev: MdevUuid) {
        if let Some(guest) = self.guest_of(mdev) {
            self.machine.clear_masks(guest);
        }
    }

    fn configure_adapter(&mut self, apid: Apid, configured: bool) -> Result<(), Errno> {
        let done = if configured {
            self.machine.configure(apid)
        } else {
            self.machine.deconfigure(apid)
        };
        done.map_err(|_| Errno::EIO)
    }
}
