//! A queue and its port ([`crate::port`]): who holds what, and when the port is open.

use super::{Condition, Held, State};
use crate::message::MessageBuffer;
use crate::port::{Lie, Port, PortLoad};

/// What a port is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Use {
    /// Nothing.
    #[default]
    Closed,
    /// The guest enqueues and dequeues in it.
    Open,
    /// The guest is to come by an instruction; what is in the port is served meanwhile.
    Closing,
}

/// The port of a queue, if it has one.
#[derive(Debug, Default)]
pub(super) struct Ported {
    port: Option<Box<dyn Port>>,
    used: Use,
    /// Requests of the port that engines work on.
    pub(super) running: usize,
    /// The queue has faults, which hit instructions.
    faulty: bool,
    /// Somebody wants to see every instruction.
    diverted: bool,
}

impl Ported {
    /// The port, while requests and replies pass through it.
    pub(super) fn in_use(&mut self) -> Option<&mut Box<dyn Port>> {
        self.port.as_mut().filter(|_| self.used != Use::Closed)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.used == Use::Closing
    }

    /// What the port holds; nothing that a lie says.
    pub(super) fn load(&self, depth: usize) -> PortLoad {
        let port = self.port.as_ref().filter(|_| self.used != Use::Closed);
        port.and_then(|port| port.load(depth, self.running).ok())
            .unwrap_or_default()
    }

    /// Drops what the port holds.
    pub(super) fn close(&mut self) {
        self.running = 0;
        if self.used != Use::Closed
            && let Some(port) = &mut self.port
        {
            port.close();
        }
        self.used = Use::Closed;
    }

    /// Sends the guest to `execute`; nothing is lost.
    pub(super) fn begin_closing(&mut self) {
        if self.used == Use::Open
            && let Some(port) = &mut self.port
        {
            port.begin_closing();
            self.used = Use::Closing;
        }
    }

    pub(super) fn set_interrupts(&mut self, enabled: bool) {
        if let Some(port) = self.in_use() {
            port.set_interrupts(enabled);
        }
    }
}

impl State {
    /// Gives the queue a port in place of the one it had, or takes that.
    pub(crate) fn connect(&mut self, port: Option<Box<dyn Port>>) {
        // What a port still holds when it is taken is what its guest left there.
        self.absorb();
        self.ported.port = port;
        self.settle();
    }

    /// Whether the queue has faults: they hit instructions, so the guest must execute them.
    pub(crate) fn set_faulty(&mut self, faulty: bool) {
        self.ported.faulty = faulty;
        self.settle();
    }

    /// Whether somebody wants to see every instruction of the guest.
    pub(crate) fn divert(&mut self, diverted: bool) {
        self.ported.diverted = diverted;
        self.settle();
    }

    /// Opens the port when it can be opened, and begins to close it when it must not stay open.
    pub(super) fn settle(&mut self) {
        let may_be_open = self.condition == Condition::Operating
            && self.guest.is_some()
            && !self.slow.is_running()
            && !self.ported.faulty
            && !self.ported.diverted;
        match self.ported.used {
            Use::Open if !may_be_open => self.ported.begin_closing(),
            Use::Closed if may_be_open && self.held() == 0 => {
                let interrupts = self.interrupts.is_some();
                if let Some(port) = &mut self.ported.port {
                    port.open(interrupts);
                    self.ported.used = Use::Open;
                }
            }
            Use::Open | Use::Closed | Use::Closing => {}
        }
    }

    /// The guest does nothing in the port now: moves what is there into the queue, and closes the port.
    pub(super) fn absorb(&mut self) {
        if self.try_absorb().is_err() {
            self.punish();
        }
    }

    fn try_absorb(&mut self) -> Result<(), Lie> {
        let (depth, running) = (self.depth, self.ported.running);
        let Some(port) = self.ported.in_use() else {
            return Ok(());
        };
        let load = port.load(depth, running)?;
        // What is in the port is older than what the queue itself has got meanwhile.
        for nth in (0..load.replies).rev() {
            let mut buffer = self.pool.unused();
            let carried = buffer.fill_with(|bytes| port.unread(nth, bytes).map(Some))?;
            let Some(carried) = carried else { break };
            if nth == 0 {
                self.read = carried.read;
            }
            self.replies
                .reserve_exact(depth.saturating_sub(self.replies.len()));
            self.replies.push_front(Held {
                psmid: carried.psmid,
                special: false,
                ported: false,
                buffer,
            });
        }
        for at in 0..load.waiting {
            let Some(held) = carry(port, self.pool.unused())? else {
                break;
            };
            self.requests
                .reserve_exact(depth.saturating_sub(self.requests.len()));
            self.requests.insert(at, held.into_own());
        }
        port.close();
        self.ported.used = Use::Closed;
        self.ported.running = 0;
        Ok(())
    }

    /// Takes the next request out of the port.
    pub(super) fn take_from_port(&mut self) -> Option<Held> {
        let (depth, running) = (self.depth, self.ported.running);
        let port = self.ported.in_use()?;
        let taken = match port.load(depth, running) {
            Ok(PortLoad { waiting: 0, .. }) => return None,
            Ok(_) => carry(port, self.pool.unused()),
            Err(lie) => Err(lie),
        };
        match taken {
            Ok(held) => held,
            Err(Lie) => {
                self.punish();
                None
            }
        }
    }

    /// The guest lies: its queue is reset, and nobody else notices.
    fn punish(&mut self) {
        self.drop_contents();
        self.settle();
    }
}

/// One request from the port in `buffer`.
fn carry(port: &mut Box<dyn Port>, mut buffer: MessageBuffer) -> Result<Option<Held>, Lie> {
    let carried = buffer.fill_with(|bytes| port.take(bytes))?;
    Ok(carried.map(|carried| Held {
        psmid: carried.psmid,
        special: carried.special,
        ported: true,
        buffer,
    }))
}
