//! The faults of one queue, and what they do to an instruction or a request.

use std::time::Duration;

use arch::ResponseCode;
use cex::Reply;

use super::console::{ActiveFault, InjectError};
use super::fault::{Fault, FaultId, Mnemonic, Order, RequestFault};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// Faults that a queue can have at a time.
const MOST: usize = 64;

/// The faults of a queue. Their lock is taken under the queue's, and only if there are any.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    active: Mutex<Vec<Active>>,
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    order: Order,
    /// Hits that remain.
    left: Option<u32>,
    hits: u64,
    /// A hanging reset that a reset has hit.
    hangs: bool,
}

/// What a fault makes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hit {
    /// It is not executed and answers this.
    Answer(ResponseCode),
    /// It is a reset that does not end ([`crate::slow`]).
    Hang,
}

impl Active {
    fn hit(&mut self) {
        self.hits += 1;
        self.left = self.left.map(|left| left - 1);
    }

    fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

impl Faults {
    /// Whether there are any; the only question of a healthy queue.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub(crate) fn inject(&self, id: FaultId, order: Order) -> Result<(), InjectError> {
        let mut active = lock(&self.active);
        if active.len() >= MOST {
            return Err(InjectError::TooMany { apqn: order.apqn });
        }
        active.push(Active {
            id,
            left: order.times.map(u32::from),
            order,
            hits: 0,
            hangs: false,
        });
        self.any.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the faults that `which` picks; how many there were, and whether a reset hung by one.
    pub(crate) fn clear(&self, which: impl Fn(FaultId) -> bool) -> (usize, bool) {
        let mut active = lock(&self.active);
        let before = active.len();
        let mut hung = false;
        active.retain(|fault| {
            let goes = which(fault.id);
            hung |= goes && fault.hangs;
            !goes
        });
        self.any.store(!active.is_empty(), Ordering::Relaxed);
        (before - active.len(), hung)
    }

    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        let show = |fault: &Active| ActiveFault {
            id: fault.id,
            order: Order {
                times: fault.left.and_then(std::num::NonZeroU32::new),
                ..fault.order.clone()
            },
            hits: fault.hits,
        };
        lock(&self.active).iter().map(show).collect()
    }

    /// What becomes of an instruction: the oldest fault that is about it decides.
    pub(crate) fn on_instruction(&self, mnemonic: Mnemonic, is_guest: bool) -> Option<Hit> {
        let mut active = lock(&self.active);
        let hit = active.iter_mut().find_map(|fault| {
            let hit = match fault.order.fault {
                Fault::ResponseCode { instruction, code } if instruction == mnemonic => {
                    Hit::Answer(code)
                }
                Fault::HangingReset if mnemonic.is_reset() => Hit::Hang,
                _ => return None,
            };
            if !fault.order.target.is_hit(is_guest) {
                return None;
            }
            fault.hit();
            fault.hangs |= hit == Hit::Hang;
            Some(hit)
        });
        self.forget_those_over(&mut active);
        hit
    }

    /// What goes wrong with the request that an engine takes now.
    pub(crate) fn on_request(&self, is_guest: bool) -> RequestFaults {
        let mut active = lock(&self.active);
        let mut found = RequestFaults::default();
        for fault in active.iter_mut() {
            if let Fault::Request(what) = &fault.order.fault
                && fault.order.target.is_hit(is_guest)
            {
                found.0.push(what.clone());
                fault.hit();
            }
        }
        self.forget_those_over(&mut active);
        found
    }

    fn forget_those_over(&self, active: &mut Vec<Active>) {
        active.retain(|fault| !fault.is_over());
        self.any.store(!active.is_empty(), Ordering::Relaxed);
    }
}

/// What goes wrong with one request, in the order of injection.
#[derive(Debug, Default)]
pub(crate) struct RequestFaults(Vec<RequestFault>);

impl RequestFaults {
    pub(crate) fn panics(&self) -> bool {
        self.0.contains(&RequestFault::Panic)
    }

    pub(crate) fn drops(&self) -> bool {
        self.0.contains(&RequestFault::Drop)
    }

    /// How much later the reply comes: the sum of all.
    pub(crate) fn delay(&self) -> Option<Duration> {
        self.0
            .iter()
            .filter_map(|fault| match fault {
                RequestFault::Slow(delay) => Some(*delay),
                _ => None,
            })
            .reduce(Duration::saturating_add)
    }

    /// Does to the reply what the faults say.
    pub(crate) fn spoil(&self, reply: &mut Reply) {
        for fault in &self.0 {
            match fault {
                RequestFault::Corrupt { at, bytes } => reply.overwrite(*at, bytes),
                RequestFault::Truncate(length) => reply.truncate(*length),
                RequestFault::ReplyCode(code) => cex::error_reply::encode_code(*code, reply),
                RequestFault::Slow(_) | RequestFault::Drop | RequestFault::Panic => {}
            }
        }
    }
}
