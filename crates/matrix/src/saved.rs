//! The host as plain data: what is kept while no program runs, and how it comes back.
//!
//! Who has a mediated device open is not saved: a guest does not outlive the program that served it.
//! So the saved host is the one in which every VMM has let go, and a removal that waited for one has
//! not happened.

use arch::{Apcb, Apqn, QciBlock, ResponseCode};
use bus::{Bus, Driver, SavedBus};

use crate::host::{BootConfig, Host};
use crate::mdev::{Group, Limits, Mdev, MdevUuid, Serial};
use crate::platform::Platform;
use crate::reset::{Reset, is_unfinished};
use crate::state::{MAX_INSTANCES, State};

/// Everything that a [`Host`] knows and cannot learn from its parameters and the hardware.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// The AP bus.
    pub bus: SavedBus,
    /// `vfio_ap`'s own copy of the host's configuration.
    pub config: QciBlock,
    /// The mdevs.
    pub mdevs: Vec<SavedMdev>,
    /// Queues bound to `vfio_ap`, and how their last reset ended; 02, 05 or 0A: it has not.
    pub queues: Vec<(Apqn, ResponseCode)>,
    /// The number that the next mdev gets.
    pub next_serial: Serial,
    /// One more than the highest IOMMU group ever used.
    pub groups_used: u32,
}

/// A mediated device that nobody has open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedMdev {
    /// Its name.
    pub uuid: MdevUuid,
    /// Its number.
    pub serial: Serial,
    /// Its IOMMU group.
    pub group: Group,
    /// Highest numbers that may be assigned.
    pub limits: Limits,
    /// What is assigned.
    pub matrix: Apcb,
    /// What a guest gets. It does not follow from the rest (quirk K2).
    pub view: Apcb,
}

/// Saved data that no host can have been in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bus cannot have been so.
    #[error(transparent)]
    Bus(#[from] bus::RestoreError),
    /// The name, number or group of an mdev is another's too, or beyond what was ever given out.
    #[error("mdev {0} has the name, number or group of another, or one that was never given out")]
    Identity(MdevUuid),
    /// More groups than there can be mdevs: the lowest free one is always taken.
    #[error("{0} groups cannot have been used, there are at most {MAX_INSTANCES}")]
    Groups(u32),
    /// A matrix beyond the mdev's limits, or a view beyond its matrix.
    #[error("mdev {0} has more than it can have")]
    Members(MdevUuid),
    /// A queue in two matrices (spec 4.2).
    #[error("queue {apqn} is assigned to mdev {mdev} and to another")]
    Shared {
        /// The mdev.
        mdev: MdevUuid,
        /// The queue.
        apqn: Apqn,
    },
    /// The bus and `vfio_ap` differ on which queues `vfio_ap` has.
    #[error("the bus and vfio_ap differ on who has the queues, first {0}")]
    Binding(Apqn),
}

impl Host {
    /// The host as plain data.
    #[must_use]
    pub fn save(&self) -> Saved {
        let mdev = |(uuid, mdev): (MdevUuid, &Mdev)| SavedMdev {
            uuid,
            serial: mdev.serial,
            group: mdev.group,
            limits: mdev.limits,
            matrix: mdev.matrix,
            view: mdev.view,
        };
        let matrix = &self.matrix;
        Saved {
            bus: self.bus.save(),
            config: matrix.config,
            mdevs: matrix.mdevs().map(mdev).collect(),
            queues: matrix
                .queues
                .iter()
                .map(|(apqn, code)| (*apqn, matrix.saved_status(*apqn, *code)))
                .collect(),
            next_serial: matrix.next_serial,
            groups_used: matrix.groups_used(),
        }
    }

