//! What a guest is told while nobody answers for its queues.
//!
//! The guest keeps the devices it knows. Its queues are in reset, because closing the device resets
//! them, and what was in them is gone:
//!
//! | instruction | for a queue that the guest knows | for any other |
//! |---|---|---|
//! | QCI | the last block | |
//! | TAPQ | 02 and the last hardware information | 01 |
//! | DQAP | 10 and "empty": no reply will come for what was sent | 01 |
//! | NQAP, RAPQ, ZAPQ, AQIC, QACT | 02 | 01 |
//!
//! DQAP does not say 02 as the others do. A driver takes that for a broken queue: Linux ends the
//! queue's requests and gives the queue up until its next scan of the bus, half a minute later, while
//! "no reply and empty" is what it sees after any reset and makes it send its requests again. NQAP
//! then puts it into the state in which it waits for the end of a reset, for as long as it takes.

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
    /// Hardware information of the queues that the guest has seen: "reset in progress" needs it,
    /// and a queue that it never saw must not appear while the daemon is away.
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

    /// The outcome of `instruction` while the daemon is away.
    pub(crate) fn answer(&self, instruction: &Instruction<'_>) -> Outcome {
        let known = instruction.apqn().and_then(|apqn| self.queues.get(&apqn));
        match (instruction, known) {
            (Instruction::Qci, _) => Outcome::Qci(self.qci),
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
