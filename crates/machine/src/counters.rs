//! What the console and metrics can see of a running machine.

use arch::{Apcb, Apid, Apqn, CrycbFormat};

use crate::partition::PartitionConfig;
use crate::state::{Interrupts, QueueLoad};
use crate::sync::atomic::Ordering;
use crate::sync::{lock, read};
use crate::{GuestId, Machine};

/// The numbers of one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounters {
    /// Requests that reached the card through this queue number since the machine was made. It never
    /// falls, not even when the adapter is replaced.
    pub reached: u64,
    /// What the queue holds; nothing if the partition has no such queue.
    pub load: QueueLoad,
}

/// One queue of a [`Snapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueSnapshot {
    /// The queue.
    pub apqn: Apqn,
    /// The guest that has it; `None` for the host.
    pub guest: Option<GuestId>,
    /// Its interrupts, if they are enabled.
    pub interrupts: Option<Interrupts>,
    /// Its numbers.
    pub counters: QueueCounters,
}

/// One guest of a [`Snapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestSnapshot {
    /// The guest.
    pub id: GuestId,
    /// Format of its CRYCB.
    pub format: CrycbFormat,
    /// Its masks.
    pub apcb: Apcb,
}

/// The machine at one moment. Each queue is consistent in itself; requests may pass between two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The hardware.
    pub config: PartitionConfig,
    /// The queues, ascending.
    pub queues: Vec<QueueSnapshot>,
    /// The guests, ascending.
    pub guests: Vec<GuestSnapshot>,
}

impl Machine {
    /// The numbers of one queue.
    #[must_use]
    pub fn counters(&self, apqn: Apqn) -> QueueCounters {
        let hardware = read(&self.hardware);
        let reached = hardware.reached().get(&apqn);
        let queue = hardware.queues().get(&apqn);
        QueueCounters {
            reached: reached.map_or(0, |count| count.load(Ordering::Relaxed)),
            load: queue.map_or(QueueLoad::default(), |queue| queue.load()),
        }
    }

    /// The guest that has a queue now; `None` for the host, and for a queue that the partition does not
    /// have.
    #[must_use]
    pub fn owner(&self, apqn: Apqn) -> Option<GuestId> {
        self.queue(apqn)?.owner()
    }

    /// Requests that reached the card of this number since the machine was made, through all queues.
    #[must_use]
    pub fn card_requests(&self, apid: Apid) -> u64 {
        let range = Apqn::new(apid.0, 0)..=Apqn::new(apid.0, 255);
        read(&self.hardware)
            .reached()
            .range(range)
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum()
    }

    /// The machine as it stands, for `hmc show`, status and metrics.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let control = lock(&self.control);
        let hardware = read(&self.hardware);
        let queues = hardware.queues().values().map(|queue| queue.snapshot());
        let guests = control.guests.values().map(|guest| GuestSnapshot {
            id: guest.id(),
            format: guest.format(),
            apcb: guest.apcb(),
        });
        Snapshot {
            config: hardware.config().clone(),
            queues: queues.collect(),
            guests: guests.collect(),
        }
    }
}
