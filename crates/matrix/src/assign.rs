//! The assignment files and `ap_config` (spec 3.3, 3.6).
//!
//! Order of checks: assign looks at the limit, then at what is assigned, then at reservation, then at
//! sharing; `ap_config` looks at reservation, sharing, limits.

use arch::{Apcb, Apid, Apqi};
use bus::Bus;

use crate::command::MemberKind;
use crate::driver::Driver;
use crate::error::MatrixError;
use crate::mdev::{Limits, Mdev, MdevUuid};

impl MemberKind {
    const fn limit(self, limits: Limits) -> u8 {
        match self {
            Self::Adapter => limits.adapter.0,
            Self::UsageDomain | Self::ControlDomain => limits.domain.0,
        }
    }

    const fn contains(self, apcb: &Apcb, number: u8) -> bool {
        match self {
            Self::Adapter => apcb.apm.contains(Apid(number)),
            Self::UsageDomain => apcb.aqm.contains(Apqi(number)),
            Self::ControlDomain => apcb.adm.contains(Apqi(number)),
        }
    }

    const fn insert(self, apcb: &mut Apcb, number: u8) {
        match self {
            Self::Adapter => apcb.apm.insert(Apid(number)),
            Self::UsageDomain => apcb.aqm.insert(Apqi(number)),
            Self::ControlDomain => apcb.adm.insert(Apqi(number)),
        }
    }

    const fn remove(self, apcb: &mut Apcb, number: u8) {
        match self {
            Self::Adapter => apcb.apm.remove(Apid(number)),
            Self::UsageDomain => apcb.aqm.remove(Apqi(number)),
            Self::ControlDomain => apcb.adm.remove(Apqi(number)),
        }
    }

    /// The rows or columns of `matrix` that this number stands for: one adapter with all domains, or
    /// one domain with all adapters; nothing for a control domain.
    fn slice(self, matrix: &Apcb, number: u8) -> Apcb {
        let mut slice = Apcb::EMPTY;
        self.insert(&mut slice, number);
        match self {
            Self::Adapter => slice.aqm = matrix.aqm,
            Self::UsageDomain => slice.apm = matrix.apm,
            Self::ControlDomain => {}
        }
        slice
    }
}

/// The number as a member of the mdev's range.
fn in_range(uuid: MdevUuid, mdev: &Mdev, kind: MemberKind, number: u64) -> Result<u8, MatrixError> {
    let max = kind.limit(mdev.limits);
    let fits = u8::try_from(number).ok().filter(|number| *number <= max);
    fits.ok_or(MatrixError::AboveMaximum {
        mdev: uuid,
        kind,
        number,
        max,
    })
}

