//! What a guest is told while nobody answers for its queues.
//!
//! The guest keeps the devices it knows. Its queues are in reset, because closing the device resets
//! them, and what was in them is gone:
//!
//! | instruction | for a queue that the guest knows | for any other |
//! |---|---|---|
//! | QCI | the last block | |
//! | TAPQ | 02 and the last hardware information | 01 |
//! | TAPQ without the T bit, interruptions enabled | 00, "empty" and "enabled" | 01 |
//! | DQAP | 10 and "empty": no reply will come for what was sent | 01 |
//! | the first DQAP of a queue that was full | 00, a reply to nobody | 01 |
//! | NQAP, RAPQ, ZAPQ, AQIC, QACT | 02 | 01 |
//!
//! DQAP does not say 02 as the others do. A driver takes that for a broken queue: Linux ends the
//! queue's requests and gives the queue up until its next scan of the bus, half a minute later, while
//! "no reply and empty" is what it sees after any reset and makes it send its requests again. NQAP
//! then puts it into the state in which it waits for the end of a reset, for as long as it takes.
//!
//! Nor does TAPQ say 02 to a driver that has just enabled interruptions and asks whether they are: Linux
//! gives up a queue that is in reset then, and asks in no other state without the T bit. Told that they
//! are, it sends what it has to send, and NQAP says 02.
//!
//! A queue that was full is empty now, and that is more than Linux expects between two looks at it: it
//! takes back what it had sent and then waits for somebody to send something, although all are waiting
//! already. A reply, also one that belongs to no request, makes it go on. So the first DQAP after the loss
//! gets one, with psmid 0 and without a message, whether the daemon is back by then or not; drivers drop it.

use std::collections::BTreeMap;

use arch::instruction::Dequeued;
use arch::status::StatusFlags;
use arch::{AdapterMask, ControlMask, UsageMask};
use arch::{Apqn, HwInfo, Instruction, Outcome, QciBlock, QueueStatus, ResponseCode};

/// What the guest knows of its devices.
#[derive(Debug)]
pub(crate) struct Known {
    /// The last QCI block.
    qci: QciBlock,
    /// The queues that the guest has seen: one that it never saw must not appear while the daemon is
    /// away.
    queues: BTreeMap<Apqn, Seen>,
}

/// A queue that the guest has seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Hardware information, which "reset in progress" needs.
    info: HwInfo,
    /// Requests that the guest has sent and for which it has not taken a reply.
    outstanding: u32,
    /// It was full when the connection was lost, and the guest has not looked at it since.
    stranded: bool,
}

impl Seen {
    const fn new(info: HwInfo) -> Self {
        Self {
            info,
            outstanding: 0,
            stranded: false,
        }
    }

    /// It is empty, as the guest knows.
    const fn emptied(&mut self) {
        (self.outstanding, self.stranded) = (0, false);
    }

    fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        let Some(status) = outcome.status() else {
            return;
        };
        let is_empty = status.flags.contains(StatusFlags::EMPTY);
        match (instruction, status.code, outcome) {
            (Instruction::Nqap { .. }, ResponseCode::NORMAL, _) => {
                self.outstanding = self.outstanding.saturating_add(1);
            }
            (Instruction::Dqap { .. }, _, _) if is_empty => self.outstanding = 0,
            (Instruction::Dqap { .. }, ResponseCode::NORMAL, Outcome::Dqap(dequeued))
                if dequeued.residual == 0 =>
            {
                self.outstanding = self.outstanding.saturating_sub(1);
            }
            (
                Instruction::Rapq { .. } | Instruction::Zapq { .. },
                ResponseCode::NORMAL | ResponseCode::RESET_IN_PROGRESS,
                _,
            ) => self.emptied(),
            _ => {}
        }
    }
}

impl Known {
    /// Nothing.
    pub(crate) const fn nothing() -> Self {
        Self {
            qci: QciBlock::EMPTY,
            queues: BTreeMap::new(),
        }
    }

    /// The guest has no queues any more.
    pub(crate) fn forget(&mut self) {
        self.queues.clear();
        self.qci = QciBlock {
            apm: AdapterMask::EMPTY,
            aqm: UsageMask::EMPTY,
            adm: ControlMask::EMPTY,
            ..self.qci
        };
    }

    /// Notes the present configuration.
    pub(crate) const fn configured(&mut self, qci: QciBlock) {
        self.qci = qci;
    }

    /// The last configuration.
    pub(crate) const fn configuration(&self) -> QciBlock {
        self.qci
    }

    /// Notes what an instruction told the guest.
    pub(crate) fn remember(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        match (instruction, outcome) {
            (Instruction::Tapq { apqn, .. }, Outcome::Tapq { status, info }) => {
                if status.queue_exists() {
                    let seen = self.queues.entry(*apqn).or_insert(Seen::new(*info));
                    seen.info = *info;
                } else {
                    self.queues.remove(apqn);
                }
            }
            (_, Outcome::Qci(block)) => self.configured(*block),
            _ => self.follow(instruction, outcome),
        }
    }

