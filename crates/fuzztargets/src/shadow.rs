//! What a machine with two guests may have done: who has which queue, and whose requests it holds.
//!
//! It knows nothing of queues as state machines. Every request carries in its name (PSMID) who sent it
//! and in which *epoch* of the queue; an epoch ends when the queue changes hands or is emptied. A reply
//! with another sender or another epoch than the reader's is a reply to somebody else.

use arch::instruction::Dequeued;
use arch::{Apcb, Apqn, CrycbFormat, Instruction, Outcome, ResponseCode};
use machine::{GuestId, Machine, QueueCounters};

/// Messages that a queue holds.
const DEPTH: usize = 8;

/// A guest as the administrator knows it.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its number, 1..=255.
    pub id: GuestId,
    /// The form of its masks.
    pub format: CrycbFormat,
    /// What it was given.
    pub apcb: Apcb,
}

/// One queue of the partition.
#[derive(Clone, Debug)]
struct Queue {
    apqn: Apqn,
    epoch: u32,
    /// Requests that were accepted.
    accepted: u64,
    seen: QueueCounters,
}

/// The guests and the queues.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The guests.
    pub guests: [Guest; 2],
    queues: Vec<Queue>,
    requests: u32,
}

impl Shadow {
    /// Two guests without queues on this machine.
    #[must_use]
    pub fn new(machine: &Machine, formats: [CrycbFormat; 2]) -> Self {
        let guest = |id, format| Guest {
            id: GuestId(id),
            format,
            apcb: Apcb::EMPTY,
        };
        let queue = |apqn| Queue {
            apqn,
            epoch: 0,
            accepted: 0,
            seen: machine.counters(apqn),
        };
        Self {
            guests: [guest(1, formats[0]), guest(2, formats[1])],
            queues: machine.queues().into_iter().map(queue).collect(),
            requests: 0,
        }
    }

    /// The name for the next request of a guest to a queue.
    pub fn name(&mut self, guest: usize, apqn: Apqn) -> u64 {
        self.requests += 1;
        let epoch = self.queue(apqn).map_or(0, |queue| queue.epoch);
        tag(self.guests[guest].id, epoch) | u64::from(self.requests & 0xff_ffff)
    }

    fn queue(&mut self, apqn: Apqn) -> Option<&mut Queue> {
        self.queues.iter_mut().find(|queue| queue.apqn == apqn)
    }

    /// The queues that `hit` names were emptied.
    pub fn emptied(&mut self, hit: impl Fn(Apqn) -> bool) {
        for queue in self.queues.iter_mut().filter(|queue| hit(queue.apqn)) {
            queue.epoch += 1;
        }
    }

    /// A guest got masks, or was refused them.
    ///
    /// # Panics
    /// When it got a queue number of the other, or was refused without that.
    pub fn gave(&mut self, guest: usize, apcb: &Apcb, accepted: bool) {
        let apcb = self.guests[guest].format.truncate(apcb);
        let other = self.guests[1 - guest].apcb;
        let shared = apcb.queues().any(|apqn| other.contains(apqn));
        assert_eq!(accepted, !shared, "{apcb:?} beside {other:?}");
        if accepted {
            let before = std::mem::replace(&mut self.guests[guest].apcb, apcb);
            self.emptied(|apqn| before.contains(apqn) != apcb.contains(apqn));
        }
    }

    /// A guest executed an instruction; `buffer` is how long its buffer is.
    ///
    /// # Panics
    /// When it reached something outside its masks, or a reply that is not its own.
    pub fn executed(
        &mut self,
        guest: usize,
        instruction: &Instruction<'_>,
        outcome: &Outcome,
        buffer: usize,
    ) {
        let Guest { id, apcb, .. } = self.guests[guest];
        if let Outcome::Qci(block) = outcome {
            assert_eq!(
                (block.apm, block.aqm, block.adm),
                (apcb.apm, apcb.aqm, apcb.adm)
            );
        }
        let (Some(apqn), Some(status)) = (instruction.apqn(), outcome.status()) else {
            return;
        };
        let Some(queue) = self.queue(apqn).filter(|_| apcb.contains(apqn)) else {
            assert_eq!(status.code, ResponseCode::NOT_AVAILABLE, "{instruction:?}");
            return;
        };
        let normal = status.code == ResponseCode::NORMAL;
        match instruction {
            Instruction::Nqap { .. } => queue.accepted += u64::from(normal),
            Instruction::Rapq { .. } | Instruction::Zapq { .. } if normal => queue.epoch += 1,
            _ => {}
        }
        if let Outcome::Dqap(Dequeued {
            psmid,
            stored,
            residual,
            ..
        }) = outcome
        {
            assert!(*stored <= buffer, "{stored} bytes in a buffer of {buffer}");
            if normal && *residual == 0 {
                assert_eq!(psmid & !0xff_ffff, tag(id, queue.epoch), "a foreign reply");
            }
        }
    }

    /// Looks at all queues. Nothing of a queue may have changed unless `named` names it, and the card
    /// may have been reached only when an engine `ran`.
    ///
    /// # Panics
    /// When something else has changed, or more was computed than accepted.
    pub fn look(&mut self, machine: &Machine, named: impl Fn(Apqn) -> bool, ran: bool) {
        for queue in &mut self.queues {
            let now = machine.counters(queue.apqn);
            let before = std::mem::replace(&mut queue.seen, now);
            let apqn = queue.apqn;
            assert!(now == before || named(apqn), "{apqn}: {before:?}, {now:?}");
            assert!(
                now.reached == before.reached || ran,
                "{apqn} reached the card"
            );
            assert!(now.reached <= queue.accepted, "{apqn}: invented requests");
            let held = now.load.waiting + now.load.running + now.load.replies;
            assert!(held <= DEPTH, "{apqn} holds {held}");
        }
    }
}

/// Sender and epoch as the high bits of a name.
fn tag(id: GuestId, epoch: u32) -> u64 {
    id.0 << 56 | u64::from(epoch) << 24
}
