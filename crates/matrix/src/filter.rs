//! The filtered view of a guest (spec 4.1).

use arch::{AdapterMask, Apcb, Apqn, ControlMask, ResponseCode, UsageMask};

use crate::driver::Driver;
use crate::mdev::{Mdev, MdevUuid};
use crate::state::State;

/// The queue part of a new view.
struct Filtered {
    apm: AdapterMask,
    aqm: UsageMask,
    /// Adapters that were visible and are hidden now because of a queue that cannot be passed.
    dropped: AdapterMask,
    /// Some adapter was left as it was because of a queue in reset.
    again: bool,
}

impl State {
    /// Whether a guest may have the queue: bound to `vfio_ap`, and its last reset ended well, or found
    /// the adapter deconfigured or check-stopped.
    fn is_passable(&self, apqn: Apqn) -> bool {
        self.queues.get(&apqn).is_some_and(|code| {
            matches!(
                *code,
                ResponseCode::NORMAL | ResponseCode::DECONFIGURED | ResponseCode::CHECKSTOPPED
            )
        })
    }

    /// Always computed from scratch: host-absent numbers are masked out, and an adapter with at least
    /// one impassable queue is left out. Domains are never left out because of a queue. An adapter with
    /// a queue in reset stays as it is until the reset has ended.
    fn filter(&self, mdev: &Mdev) -> Filtered {
        let candidates = mdev.matrix.apm & self.config.apm;
        let aqm = mdev.matrix.aqm & self.config.aqm;
        let mut again = false;
        let apm: AdapterMask = candidates
            .iter()
            .filter(|apid| {
                let queue = |apqi| Apqn { apid: *apid, apqi };
                let in_reset = |apqn| self.queues.contains_key(&apqn) && self.is_resetting(apqn);
                let waits = aqm.iter().any(|apqi| in_reset(queue(apqi)));
                again |= waits;
                aqm.iter()
                    .map(queue)
                    .all(|apqn| in_reset(apqn) || self.is_passable(apqn))
                    && (!waits || mdev.view.apm.contains(*apid))
            })
            .collect();
        Filtered {
            apm,
            aqm,
            dropped: (candidates - apm) & mdev.view.apm,
            again,
        }
    }

    /// The control domains of a view.
    fn filter_control(&self, mdev: &Mdev) -> ControlMask {
        mdev.matrix.adm & self.config.adm
    }
}

impl Driver<'_> {
    /// Re-filters adapters and usage domains; updates the guest and resets the queues of adapters
    /// that fell out.
    pub(crate) fn refilter_queues(&mut self, uuid: MdevUuid) {
        self.refilter(uuid, true, false);
    }

    /// Re-filters control domains; updates the guest.
    pub(crate) fn refilter_control(&mut self, uuid: MdevUuid) {
        self.refilter(uuid, false, true);
    }

    /// Re-filters one or both parts with one guest update at most.
    pub(crate) fn refilter(&mut self, uuid: MdevUuid, queues: bool, control: bool) {
        let Some(mdev) = self.state.mdevs.get(&uuid) else {
            return;
        };
        let old = mdev.view;
        let mut view = old;
        let mut dropped = AdapterMask::EMPTY;
        if control {
            view.adm = self.state.filter_control(mdev);
        }
        if queues {
            let filtered = self.state.filter(mdev);
            (view.apm, view.aqm) = (filtered.apm, filtered.aqm);
            dropped = filtered.dropped;
            if mdev.filter_again != filtered.again
                && let Some(mdev) = self.state.mdevs.get_mut(&uuid)
            {
                mdev.filter_again = filtered.again;
            }
        }
        if view == old {
            return;
        }
        if let Some(mdev) = self.state.mdevs.get_mut(&uuid) {
            mdev.view = view;
        }
        self.update_guest(uuid);
        self.reset_bound(&Apcb {
            apm: dropped,
            aqm: view.aqm,
            adm: ControlMask::EMPTY,
        });
    }
}