    /// Follows what an instruction did to a queue, also while the daemon is away.
    pub(crate) fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        let seen = instruction
            .apqn()
            .and_then(|apqn| self.queues.get_mut(&apqn));
        if let Some(seen) = seen {
            seen.follow(instruction, outcome);
        }
    }

    /// All queues were reset by the guest's machine.
    pub(crate) fn emptied(&mut self) {
        self.queues.values_mut().for_each(Seen::emptied);
    }

    /// The connection is lost, and all that was in the queues.
    pub(crate) fn lost(&mut self) {
        for seen in self.queues.values_mut() {
            seen.stranded |= seen.outstanding >= u32::from(seen.info.driver_depth());
            seen.outstanding = 0;
        }
    }

    /// The outcome of a DQAP that neither the daemon nor [`answer`](Self::answer) gives.
    pub(crate) fn reply_to_nobody(&mut self, instruction: &Instruction<'_>) -> Option<Outcome> {
        let Instruction::Dqap { apqn } = instruction else {
            return None;
        };
        let seen = self.queues.get_mut(apqn).filter(|seen| seen.stranded)?;
        seen.stranded = false;
        Some(reply_to_nobody())
    }

    /// The outcome of `instruction` while the daemon is away. `enabled` says whether the guest has enabled
    /// the interruptions of its queue.
    pub(crate) fn answer(&self, instruction: &Instruction<'_>, enabled: bool) -> Outcome {
        let known = instruction.apqn().and_then(|apqn| self.queues.get(&apqn));
        match (instruction, known) {
            (Instruction::Qci, _) => Outcome::Qci(self.qci),
            (Instruction::Tapq { facilities, .. }, Some(seen)) if enabled && !facilities => {
                let flags = StatusFlags::EMPTY | StatusFlags::INTERRUPTS;
                Outcome::Tapq {
                    status: QueueStatus::new(ResponseCode::NORMAL, flags),
                    info: seen.info,
                }
            }
            (Instruction::Tapq { .. }, Some(seen)) => Outcome::Tapq {
                status: QueueStatus::code_only(ResponseCode::RESET_IN_PROGRESS),
                info: seen.info,
            },
            (Instruction::Dqap { .. }, Some(_)) => Outcome::Dqap(Dequeued::nothing(
                QueueStatus::new(ResponseCode::FULL_OR_NO_REPLY, StatusFlags::EMPTY),
            )),
            (_, Some(_)) => Outcome::refused(instruction, ResponseCode::RESET_IN_PROGRESS),
            (_, None) => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        }
    }
}

/// What makes a driver look at its queue again.
pub(crate) fn reply_to_nobody() -> Outcome {
    // Not "empty": that would be the same surprise.
    let status = QueueStatus::code_only(ResponseCode::NORMAL);
    Outcome::Dqap(Dequeued::nothing(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::ApType;

    const APQN: Apqn = Apqn::new(5, 4);
    const DEPTH: u32 = 8;

    fn nqap() -> Instruction<'static> {
        Instruction::Nqap {
            apqn: APQN,
            psmid: 1,
            special: false,
            message: b"m",
        }
    }

    fn dqap() -> Instruction<'static> {
        Instruction::Dqap { apqn: APQN }
    }

    fn status(code: ResponseCode) -> Outcome {
        Outcome::Status(QueueStatus::code_only(code))
    }

    fn dequeued(code: ResponseCode, flags: StatusFlags) -> Outcome {
        Outcome::Dqap(Dequeued::nothing(QueueStatus::new(code, flags)))
    }

    /// A queue of [`DEPTH`] with so many requests.
    fn with(requests: u32) -> Known {
        let mut known = Known::nothing();
        let tapq = Instruction::Tapq {
            apqn: APQN,
            facilities: true,
        };
        let found = Outcome::Tapq {
            status: QueueStatus::code_only(ResponseCode::NORMAL),
            info: HwInfo::new(0, ApType::CEX8, 0, 0, 7),
        };
        known.remember(&tapq, &found);
        for _ in 0..requests {
            known.remember(&nqap(), &status(ResponseCode::NORMAL));
        }
        // Looking again forgets nothing.
        known.remember(&tapq, &found);
        known
    }

    fn is_stranded(mut known: Known) -> bool {
        known.reply_to_nobody(&dqap()).is_some()
    }

    #[test]
    fn the_first_dqap_of_a_queue_that_was_full_gets_a_reply_to_nobody() {
        let full = DEPTH - 1;
        assert!(!is_stranded(with(full)), "the daemon is there");
        for (requests, expected) in [(0, false), (full - 1, false), (full, true), (DEPTH, true)] {
            let mut known = with(requests);
            known.lost();
            let reply = known.reply_to_nobody(&dqap());
            assert_eq!(reply.is_some(), expected, "{requests}");
            if let Some(Outcome::Dqap(reply)) = reply {
                let normal = QueueStatus::code_only(ResponseCode::NORMAL);
                assert_eq!(reply.status, normal);
                assert_eq!((reply.psmid, reply.stored, reply.residual), (0, 0, 0));
            }
            known.lost();
            assert!(!is_stranded(known), "once");
        }
    }

    #[test]
    fn replies_and_resets_make_room() {
        let (normal, none) = (ResponseCode::NORMAL, ResponseCode::FULL_OR_NO_REPLY);
        let (apqn, force) = (APQN, false);
        let rapq = Instruction::Rapq { apqn, force };
        for (instruction, outcome, expected) in [
            (dqap(), dequeued(normal, StatusFlags::empty()), false),
            (dqap(), dequeued(none, StatusFlags::empty()), true),
            (dqap(), dequeued(none, StatusFlags::EMPTY), false),
            (nqap(), status(none), true),
            (rapq, status(normal), false),
        ] {
            let mut known = with(DEPTH - 1);
            known.remember(&instruction, &outcome);
            known.lost();
            assert_eq!(is_stranded(known), expected, "{instruction:?} {outcome:?}");
        }
        // A guest that resets the queue itself does not wait for it.
        let mut known = with(DEPTH);
        known.lost();
        known.follow(&rapq, &status(ResponseCode::RESET_IN_PROGRESS));
        assert!(!is_stranded(known));
        let mut known = with(DEPTH);
        known.lost();
        known.emptied();
        assert!(!is_stranded(known));
    }
}
