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

use arch::{Apcb, Apqn, CrycbFormat, Facilities, QciBlock, QciFlags};

use crate::GuestId;
use crate::hardware::Hardware;
use crate::port::{Port, Ports};
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
    /// Makes ports for the queues, if the guest wants any.
    ports: Option<Arc<dyn Ports>>,
    /// Somebody wants to see every instruction.
    diverted: bool,
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

    /// Sets the masks: queues that leave are taken first, then those that enter are given, and what QCI
    /// answers is told.
    pub(crate) fn set_masks(&self, apcb: Apcb, hardware: &Hardware) {
        let queues = hardware.queues();
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
                queue.divert(view.diverted);
                queue.plug(self.id, view.port(*apqn, queue));
                view.plugged.insert(*apqn, Arc::clone(queue));
            }
        }
        self.tell(&view, hardware);
    }

    /// Gives every queue a port, or takes all ports.
    pub(crate) fn set_ports(&self, ports: Option<Arc<dyn Ports>>, hardware: &Hardware) {
        let mut view = write(&self.view);
        view.ports = ports;
        self.tell(&view, hardware);
        for (apqn, queue) in &view.plugged {
            queue.connect(view.port(*apqn, queue));
        }
    }

    /// Whether every instruction is to come by `execute`.
    pub(crate) fn divert(&self, diverted: bool, hardware: &Hardware) {
        let mut view = write(&self.view);
        view.diverted = diverted;
        self.tell(&view, hardware);
        for queue in view.plugged.values() {
            queue.divert(diverted);
        }
    }

    fn tell(&self, view: &View, hardware: &Hardware) {
        if let Some(ports) = &view.ports {
            let block = self.qci_block(&hardware.config().qci_block(), &view.apcb);
            ports.configured(Some(&block).filter(|_| !view.diverted));
        }
    }

    /// Flags of the QCI block that the guest sees of the machine's: no secure binding, and extended
    /// addressing only with a format-2 CRYCB.
    pub(crate) fn qci_flags(&self, flags: QciFlags) -> QciFlags {
        let hidden = match self.format {
            CrycbFormat::Format2 => QciFlags::APSB,
            CrycbFormat::Format0 | CrycbFormat::Format1 => QciFlags::APSB | QciFlags::APXA,
        };
        flags - hidden
    }

    /// What QCI answers under `apcb`, on a machine whose host gets `host`.
    pub(crate) fn qci_block(&self, host: &QciBlock, apcb: &Apcb) -> QciBlock {
        let flags = self.qci_flags(host.flags);
        let (na, nd) = if flags.contains(QciFlags::APXA) {
            (host.na, host.nd)
        } else {
            (0, 0)
        };
        QciBlock {
            flags,
            na,
            nd,
            apm: apcb.apm,
            aqm: apcb.aqm,
            adm: apcb.adm,
        }
    }
}

impl View {
    fn port(&self, apqn: Apqn, queue: &Queue) -> Option<Box<dyn Port>> {
        let ports = self.ports.as_ref()?;
        ports.make(apqn, queue.card().hw_info())
    }
}

/// The first queue number that two APCBs share. A queue that the partition lacks counts: the
/// adapter may come.
pub(crate) fn shared_queue(a: &Apcb, b: &Apcb) -> Option<Apqn> {
    let apid = (a.apm & b.apm).iter().next()?;
    let apqi = (a.aqm & b.aqm).iter().next()?;
    Some(Apqn { apid, apqi })
}
