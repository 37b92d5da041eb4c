//! What a queue's state offers to faults.

use arch::{Instruction, Outcome, ResponseCode};

use super::{Condition, Job, Requester, State};
use crate::slow::SlowReset;

impl State {
    /// Whether an instruction of `requester` would be executed: only then can a fault hit it.
    pub(crate) fn executes_for(&self, requester: Requester) -> bool {
        let is_theirs = match requester {
            Requester::Host => true,
            Requester::Guest(id) => self.guest == Some(id),
        };
        is_theirs && self.condition == Condition::Operating
    }

    /// The answer to an instruction that is not executed, with this code.
    pub(crate) fn answer(&self, instruction: &Instruction<'_>, code: ResponseCode) -> Outcome {
        match instruction {
            _ if code == ResponseCode::NOT_AVAILABLE => Outcome::refused(instruction, code),
            Instruction::Tapq { .. } if code.queue_exists() => self.tapq(code),
            other => Outcome::status_only(other, self.status(code)),
        }
    }

    /// The reset that is about to be executed will hang. One that only learns that another is under way is
    /// none, and must leave nothing behind that would make a later one hang when the fault is over.
    pub(crate) const fn hang_reset(&mut self) {
        if !self.slow.is_running() {
            self.slow.order(Some(SlowReset::HANGING));
        }
    }

    /// Takes a job back that gets no answer: the queue does not hold it any more.
    pub(crate) fn lose(&mut self, job: Job) -> bool {
        if !self.is_orphan(&job) {
            self.running -= 1;
            if job.held.ported && self.ported.in_use().is_some() {
                self.ported.running -= 1;
            }
            self.pool.give_back(job.held.buffer);
        }
        self.load().waiting > 0
    }

    /// Whether nobody waits for a job any more.
    pub(crate) const fn is_orphan(&self, job: &Job) -> bool {
        self.generation != job.generation
    }
}