    /// The host that was saved. `config` is what it was booted with, and the hardware is what it was.
    ///
    /// # Errors
    /// When no host can have been in this state.
    pub fn restore(
        config: &BootConfig,
        saved: Saved,
        platform: &mut dyn Platform,
    ) -> Result<Self, RestoreError> {
        let bus = Bus::restore(config.bus(), saved.bus, &mut &mut *platform)?;
        let mut matrix = State::new(config.refilter_on_unassign);
        matrix.config = saved.config;
        matrix.next_serial = saved.next_serial;
        if usize::try_from(saved.groups_used).is_ok_and(|used| used > MAX_INSTANCES) {
            return Err(RestoreError::Groups(saved.groups_used));
        }
        for group in 0..saved.groups_used {
            matrix.free_groups.insert_mut(Group(group));
        }
        for mdev in &saved.mdevs {
            matrix.restore_mdev(mdev)?;
        }
        for (apqn, code) in saved.queues {
            matrix.restore_queue(apqn, code);
        }
        if let Some(apqn) = dissent(&bus, &matrix) {
            return Err(RestoreError::Binding(apqn));
        }
        Ok(Self { bus, matrix })
    }
}

/// The first queue of which only one of bus and `vfio_ap` thinks that `vfio_ap` has it.
fn dissent(bus: &Bus, matrix: &State) -> Option<Apqn> {
    let plugged = |apqn: Apqn| {
        bus.queue(apqn)
            .is_some_and(|queue| queue.driver == Some(Driver::Plugged))
    };
    let known = matrix.queues.keys().copied();
    known
        .chain(bus.queues().map(|(apqn, _)| apqn))
        .find(|apqn| plugged(*apqn) != matrix.queues.contains_key(apqn))
}

impl State {
    /// The reset status that is kept: a reset in progress is one, whatever its last ZAPQ answered.
    fn saved_status(&self, apqn: Apqn, code: ResponseCode) -> ResponseCode {
        if self.is_resetting(apqn) && !is_unfinished(code) {
            ResponseCode::RESET_IN_PROGRESS
        } else {
            code
        }
    }

    /// A reset that was in progress goes on with a look.
    fn restore_queue(&mut self, apqn: Apqn, code: ResponseCode) {
        self.queues.insert_mut(apqn, code);
        if is_unfinished(code) {
            self.resets.insert_mut(apqn, Reset::new(code));
            let owner = self.owner(apqn);
            if let Some(mdev) = owner.and_then(|uuid| self.mdevs.get_mut(&uuid)) {
                mdev.filter_again = true;
            }
        }
    }

    fn restore_mdev(&mut self, saved: &SavedMdev) -> Result<(), RestoreError> {
        let SavedMdev {
            uuid,
            serial,
            group,
            limits,
            matrix,
            view,
        } = *saved;
        let is_new = serial < self.next_serial
            && !self.mdevs.contains_key(&uuid)
            && !self.serials.contains_key(&serial)
            && self.free_groups.remove_mut(&group);
        if !is_new {
            return Err(RestoreError::Identity(uuid));
        }
        let within = |apcb: &Apcb| {
            apcb.apm.iter().all(|apid| apid <= limits.adapter)
                && apcb.aqm.iter().all(|apqi| apqi <= limits.domain)
                && apcb.adm.iter().all(|apqi| apqi <= limits.domain)
        };
        let part = view.apm.0.is_subset(&matrix.apm.0)
            && view.aqm.0.is_subset(&matrix.aqm.0)
            && view.adm.0.is_subset(&matrix.adm.0);
        if !(within(&matrix) && part) {
            return Err(RestoreError::Members(uuid));
        }
        let shared = self.owners.taken(matrix.apm, matrix.aqm).next();
        if let Some((apqn, _)) = shared {
            return Err(RestoreError::Shared { mdev: uuid, apqn });
        }
        self.owners.claim(matrix.apm, matrix.aqm, serial);
        self.groups.insert_mut(group, serial);
        self.serials.insert_mut(serial, uuid);
        let mdev = Mdev {
            matrix,
            view,
            ..Mdev::new(serial, group, limits)
        };
        self.mdevs.insert_mut(uuid, mdev);
        Ok(())
    }
}
