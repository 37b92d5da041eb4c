//! What a guest has sent to a queue and not got back, by whichever way, and what follows when all of it is
//! lost.
//!
//! A request goes through the ring or over the socket, and so does its reply, independently: what is in a
//! ring that closes moves to the server and is got over the socket then. So neither way alone has a count
//! that says whether the queue is full. A ring opens when the queue is empty, and then everything goes
//! through it until it closes:
//!
//! ```text
//!   held = (submitted - consumed of the ring, since it opened) + (sent - got over the socket, since then)
//! ```

use arch::status::StatusFlags;
use arch::{HwInfo, Instruction, Outcome, ResponseCode};

use crate::absence::reply_to_nobody;

/// The count of one queue. What the ring has counted is the caller's and comes as `in_ring`.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Requests less replies that went over the socket; below 0 when replies to requests of the ring did.
    over_socket: i64,
    /// Requests with which the queue is full for its driver; 0 while that is not known.
    full: u8,
    /// The queue was full when a session ended, and the guest has not looked at it since: it gets a reply to
    /// nobody, for the reason that `absence` gives.
    stranded: bool,
}

impl Held {
    /// Notes how much the queue holds for a driver.
    pub(super) const fn hardware(&mut self, info: HwInfo) {
        self.full = info.driver_depth();
    }

    /// The ring was opened, so the queue was empty.
    pub(super) const fn opened(&mut self) {
        self.over_socket = 0;
    }

    fn count(&self, in_ring: u32) -> i64 {
        i64::from(in_ring) + self.over_socket
    }

    fn empty(&mut self, in_ring: u32) {
        self.over_socket = -i64::from(in_ring);
    }

    /// The session has ended, and with it the ring's count. What the queue held is lost.
    pub(super) fn lost(&mut self, in_ring: u32) {
        self.stranded |= self.full != 0 && self.count(in_ring) >= i64::from(self.full);
        self.over_socket = 0;
    }

    /// The queue is empty as the guest knows, which waits for nothing.
    pub(super) fn reset(&mut self, in_ring: u32) {
        self.empty(in_ring);
        self.stranded = false;
    }

    /// What the guest is owed before its instruction is executed.
    pub(super) fn owed(&mut self, instruction: &Instruction<'_>) -> Option<Outcome> {
        match instruction {
            Instruction::Dqap { .. } if self.stranded => {
                self.stranded = false;
                Some(reply_to_nobody())
            }
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                self.stranded = false;
                None
            }
            _ => None,
        }
    }

    /// Follows what an instruction that did not go through the ring told the guest.
    pub(super) fn follow(
        &mut self,
        in_ring: u32,
        instruction: &Instruction<'_>,
        outcome: &Outcome,
    ) {
        if let Outcome::Tapq { info, status } = outcome
            && status.queue_exists()
        {
            self.hardware(*info);
        }
        let Some(status) = outcome.status() else {
            return;
        };
        if status.code == ResponseCode::NOT_AVAILABLE {
            // It is the guest's no longer; when it comes back it is empty.
            return self.reset(in_ring);
        }
        match (instruction, status.code, outcome) {
            (Instruction::Nqap { .. }, ResponseCode::NORMAL, _) => self.over_socket += 1,
            (Instruction::Dqap { .. }, _, _) if status.flags.contains(StatusFlags::EMPTY) => {
                self.empty(in_ring);
            }
            (Instruction::Dqap { .. }, ResponseCode::NORMAL, Outcome::Dqap(got))
                if got.residual == 0 && self.count(in_ring) > 0 =>
            {
                self.over_socket -= 1;
            }
            (
                Instruction::Rapq { .. } | Instruction::Zapq { .. },
                ResponseCode::NORMAL | ResponseCode::RESET_IN_PROGRESS,
                _,
            ) => self.reset(in_ring),
            _ => {}
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
