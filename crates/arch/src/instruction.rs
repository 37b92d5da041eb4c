//! The AP instructions as values, and the trait of whoever executes them.
//!
//! An instruction never fails in the Rust sense: what the architecture answers is an [`Outcome`],
//! a value with a response code, also when the queue does not exist.

use crate::aqic::AqicControl;
use crate::facility::Facilities;
use crate::ids::Apqn;
use crate::qci::QciBlock;
use crate::status::{QueueStatus, ResponseCode};
use crate::tapq::HwInfo;

/// One AP instruction with its operands (spec 1.5 and 1.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction<'m> {
    /// PQAP fc 0: test queue. `facilities` is the T bit.
    Tapq {
        /// The queue.
        apqn: Apqn,
        /// Ask for full hardware information (T bit).
        facilities: bool,
    },
    /// PQAP fc 1: reset queue.
    Rapq {
        /// The queue.
        apqn: Apqn,
        /// F bit.
        force: bool,
    },
    /// PQAP fc 2: reset and zeroize queue.
    Zapq {
        /// The queue.
        apqn: Apqn,
        /// F bit.
        force: bool,
    },
    /// PQAP fc 3: interruption control.
    Aqic {
        /// The queue.
        apqn: Apqn,
        /// GR1: what is asked.
        control: AqicControl,
        /// GR2: absolute address of the notification indicator byte.
        nib: u64,
    },
    /// PQAP fc 4: query configuration information.
    Qci,
    /// PQAP fc 5: query compatible type.
    Qact {
        /// The queue.
        apqn: Apqn,
        /// GR1: mode in bits 60..58, highest type the caller knows in bits 31..24.
        info: u64,
    },
    /// NQAP: enqueue a message. The last-part bit is always set.
    Nqap {
        /// The queue.
        apqn: Apqn,
        /// Program supplied message identifier; the reply carries it.
        psmid: u64,
        /// The special command bit of GR0.
        special: bool,
        /// The message.
        message: &'m [u8],
    },
    /// DQAP: dequeue a reply into the buffer given to [`ApInstructions::execute`].
    Dqap {
        /// The queue.
        apqn: Apqn,
    },
}

impl Instruction<'_> {
    /// The queue that the instruction names; QCI names none.
    #[must_use]
    pub const fn apqn(&self) -> Option<Apqn> {
        match self {
            Self::Tapq { apqn, .. }
            | Self::Rapq { apqn, .. }
            | Self::Zapq { apqn, .. }
            | Self::Aqic { apqn, .. }
            | Self::Qact { apqn, .. }
            | Self::Nqap { apqn, .. }
            | Self::Dqap { apqn } => Some(*apqn),
            Self::Qci => None,
        }
    }
}

/// Program interruptions that the AP instructions can end with (spec 1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u16)]
pub enum ProgramException {
    /// The instruction is not installed.
    Operation = 0x0001,
    /// The program runs in problem state.
    PrivilegedOperation = 0x0002,
    /// The operand cannot be stored to.
    Protection = 0x0004,
    /// The operand's address is outside the guest's memory.
    Addressing = 0x0005,
    /// A register holds something undefined.
    Specification = 0x0006,
}

impl ProgramException {
    /// The program interruption code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The exception with this interruption code.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            0x0001 => Some(Self::Operation),
            0x0002 => Some(Self::PrivilegedOperation),
            0x0004 => Some(Self::Protection),
            0x0005 => Some(Self::Addressing),
            0x0006 => Some(Self::Specification),
            _ => None,
        }
    }
}

/// What an instruction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instruction was suppressed.
    Exception(ProgramException),
    /// RAPQ, ZAPQ, AQIC, NQAP.
    Status(QueueStatus),
    /// TAPQ.
    Tapq {
        /// GR1.
        status: QueueStatus,
        /// GR2; zero unless [`QueueStatus::queue_exists`].
        info: HwInfo,
    },
    /// QCI: the block to store.
    Qci(QciBlock),
    /// QACT.
    Qact {
        /// GR1.
        status: QueueStatus,
        /// GR2: compatible type in bits 31..24.
        info: u64,
    },
    /// DQAP.
    Dqap(Dequeued),
}

/// The result of DQAP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dequeued {
    /// GR1.
    pub status: QueueStatus,
    /// Identifier of the reply's request; meaningful when a reply ended with this instruction.
    pub psmid: u64,
    /// Bytes stored into the buffer.
    pub stored: usize,
    /// Bytes of the reply that did not fit; the next DQAP continues there.
    pub residual: usize,
}

impl Dequeued {
    /// No reply, for the reason in `status`.
    #[must_use]
    pub const fn nothing(status: QueueStatus) -> Self {
        Self {
            status,
            psmid: 0,
            stored: 0,
            residual: 0,
        }
    }
}

impl Outcome {
    /// The status word, if the outcome has one.
    #[must_use]
    pub const fn status(&self) -> Option<QueueStatus> {
        match self {
            Self::Status(status) | Self::Tapq { status, .. } | Self::Qact { status, .. } => {
                Some(*status)
            }
            Self::Dqap(dequeued) => Some(dequeued.status),
            Self::Exception(_) | Self::Qci(_) => None,
        }
    }

