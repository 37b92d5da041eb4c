//! The engine's step: one request through a card.
//!
//! ```text
//!   doorbell ---> run_one: take (lock) ---> card model (no lock) ---> finish (lock) ---> Ran
//! ```

use std::time::Duration;

use arch::Apqn;
use cex::{Reply, Request};

use crate::faults::Ticket;
use crate::state::{Finished, Interrupts};
use crate::{GuestId, Machine};

/// What an engine needs while it works; one per thread, made once.
#[derive(Debug, Default)]
pub struct Scratch {
    reply: Reply,
}

impl Scratch {
    /// Memory for one engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// What a step of an engine did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ran {
    /// The queue has no request, or there is no such queue.
    Idle,
    /// A reply waits in the queue.
    Replied {
        /// Whose queue it is; `None` for the host's.
        guest: Option<GuestId>,
        /// Where to deliver an interruption, if the queue has them enabled.
        interrupts: Option<Interrupts>,
        /// Whether the reply is in the guest's port, by which the guest may learn of it.
        in_port: bool,
        /// Whether the queue has another request.
        more: bool,
    },
    /// The queue was reset or revoked meanwhile: the reply is erased.
    Orphaned {
        /// Whether the queue has another request.
        more: bool,
    },
    /// A fault makes the reply slow: the caller is to [release](Machine::release) it.
    Withheld {
        /// Which reply.
        ticket: Ticket,
        /// After what time.
        delay: Duration,
        /// Whether the queue has another request.
        more: bool,
    },
    /// A fault has lost the request.
    Lost {
        /// Whether the queue has another request.
        more: bool,
    },
}

impl From<Finished> for Ran {
    fn from(finished: Finished) -> Self {
        match finished {
            Finished::Replied {
                guest,
                interrupts,
                in_port,
                more,
            } => Self::Replied {
                guest,
                interrupts,
                in_port,
                more,
            },
            Finished::Orphaned { more } => Self::Orphaned { more },
        }
    }
}

impl Ran {
    /// Whether the queue has another request.
    #[must_use]
    pub const fn more(&self) -> bool {
        match self {
            Self::Idle => false,
            Self::Replied { more, .. }
            | Self::Orphaned { more }
            | Self::Withheld { more, .. }
            | Self::Lost { more } => *more,
        }
    }
}

impl Machine {
    /// Takes one request of a queue, lets the card answer it without any lock held, and posts the
    /// reply unless the queue was reset or revoked meanwhile.
    ///
    /// Any number of threads may do this, also for the same queue. If the card model panics, the
    /// request stays with the queue as running; the engine that catches the panic is to
    /// [`checkstop`](Machine::checkstop) the card, which drops it.
    pub fn run_one(&self, apqn: Apqn, scratch: &mut Scratch) -> Ran {
        let Some(queue) = self.queue(apqn) else {
            return Ran::Idle;
        };
        let Some((job, faults)) = queue.take() else {
            return Ran::Idle;
        };
        let request = Request {
            domain: apqn.apqi,
            special: job.special(),
            message: job.message(),
        };
        if faults.panics() {
            queue.card().fail(&request);
        }
        queue
            .card()
            .process_with(&request, &queue.keys(&job), &mut scratch.reply);
        faults.spoil(&mut scratch.reply);
        let ran = if faults.drops() {
            let more = queue.lose(job);
            Ran::Lost { more }
        } else if let Some(delay) = faults.delay() {
            match queue.withhold(job, scratch.reply.bytes()) {
                Some((ticket, more)) => Ran::Withheld {
                    ticket,
                    delay,
                    more,
                },
                None => Ran::Orphaned {
                    more: queue.load().waiting > 0,
                },
            }
        } else {
            queue.finish(job, scratch.reply.bytes()).into()
        };
        scratch.reply.clear();
        ran
    }

    /// Runs every request of every queue on the calling thread, in the order of queue numbers, and
    /// returns how many there were. For a machine without engine threads.
    pub fn run_all(&self, scratch: &mut Scratch) -> usize {
        let mut ran = 0;
        for apqn in self.queues() {
            while self.run_one(apqn, scratch) != Ran::Idle {
                ran += 1;
            }
        }
        ran
    }
}
