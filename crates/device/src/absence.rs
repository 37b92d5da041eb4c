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
//! `ring::held` counts what a queue holds.

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
    /// The queues that the guest has seen, with their hardware information, which "reset in progress"
    /// needs: one that it never saw must not appear while the daemon is away.
    queues: BTreeMap<Apqn, HwInfo>,
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
                    self.queues.insert(*apqn, *info);
                } else {
                    self.queues.remove(apqn);
                }
            }
            (_, Outcome::Qci(block)) => self.configured(*block),
            _ => {}
        }
    }

    /// The outcome of `instruction` while the daemon is away. `enabled` says whether the guest has enabled
    /// the interruptions of its queue.
    pub(crate) fn answer(&self, instruction: &Instruction<'_>, enabled: bool) -> Outcome {
        let known = instruction.apqn().and_then(|apqn| self.queues.get(&apqn));
        match (instruction, known) {
            (Instruction::Qci, _) => Outcome::Qci(self.qci),
            (Instruction::Tapq { facilities, .. }, Some(info)) if enabled && !facilities => {
                let flags = StatusFlags::EMPTY | StatusFlags::INTERRUPTS;
                Outcome::Tapq {
                    status: QueueStatus::new(ResponseCode::NORMAL, flags),
                    info: *info,
                }
            }
            (Instruction::Tapq { .. }, Some(info)) => Outcome::Tapq {
                status: QueueStatus::code_only(ResponseCode::RESET_IN_PROGRESS),
                info: *info,
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
