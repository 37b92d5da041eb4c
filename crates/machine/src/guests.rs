//! The guests of a machine: which queues each has, and the rule that no queue has two.
//!
//! ```text
//!                attach                     set_masks(non-empty)
//!   (unknown) ----------> attached, no queue <-----------------> attached, queues plugged
//!       ^                     |      ^        clear_masks                |
//!       |      detach         |      |                                   |
//!       +---------------------+------+-----------------------------------+
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arch::{Apcb, Apqn, CrycbFormat, Facilities};

use crate::GuestId;
use crate::queue::Queue;
use crate::sync::{RwLock, read, write};

/// A guest. Its CPUs hold it beyond `detach`; it then has no queue any more.
#[derive(Debug)]
pub(crate) struct Guest {
    id: GuestId,
    format: CrycbFormat,
    facilities: Facilities,
    view: RwLock<View>,
}

/// What a guest sees. Instructions hold it for reading, so that a change is atomic for the guest.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// As set, cut to what the format can hold.
    pub(crate) apcb: Apcb,
    /// The queues of the APCB that the partition has.
    pub(crate) plugged: BTreeMap<Apqn, Arc<Queue>>,
}

impl Guest {
    pub(crate) fn new(id: GuestId, format: CrycbFormat, facilities: Facilities) -> Self {
        Self {
            id,
            format,
            facilities,
            view: RwLock::default(),
        }
    }

    pub(crate) const fn id(&self) -> GuestId {
        self.id
    }

    pub(crate) const fn format(&self) -> CrycbFormat {
        self.format
    }

    pub(crate) const fn facilities(&self) -> Facilities {
        self.facilities
    }

    pub(crate) const fn view(&self) -> &RwLock<View> {
        &self.view
    }

    pub(crate) fn apcb(&self) -> Apcb {
        read(&self.view).apcb
    }

    /// Sets the masks: queues that leave are taken first, then those that enter are given. `queues`
    /// are those of the partition.
    pub(crate) fn set_masks(&self, apcb: Apcb, queues: &BTreeMap<Apqn, Arc<Queue>>) {
        let mut view = write(&self.view);
        view.apcb = apcb;
        view.plugged.retain(|apqn, queue| {
            // A queue that was replaced by a new one of the same number leaves too.
            let stays =
                apcb.contains(*apqn) && queues.get(apqn).is_some_and(|now| Arc::ptr_eq(now, queue));
            if !stays {
                queue.unplug();
            }
            stays
        });
        for (apqn, queue) in queues {
            if apcb.contains(*apqn) && !view.plugged.contains_key(apqn) {
                queue.plug(self.id);
                view.plugged.insert(*apqn, Arc::clone(queue));
            }
        }
    }
}

/// The first queue number that two APCBs share. A queue that the partition lacks counts: the
/// adapter may come.
pub(crate) fn shared_queue(a: &Apcb, b: &Apcb) -> Option<Apqn> {
    let apid = (a.apm & b.apm).iter().next()?;
    let apqi = (a.aqm & b.aqm).iter().next()?;
    Some(Apqn { apid, apqi })
}