impl Driver<'_> {
    /// A write to an assign file. What is assigned already stays as it is, unchecked and unfiltered.
    pub(crate) fn assign(
        &mut self,
        bus: &Bus,
        uuid: MdevUuid,
        kind: MemberKind,
        number: u64,
    ) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        let serial = mdev.serial;
        let number = in_range(uuid, mdev, kind, number)?;
        if kind.contains(&mdev.matrix, number) {
            return Ok(());
        }
        let mut matrix = mdev.matrix;
        kind.insert(&mut matrix, number);
        let slice = kind.slice(&matrix, number);
        if kind != MemberKind::ControlDomain {
            // The whole product is asked for, not only what is new: an override can have made an old
            // queue the host's since (spec 3.3 step 4).
            self.check_product(bus, uuid, &matrix)?;
            self.state.owners.claim(slice.apm, slice.aqm, serial);
        }
        self.state.get_mut(uuid)?.matrix = matrix;
        match kind {
            MemberKind::Adapter | MemberKind::UsageDomain => self.refilter_queues(uuid),
            MemberKind::ControlDomain => self.refilter_control(uuid),
        }
        Ok(())
    }

    /// Reservation, then sharing, for the whole product of `matrix`.
    fn check_product(&self, bus: &Bus, uuid: MdevUuid, matrix: &Apcb) -> Result<(), MatrixError> {
        if let Some(apqn) = bus.first_reserved(matrix.apm, matrix.aqm) {
            return Err(MatrixError::Reserved { mdev: uuid, apqn });
        }
        let serial = self.state.get(uuid)?.serial;
        let queues = self.state.foreign_queues(matrix, serial);
        if !queues.is_empty() {
            return Err(MatrixError::Shared { mdev: uuid, queues });
        }
        Ok(())
    }

    /// A write to an unassign file. Does not re-filter, as in Linux (quirk K2), unless asked to.
    pub(crate) fn unassign(
        &mut self,
        uuid: MdevUuid,
        kind: MemberKind,
        number: u64,
    ) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        let number = in_range(uuid, mdev, kind, number)?;
        if !kind.contains(&mdev.matrix, number) {
            return Ok(());
        }
        let mut gone = Apcb::EMPTY;
        kind.insert(&mut gone, number);
        self.take_away(uuid, kind, &gone)?;
        if self.state.refilter_on_unassign {
            self.refilter(uuid, true, true);
        }
        Ok(())
    }

    /// Takes members of one kind out of matrix and view: one guest update if a member was visible,
    /// then resets of exactly the queues that were visible.
    fn take_away(
        &mut self,
        uuid: MdevUuid,
        kind: MemberKind,
        gone: &Apcb,
    ) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        let (adapters, domains) = match kind {
            MemberKind::Adapter => (gone.apm, mdev.view.aqm),
            MemberKind::UsageDomain => (mdev.view.apm, gone.aqm),
            MemberKind::ControlDomain => (arch::AdapterMask::EMPTY, arch::UsageMask::EMPTY),
        };
        let visible = mdev.visible_queues(adapters, domains);
        let members = match kind {
            MemberKind::Adapter => gone.apm.0,
            MemberKind::UsageDomain => gone.aqm.0,
            MemberKind::ControlDomain => gone.adm.0,
        };
        let mut matrix = mdev.matrix;
        for number in members.iter() {
            let slice = kind.slice(&matrix, number);
            kind.remove(&mut matrix, number);
            self.state.owners.release(slice.apm, slice.aqm);
        }
        self.state.get_mut(uuid)?.matrix = matrix;
        if self.shrink_view(uuid, gone.apm, gone.aqm, gone.adm) {
            self.update_guest(uuid);
        }
        for apqn in visible {
            if self.state.queues.contains_key(&apqn) {
                self.reset_queue(apqn);
            }
        }
        Ok(())
    }

    /// A write to `ap_config`: removed adapters leave, then removed domains, then the rest is set and
    /// everything is filtered again, also when nothing changed (transcript
    /// ap-config-identical-refilters).
    pub(crate) fn configure(
        &mut self,
        bus: &Bus,
        uuid: MdevUuid,
        masks: &Apcb,
    ) -> Result<(), MatrixError> {
        let (serial, old) = {
            let mdev = self.state.get(uuid)?;
            (mdev.serial, mdev.matrix)
        };
        self.check_product(bus, uuid, masks)?;
        self.check_limits(uuid, masks)?;
        let adapters = Apcb {
            apm: old.apm - masks.apm,
            ..Apcb::EMPTY
        };
        self.take_away(uuid, MemberKind::Adapter, &adapters)?;
        let domains = Apcb {
            aqm: old.aqm - masks.aqm,
            ..Apcb::EMPTY
        };
        self.take_away(uuid, MemberKind::UsageDomain, &domains)?;
        self.state.get_mut(uuid)?.matrix = *masks;
        self.state.owners.claim(masks.apm, masks.aqm, serial);
        self.refilter(uuid, true, true);
        Ok(())
    }

    fn check_limits(&self, uuid: MdevUuid, masks: &Apcb) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        let members = [
            (MemberKind::Adapter, masks.apm.0),
            (MemberKind::UsageDomain, masks.aqm.0),
            (MemberKind::ControlDomain, masks.adm.0),
        ];
        for (kind, numbers) in members {
            for number in numbers.iter() {
                in_range(uuid, mdev, kind, u64::from(number))?;
            }
        }
        Ok(())
    }
}
