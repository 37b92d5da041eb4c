//! apmask and aqmask: which queues are reserved for default drivers (spec 2.4).

use std::fmt;

use arch::{AdapterMask, Apqn, MaskEdit, UsageMask};

use crate::device::Driver;
use crate::driver::QueueDriver;
use crate::error::BusError;
use crate::state::Bus;
use crate::uevent::Uevent;

/// One of the two masks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MaskKind {
    /// apmask.
    Adapters,
    /// aqmask.
    Domains,
}

impl fmt::Display for MaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adapters => "apmask",
            Self::Domains => "aqmask",
        })
    }
}

impl Bus {
    /// Whether the masks reserve this queue for default drivers; overrides are not considered.
    #[must_use]
    pub const fn masks_reserve(&self, apqn: Apqn) -> bool {
        self.apmask.contains(apqn.apid) && self.aqmask.contains(apqn.apqi)
    }

    /// The lowest queue of `apm` x `aqm` that belongs to default drivers, if any: the ownership test
    /// of an assignment (spec 2.4, 2.5).
    ///
    /// A queue with an override belongs to them unless a plugged-in driver has it; a queue that no
    /// driver has counts as theirs (transcript override-ownership).
    #[must_use]
    pub fn first_reserved(&self, apm: AdapterMask, aqm: UsageMask) -> Option<Apqn> {
        let (adapters, domains) = (apm & self.apmask, aqm & self.aqmask);
        if self.overrides == 0 {
            let (apid, apqi) = (adapters.iter().next()?, domains.iter().next()?);
            return Some(Apqn { apid, apqi });
        }
        // Overrides exist only while both masks are all ones, so the masked sets lose nothing.
        let mut product = adapters
            .iter()
            .flat_map(|apid| domains.iter().map(move |apqi| Apqn { apid, apqi }));
        product.find(|apqn| {
            self.queues.get(apqn).is_none_or(|queue| {
                queue.driver_override.is_none() || queue.driver != Some(Driver::Plugged)
            })
        })
    }

    /// A write to apmask or aqmask: all or nothing.
    ///
    /// # Errors
    /// `OverridesActive`; `InUse` when newly reserved numbers belong to somebody.
    pub fn edit_mask(
        &mut self,
        kind: MaskKind,
        edit: &MaskEdit,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        if self.overrides > 0 {
            return Err(BusError::OverridesActive {
                mask: kind,
                queues: self.overrides,
            });
        }
        let old = match kind {
            MaskKind::Adapters => self.apmask.0,
            MaskKind::Domains => self.aqmask.0,
        };
        let new = edit.apply(old);
        if new == old {
            return Ok(());
        }
        // Since 6.19 the other mask is left out of the question (test T19 of the specification).
        let in_use = match kind {
            MaskKind::Adapters => side.in_use(AdapterMask(new - old), UsageMask::FULL),
            MaskKind::Domains => side.in_use(AdapterMask::FULL, UsageMask(new - old)),
        };
        if let Some(in_use) = in_use {
            return Err(BusError::InUse { mask: kind, in_use });
        }
        let name = match kind {
            MaskKind::Adapters => {
                self.apmask = AdapterMask(new);
                "APMASK"
            }
            MaskKind::Domains => {
                self.aqmask = UsageMask(new);
                "AQMASK"
            }
        };
        self.revise_bindings(side);
        side.uevent(Uevent::of_bus(vec![(name, new.to_string())]));
        Ok(())
    }

    /// After a mask change every queue on the wrong side changes hands, and every queue without
    /// driver that the masks leave to plugged-in drivers is offered again, whatever bits changed; a
    /// queue without driver on the default side is left alone (spec 2.4 step 5, as recorded).
    fn revise_bindings(&mut self, side: &mut dyn QueueDriver) {
        let misplaced: Vec<Apqn> = self
            .queues()
            .filter(|(apqn, queue)| {
                let looks_default = queue.driver.is_none_or(Driver::is_default);
                looks_default != self.masks_reserve(*apqn)
            })
            .map(|(apqn, _)| apqn)
            .collect();
        for apqn in misplaced {
            self.detach_queue(apqn, side);
            self.attach_queue(apqn, side);
        }
    }
}
