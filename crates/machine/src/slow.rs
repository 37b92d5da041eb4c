//! Resets that take time.
//!
//! A software queue is erased when RAPQ or ZAPQ returns, so by itself no reset ever takes time. Real
//! hardware has "reset in progress" (02), "busy" (05) and "state change in progress" (0A); the owner of
//! a machine orders them here, for tests of everything above and for faults on demand.
//!
//! ```text
//!                    RAPQ, ZAPQ while slow resets are ordered
//!   [operating] ---------------------------------------------> [resetting: 02, 05 or 0A]
//!        ^                                                        |
//!        +---- end_reset, or TAPQ has been answered so often, or --+
//!              the adapter is configured, recovered, replaced
//! ```
//! What the queue held is erased when the reset begins, however long it takes: nothing of a former
//! owner waits for its end. The reset itself answers 00 or the code. While it lasts every instruction
//! answers the code, or 02 after a reset that answered 00; TAPQ, which never answers 0A, says 02 then too.
//! The number of ordered resets goes down with each, so that software which
//! resets again after the first one finds a normal queue.
//!
//! There is no clock here. A reset of a certain time is one that lasts until
//! [`Machine::end_reset`](crate::Machine::end_reset), called by the owner's timer; one that hangs is one
//! for which that is never called:
//!
//! ```
//! use machine::{Lasts, Machine, PartitionConfig, SlowReset};
//! use arch::{ApInstructions, Apqn, ResponseCode};
//!
//! let partition = PartitionConfig::parse_spec("card 5 14 A; dom 4").unwrap();
//! let machine = Machine::new(&partition, Box::new(|_| ())).unwrap();
//! let queue = Apqn::new(5, 4);
//! let hang = SlowReset { code: ResponseCode::RESET_IN_PROGRESS, lasts: Lasts::UntilEnded, resets: 1 };
//! machine.slow_resets(queue, Some(hang)).unwrap();
//! assert_eq!(machine.host().zapq(queue).code, ResponseCode::RESET_IN_PROGRESS);
//! assert_eq!(machine.host().tapq(queue, true).0.code, ResponseCode::RESET_IN_PROGRESS);
//! machine.end_reset(queue);
//! assert_eq!(machine.host().tapq(queue, true).0.code, ResponseCode::NORMAL);
//! assert_eq!(machine.host().zapq(queue).code, ResponseCode::NORMAL);
//! ```

use arch::{Apqn, Instruction, ResponseCode};

use crate::Machine;

/// An order: the next resets of a queue take time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlowReset {
    /// What RAPQ and ZAPQ answer: 00, 02, 05 or 0A.
    pub code: ResponseCode,
    /// How long.
    pub lasts: Lasts,
    /// How many resets, not 0.
    pub resets: u32,
}

impl SlowReset {
    /// One reset that answers 00 and does not end by itself.
    pub(crate) const HANGING: Self = Self {
        code: ResponseCode::NORMAL,
        lasts: Lasts::UntilEnded,
        resets: 1,
    };
}

/// How long a slow reset lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// Until TAPQ has said this often that it has not ended.
    Tests(u32),
    /// Until [`Machine::end_reset`](crate::Machine::end_reset).
    UntilEnded,
}

/// Why a slow reset is not ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlowResetError {
    /// The partition does not have the queue.
    #[error("there is no queue {apqn}")]
    NoSuchQueue {
        /// The queue.
        apqn: Apqn,
    },
    /// Another code than 00, 02, 05 or 0A.
    #[error("a reset that takes time answers 00, 02, 05 or 0a, not {code}")]
    Code {
        /// The code.
        code: ResponseCode,
    },
}

/// The slow resets of one queue.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    ordered: Option<SlowReset>,
    /// The one that has not ended.
    running: Option<(ResponseCode, Lasts)>,
}

impl Slow {
    pub(crate) const fn order(&mut self, order: Option<SlowReset>) {
        self.ordered = order;
    }

    /// A reset was asked for: the code that it answers, when it takes time.
    pub(crate) fn begin(&mut self) -> Option<ResponseCode> {
        let order = self.ordered.as_mut()?;
        let begun = (order.code, order.lasts);
        order.resets -= 1;
        if order.resets == 0 {
            self.ordered = None;
        }
        self.running = (begun.1 != Lasts::Tests(0)).then_some(begun);
        Some(begun.0)
    }

    /// What an instruction answers while a reset is running.
    pub(crate) fn answer(&mut self, instruction: &Instruction<'_>) -> Option<ResponseCode> {
        let (code, lasts) = self.running?;
        let is_test = matches!(instruction, Instruction::Tapq { .. });
        if is_test && let Lasts::Tests(left) = lasts {
            self.running = (left > 1).then_some((code, Lasts::Tests(left - 1)));
        }
        Some(match code {
            ResponseCode::NORMAL => ResponseCode::RESET_IN_PROGRESS,
            ResponseCode::STATE_CHANGE if is_test => ResponseCode::RESET_IN_PROGRESS,
            other => other,
        })
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) const fn end(&mut self) {
        self.running = None;
    }
}

impl Machine {
    /// Orders that the next resets of a queue take time, or takes the order back. A reset that is
    /// running goes on.
    ///
    /// # Errors
    /// There is no such queue, or no such code.
    pub fn slow_resets(&self, apqn: Apqn, order: Option<SlowReset>) -> Result<(), SlowResetError> {
        if let Some(SlowReset { code, .. }) = order
            && !matches!(
                code,
                ResponseCode::NORMAL
                    | ResponseCode::RESET_IN_PROGRESS
                    | ResponseCode::BUSY
                    | ResponseCode::STATE_CHANGE
            )
        {
            return Err(SlowResetError::Code { code });
        }
        let queue = self
            .queue(apqn)
            .ok_or(SlowResetError::NoSuchQueue { apqn })?;
        queue.slow_resets(order.filter(|order| order.resets > 0));
        Ok(())
    }

    /// Ends the reset of a queue that is running; whether there was one.
    pub fn end_reset(&self, apqn: Apqn) -> bool {
        self.queue(apqn).is_some_and(|queue| queue.end_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPQ: Instruction<'static> = Instruction::Tapq {
        apqn: Apqn::new(5, 4),
        facilities: true,
    };
    const DQAP: Instruction<'static> = Instruction::Dqap {
        apqn: Apqn::new(5, 4),
    };

    #[test]
    fn a_reset_lasts_for_so_many_tests() {
        let mut slow = Slow::default();
        assert_eq!(slow.begin(), None);
        slow.order(Some(SlowReset {
            code: ResponseCode::STATE_CHANGE,
            lasts: Lasts::Tests(2),
            resets: 1,
        }));
        assert_eq!(slow.begin(), Some(ResponseCode::STATE_CHANGE));
        assert_eq!(slow.answer(&DQAP), Some(ResponseCode::STATE_CHANGE));
        for _ in 0..2 {
            assert_eq!(slow.answer(&TAPQ), Some(ResponseCode::RESET_IN_PROGRESS));
        }
        assert_eq!(slow.answer(&TAPQ), None);
        assert_eq!(slow.begin(), None, "the order is used up");
    }
}
