//! Which mdev has which queue: the index behind the sharing rule (spec 4.2).
//!
//! One row per adapter. A row is copied when it changes while a snapshot still holds it (2 KiB), so
//! an assignment costs its own rows and never a walk over all mdevs.

use arch::{AdapterMask, Apid, Apqi, Apqn, UsageMask};
use rpds::RedBlackTreeMapSync;

use crate::mdev::Serial;

/// The index.
#[derive(Clone, Debug)]
pub struct Owners {
    rows: RedBlackTreeMapSync<Apid, Row>,
}

/// The owners of one adapter's queues; an entry means something where `taken` has its domain.
#[derive(Clone, Debug)]
struct Row {
    taken: UsageMask,
    owner: [Serial; 256],
}

impl Row {
    const EMPTY: Self = Self {
        taken: UsageMask::EMPTY,
        owner: [Serial(0); 256],
    };
}

impl Owners {
    pub(crate) fn new() -> Self {
        Self {
            rows: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// The owner of a queue.
    #[must_use]
    pub fn get(&self, apqn: Apqn) -> Option<Serial> {
        let row = self.rows.get(&apqn.apid)?;
        let taken = row.taken.contains(apqn.apqi);
        taken.then(|| row.owner[usize::from(apqn.apqi.0)])
    }

    /// The queues of `apm` x `aqm` that anybody has, ascending.
    pub(crate) fn taken(
        &self,
        apm: AdapterMask,
        aqm: UsageMask,
    ) -> impl Iterator<Item = (Apqn, Serial)> {
        apm.iter()
            .filter_map(|apid| self.rows.get(&apid).map(|row| (apid, row)))
            .flat_map(move |(apid, row)| {
                let owner = |apqi: Apqi| row.owner[usize::from(apqi.0)];
                (row.taken & aqm)
                    .iter()
                    .map(move |apqi| (Apqn { apid, apqi }, owner(apqi)))
            })
    }

    pub(crate) fn claim(&mut self, apm: AdapterMask, aqm: UsageMask, serial: Serial) {
        if aqm.is_empty() {
            return;
        }
        for apid in apm.iter() {
            if !self.rows.contains_key(&apid) {
                self.rows.insert_mut(apid, Row::EMPTY);
            }
            if let Some(row) = self.rows.get_mut(&apid) {
                row.taken = row.taken | aqm;
                aqm.iter()
                    .for_each(|apqi| row.owner[usize::from(apqi.0)] = serial);
            }
        }
    }

    /// Releases queues; all of them must have been the caller's.
    pub(crate) fn release(&mut self, apm: AdapterMask, aqm: UsageMask) {
        if aqm.is_empty() {
            return;
        }
        for apid in apm.iter() {
            if let Some(row) = self.rows.get_mut(&apid) {
                row.taken = row.taken - aqm;
            }
        }
    }
}
