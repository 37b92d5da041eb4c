//! What a fault is.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use arch::{Apqn, Instruction, ResponseCode};

/// The instructions that name a queue, as faults are about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Mnemonic {
    /// Test queue.
    Tapq,
    /// Reset queue.
    Rapq,
    /// Zeroize queue.
    Zapq,
    /// Interruption control.
    Aqic,
    /// Query compatible type.
    Qact,
    /// Enqueue.
    Nqap,
    /// Dequeue.
    Dqap,
}

impl Mnemonic {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Tapq,
        Self::Rapq,
        Self::Zapq,
        Self::Aqic,
        Self::Qact,
        Self::Nqap,
        Self::Dqap,
    ];

    /// That of an instruction; QCI names no queue and has none.
    #[must_use]
    pub const fn of(instruction: &Instruction<'_>) -> Option<Self> {
        match instruction {
            Instruction::Tapq { .. } => Some(Self::Tapq),
            Instruction::Rapq { .. } => Some(Self::Rapq),
            Instruction::Zapq { .. } => Some(Self::Zapq),
            Instruction::Aqic { .. } => Some(Self::Aqic),
            Instruction::Qact { .. } => Some(Self::Qact),
            Instruction::Nqap { .. } => Some(Self::Nqap),
            Instruction::Dqap { .. } => Some(Self::Dqap),
            Instruction::Qci => None,
        }
    }

    /// As faults are written: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tapq => "tapq",
            Self::Rapq => "rapq",
            Self::Zapq => "zapq",
            Self::Aqic => "aqic",
            Self::Qact => "qact",
            Self::Nqap => "nqap",
            Self::Dqap => "dqap",
        }
    }

    /// The instruction with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    pub(crate) const fn is_reset(self) -> bool {
        matches!(self, Self::Rapq | Self::Zapq)
    }
}

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An instruction does nothing and answers this response code, which is not 00.
    ResponseCode {
        /// The instruction.
        instruction: Mnemonic,
        /// Its answer.
        code: ResponseCode,
    },
    /// A reset answers 00 and never ends; everything else answers 02 from then on.
    HangingReset,
    /// A request goes wrong in the card.
    Request(RequestFault),
}

/// What goes wrong with a request that the queue has accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestFault {
    /// The reply comes so much later.
    Slow(Duration),
    /// Request and reply are lost.
    Drop,
    /// The reply has other bytes at an offset.
    Corrupt {
        /// Offset in bytes.
        at: usize,
        /// The bytes, at least one.
        bytes: Vec<u8>,
    },
    /// The reply ends after so many bytes.
    Truncate(usize),
    /// The reply is a type 82 message with this code.
    ReplyCode(u8),
    /// The card model panics.
    Panic,
}

/// Whom a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaultTarget {
    /// Whoever executes on the queue.
    #[default]
    Anybody,
    /// The guest that has the queue.
    Guest,
    /// The partition's host.
    Host,
}

impl FaultTarget {
    pub(crate) const fn is_hit(self, is_guest: bool) -> bool {
        match self {
            Self::Anybody => true,
            Self::Guest => is_guest,
            Self::Host => !is_guest,
        }
    }
}

/// A fault as an operator orders it. Its text form is that of `apmatrix hmc inject`, see
/// [`Order::from_str`](std::str::FromStr).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The queue.
    pub apqn: Apqn,
    /// What goes wrong there.
    pub fault: Fault,
    /// After so many hits it is over.
    pub times: Option<NonZeroU32>,
    /// After this time it is over; the caller's timer sees to it.
    pub duration: Option<Duration>,
    /// Whom it hits.
    pub target: FaultTarget,
}

/// The number of a fault, never used twice by a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct FaultId(pub u64);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
