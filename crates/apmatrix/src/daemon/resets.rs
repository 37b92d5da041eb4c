//! Who waits for resets that take time, and the time that these take.
//!
//! ```text
//!   command --> began resets that go on? --no--> answered
//!                        | yes
//!                        v
//!                     waiting --> ResetEnded for the last of its queues --> answered
//! ```
//! Control does not wait: the host says when it is to be told how much time has passed, that is one
//! more timer, and what it says then answers whoever waits. A hung reset costs one entry here.

use std::time::{Duration, Instant};

use arch::{Apqn, Errno, ResponseCode};
use matrix::{Command, Outcome};

use super::control::{Answer, Control};

/// Answers that wait for resets.
#[derive(Default)]
pub(super) struct Waits(Vec<Wait>);

struct Wait {
    queues: Vec<Apqn>,
    result: Option<Result<(), Errno>>,
    answer: Answer,
}

/// What somebody is told when the resets have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// That it is done, however the resets ended: a write, or a close.
    Done,
    /// EIO if one did not end well: RESET (spec 5.3).
    Reset,
}

impl Waits {
    /// A reset has ended.
    pub(super) fn ended(&mut self, apqn: Apqn, code: ResponseCode) {
        let waiting = std::mem::take(&mut self.0);
        for mut wait in waiting {
            let before = wait.queues.len();
            wait.queues.retain(|queue| *queue != apqn);
            let failed = wait.queues.len() < before && code != ResponseCode::NORMAL;
            if failed && let Some(result) = &mut wait.result {
                *result = Err(Errno::EIO);
            }
            if wait.queues.is_empty() {
                (wait.answer)(wait.result.unwrap_or(Ok(())));
            } else {
                self.0.push(wait);
            }
        }
    }

    /// The resets are of no interest any more. What was written is done and kept; a RESET was not.
    pub(super) fn give_up(&mut self) {
        for wait in std::mem::take(&mut self.0) {
            (wait.answer)(wait.result.map_or(Ok(()), |_| Err(Errno::ENODEV)));
        }
    }
}

impl Control {
    /// Answers a command now, or when its resets have ended.
    pub(super) fn answer_after_resets(&mut self, outcome: Outcome, report: Report, answer: Answer) {
        let reports = |failed| {
            let result = if failed { Err(Errno::EIO) } else { Ok(()) };
            (report == Report::Reset).then_some(result)
        };
        match outcome {
            Outcome::Resetting { queues, failed } => self.waits.0.push(Wait {
                queues,
                result: reports(failed),
                answer,
            }),
            Outcome::ResetFailed { .. } => answer(reports(true).unwrap_or(Ok(()))),
            Outcome::Done | Outcome::Pending(_) => answer(Ok(())),
        }
    }

    /// When the host is to be told the time at the latest.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let left: Duration = self.host.next_look()?;
        Some(self.clock + left)
    }

    /// Tells the host how much time has passed, if a reset waits for it.
    pub(super) fn let_time_pass(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.clock);
        self.clock = now;
        if self.host.next_look().is_some()
            && let Err(error) = self.commit_fact(&Command::TimePassed(passed))
        {
            tracing::error!("a reset cannot be looked at: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn wait(
        queues: &[Apqn],
        result: Option<Result<(), Errno>>,
    ) -> (Wait, Receiver<Result<(), Errno>>) {
        let (sender, receiver) = channel();
        let answer: Answer = Box::new(move |result| sender.send(result).unwrap());
        let queues = queues.to_vec();
        let wait = Wait {
            queues,
            result,
            answer,
        };
        (wait, receiver)
    }

    #[test]
    fn each_is_answered_with_its_last_queue() {
        let (a, b) = (Apqn::new(5, 4), Apqn::new(6, 4));
        let (write, written) = wait(&[a, b], None);
        let (reset, was_reset) = wait(&[b], Some(Ok(())));
        let mut waits = Waits(vec![write, reset]);
        waits.ended(a, ResponseCode::DECONFIGURED);
        assert!(written.try_recv().is_err());
        waits.ended(b, ResponseCode::CHECKSTOPPED);
        assert_eq!(written.try_recv(), Ok(Ok(())));
        assert_eq!(was_reset.try_recv(), Ok(Err(Errno::EIO)));
        assert!(waits.0.is_empty());
    }

    #[test]
    fn in_the_end_writes_are_done_and_a_reset_is_not() {
        let (write, written) = wait(&[Apqn::new(5, 4)], None);
        let (reset, was_reset) = wait(&[Apqn::new(5, 4)], Some(Ok(())));
        Waits(vec![write, reset]).give_up();
        assert_eq!(written.try_recv(), Ok(Ok(())));
        assert_eq!(was_reset.try_recv(), Ok(Err(Errno::ENODEV)));
    }
}
