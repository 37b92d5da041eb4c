//! Configuration changes of the host (spec 4.5): a guest loses hardware at the start of the scan and
//! gains it at the end.
//!
//! ```text
//!   QCI changed --> lose_and_promise --> devices removed, created, probed --> keep_promises
//!                   views shrink,        (probes of promised mdevs            views grow,
//!                   pending noted         do not filter)                      pending cleared
//! ```

use arch::{AdapterMask, ApInstructions, ApType, Apcb, Apqn, Facilities, QciBlock, UsageMask};

use crate::driver::Driver;
use crate::mdev::MdevUuid;

impl Driver<'_> {
    /// The start of the scan. Resets nothing: the hardware is gone.
    pub(crate) fn lose_and_promise(&mut self, new: &QciBlock) {
        let old = self.state.config;
        let lost = difference(&old, new);
        let mut gained = difference(new, &old);
        gained.apm = self.servable(gained.apm, gained.aqm);
        self.state.config = *new;
        let uuids: Vec<MdevUuid> = self.state.mdevs().map(|(uuid, _)| uuid).collect();
        for uuid in uuids {
            if self.shrink_view(uuid, lost.apm, lost.aqm, lost.adm) {
                self.update_guest(uuid);
            }
            self.promise(uuid, &gained);
        }
    }

    fn promise(&mut self, uuid: MdevUuid, gained: &Apcb) {
        let Some(mdev) = self.state.mdevs.get(&uuid) else {
            return;
        };
        let pending = Apcb {
            apm: mdev.matrix.apm & gained.apm,
            aqm: mdev.matrix.aqm & gained.aqm,
            adm: mdev.matrix.adm & gained.adm,
        };
        if let Some(mdev) = self
            .state
            .mdevs
            .get_mut(&uuid)
            .filter(|_| pending != Apcb::EMPTY)
        {
            mdev.pending = pending;
        }
    }

    /// New adapters without those that vfio_ap will never get. As in Linux only new adapters times
    /// *new* domains are tested (quirk K17).
    fn servable(&mut self, adapters: AdapterMask, domains: UsageMask) -> AdapterMask {
        let facilities = self.platform.facilities().contains(Facilities::APFT);
        let mut servable = |apid| {
            domains.iter().all(|apqi| {
                let (status, info) = self.tapq(Apqn { apid, apqi }, facilities);
                status.queue_exists() && info.ap_type() >= ApType::CEX4
            })
        };
        adapters.iter().filter(|apid| servable(*apid)).collect()
    }

    /// The end of the scan: everything promised is filtered in, with one guest update per mdev.
    pub(crate) fn keep_promises(&mut self) {
        let promised: Vec<(MdevUuid, Apcb)> = self
            .state
            .mdevs()
            .filter(|(_, mdev)| mdev.pending != Apcb::EMPTY)
            .map(|(uuid, mdev)| (uuid, mdev.pending))
            .collect();
        for (uuid, pending) in promised {
            if let Some(mdev) = self.state.mdevs.get_mut(&uuid) {
                mdev.pending = Apcb::EMPTY;
            }
            let queues = !pending.apm.is_empty() || !pending.aqm.is_empty();
            self.refilter(uuid, queues, !pending.adm.is_empty());
        }
    }
}

/// What `a` has and `b` has not.
fn difference(a: &QciBlock, b: &QciBlock) -> Apcb {
    Apcb {
        apm: a.apm - b.apm,
        aqm: a.aqm - b.aqm,
        adm: a.adm - b.adm,
    }
}
