//! A session's rings as ports of the guest's queues: what the machine asks for, by what the device channel
//! has.

use std::sync::Arc;

use arch::{Apqn, HwInfo, QciBlock};
use device::{Message, RingEnd, RingServer};
use machine::port::{Carried, Lie, Port, PortLoad, Ports};

/// The rings of a session.
#[derive(Debug)]
pub(super) struct SessionRings(pub(super) Arc<RingServer>);

impl Ports for SessionRings {
    fn make(&self, apqn: Apqn, info: HwInfo) -> Option<Box<dyn Port>> {
        let end = self.0.make(apqn, info)?;
        Some(Box::new(RingPort(end)))
    }

    fn configured(&self, block: Option<&QciBlock>) {
        self.0.configured(block);
    }
}

#[derive(Debug)]
struct RingPort(RingEnd);

const fn carried(message: Message) -> Carried {
    Carried {
        psmid: message.psmid,
        special: message.special,
        length: message.length,
        read: message.read,
    }
}

impl Port for RingPort {
    fn open(&mut self, interrupts: bool) {
        self.0.open(interrupts);
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn begin_closing(&mut self) {
        self.0.begin_closing();
    }

    fn set_interrupts(&mut self, enabled: bool) {
        self.0.set_interrupts(enabled);
    }

    fn load(&self, depth: usize, running: usize) -> Result<PortLoad, Lie> {
        let load = self.0.load(depth, running).map_err(|device::Lie| Lie)?;
        Ok(PortLoad {
            waiting: load.waiting,
            replies: load.replies,
        })
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<Carried>, Lie> {
        let taken = self.0.take(buffer).map_err(|device::Lie| Lie)?;
        Ok(taken.map(carried))
    }

    fn post(&mut self, psmid: u64, reply: &[u8]) -> bool {
        self.0.post(psmid, reply)
    }

    fn unread(&self, nth: usize, buffer: &mut [u8]) -> Result<Carried, Lie> {
        let reply = self.0.unread(nth, buffer).map_err(|device::Lie| Lie)?;
        Ok(carried(reply))
    }
}