    /// The outcome of `instruction` when there is no queue behind it: the code alone.
    #[must_use]
    pub const fn refused(instruction: &Instruction<'_>, code: ResponseCode) -> Self {
        Self::status_only(instruction, QueueStatus::code_only(code))
    }

    /// The outcome of `instruction` when its queue answers a status and nothing else.
    #[must_use]
    pub const fn status_only(instruction: &Instruction<'_>, status: QueueStatus) -> Self {
        match instruction {
            Instruction::Tapq { .. } => Self::Tapq {
                status,
                info: HwInfo(0),
            },
            Instruction::Qact { .. } => Self::Qact { status, info: 0 },
            Instruction::Dqap { .. } => Self::Dqap(Dequeued::nothing(status)),
            Instruction::Qci
            | Instruction::Rapq { .. }
            | Instruction::Zapq { .. }
            | Instruction::Aqic { .. }
            | Instruction::Nqap { .. } => Self::Status(status),
        }
    }
}

/// Whoever executes the AP instructions: a machine for its host, a device channel for a guest.
///
/// Implement [`execute`](Self::execute); the other methods are the same thing with typed results.
pub trait ApInstructions {
    /// The facilities that the executing CPU shows.
    fn facilities(&self) -> Facilities;

    /// Executes one instruction. `reply` is the buffer of DQAP; other instructions ignore it.
    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome;

    /// Test queue; `facilities` is the T bit.
    fn tapq(&mut self, apqn: Apqn, facilities: bool) -> (QueueStatus, HwInfo) {
        match self.execute(&Instruction::Tapq { apqn, facilities }, &mut []) {
            Outcome::Tapq { status, info } => (status, info),
            other => (status_or_unavailable(&other), HwInfo(0)),
        }
    }

    /// Reset queue.
    fn rapq(&mut self, apqn: Apqn) -> QueueStatus {
        status_or_unavailable(&self.execute(&Instruction::Rapq { apqn, force: false }, &mut []))
    }

    /// Reset and zeroize queue.
    fn zapq(&mut self, apqn: Apqn) -> QueueStatus {
        status_or_unavailable(&self.execute(&Instruction::Zapq { apqn, force: false }, &mut []))
    }

    /// Interruption control; `nib` is the absolute address of the notification byte.
    fn aqic(&mut self, apqn: Apqn, control: AqicControl, nib: u64) -> QueueStatus {
        status_or_unavailable(&self.execute(&Instruction::Aqic { apqn, control, nib }, &mut []))
    }

    /// Query configuration; `None` when the facility is not installed.
    fn qci(&mut self) -> Option<QciBlock> {
        if !self.facilities().contains(Facilities::APQCI) {
            return None;
        }
        match self.execute(&Instruction::Qci, &mut []) {
            Outcome::Qci(block) => Some(block),
            _ => None,
        }
    }

    /// Query compatible type; returns GR2.
    fn qact(&mut self, apqn: Apqn, info: u64) -> (QueueStatus, u64) {
        match self.execute(&Instruction::Qact { apqn, info }, &mut []) {
            Outcome::Qact { status, info } => (status, info),
            other => (status_or_unavailable(&other), 0),
        }
    }

    /// Enqueue `message` under the identifier `psmid`.
    fn nqap(&mut self, apqn: Apqn, psmid: u64, special: bool, message: &[u8]) -> QueueStatus {
        let instruction = Instruction::Nqap {
            apqn,
            psmid,
            special,
            message,
        };
        status_or_unavailable(&self.execute(&instruction, &mut []))
    }

    /// Dequeue a reply into `buffer`.
    fn dqap(&mut self, apqn: Apqn, buffer: &mut [u8]) -> Dequeued {
        match self.execute(&Instruction::Dqap { apqn }, buffer) {
            Outcome::Dqap(dequeued) => dequeued,
            other => Dequeued::nothing(status_or_unavailable(&other)),
        }
    }
}

/// An exception has no status; to a caller that asked for one the queue is not available.
fn status_or_unavailable(outcome: &Outcome) -> QueueStatus {
    outcome
        .status()
        .unwrap_or(QueueStatus::code_only(ResponseCode::NOT_AVAILABLE))
}

impl<T: ApInstructions + ?Sized> ApInstructions for &mut T {
    fn facilities(&self) -> Facilities {
        (**self).facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        (**self).execute(instruction, reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_alone_takes_the_form_of_the_instruction() {
        let apqn = Apqn::new(5, 4);
        let status = QueueStatus::code_only(ResponseCode::BUSY);
        let message = &[1][..];
        for instruction in [
            Instruction::Tapq {
                apqn,
                facilities: true,
            },
            Instruction::Rapq { apqn, force: false },
            Instruction::Zapq { apqn, force: false },
            Instruction::Aqic {
                apqn,
                control: AqicControl::DISABLE,
                nib: 0,
            },
            Instruction::Qact { apqn, info: 1 },
            Instruction::Nqap {
                apqn,
                psmid: 1,
                special: false,
                message,
            },
            Instruction::Dqap { apqn },
        ] {
            let outcome = Outcome::status_only(&instruction, status);
            assert_eq!(outcome.status(), Some(status), "{instruction:?}");
            assert_eq!(Outcome::refused(&instruction, ResponseCode::BUSY), outcome);
        }
    }
}
