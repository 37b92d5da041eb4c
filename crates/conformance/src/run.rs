//! Replaying a case.

use std::fmt;

use arch::Errno;

use crate::transcript::{Action, Answer, Case};

/// Why a call on a file failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// open(2) failed.
    Open(Errno),
    /// The call after it failed, or a call that needs no open (readlink, stat).
    Call(Errno),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Open(errno) => Self::OpenFailed(errno),
            Failure::Call(errno) => Self::Failed(errno),
        }
    }
}

/// A machine with a sysfs tree that a transcript can be replayed on. Paths are relative to the root
/// of sysfs, without a leading slash.
pub trait Target {
    /// A fresh machine with the hardware of SPEC.
    ///
    /// # Errors
    /// What kept the machine from starting.
    fn boot(&mut self, spec: &str) -> Result<(), String>;

    /// Replaces the hardware; returns when the bus has rescanned.
    ///
    /// # Errors
    /// What kept the hardware from changing.
    fn change_host(&mut self, spec: &str) -> Result<(), String>;

    /// Opens for writing, writes once, closes; how many bytes the write took.
    ///
    /// # Errors
    /// The failed call and its errno.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Failure>;

    /// Reads to the end.
    ///
    /// # Errors
    /// The failed call and its errno.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure>;

    /// Names in a directory in byte order of the bare names, then `/` behind directories and `@`
    /// behind links.
    ///
    /// # Errors
    /// The errno of opendir.
    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno>;

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// The errno of readlink.
    fn readlink(&mut self, path: &str) -> Result<String, Errno>;

    /// Permission bits.
    ///
    /// # Errors
    /// The errno of stat.
    fn mode(&mut self, path: &str) -> Result<u16, Errno>;
}

/// The first answer of a case that differs from the recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Line of the action in its file; 0 for the boot.
    pub line: usize,
    /// The action as in the transcript.
    pub action: String,
    /// What Linux answered.
    pub expected: String,
    /// What the target answered.
    pub answered: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: {}", self.line, self.action)?;
        writeln!(f, "  expected {}", self.expected)?;
        write!(f, "  answered {}", self.answered)
    }
}

/// The result of one case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every answer was the recorded one.
    Passed,
    /// The case stopped at its first difference.
    Failed(Box<Difference>),
}

/// Replays a case on a fresh machine.
pub fn run_case(case: &Case, target: &mut dyn Target) -> Verdict {
    let failed = |line, action: String, expected: String, answered: String| {
        Verdict::Failed(Box::new(Difference {
            line,
            action,
            expected,
            answered,
        }))
    };
    if let Err(problem) = target.boot(&case.host) {
        return failed(
            0,
            format!("host {}", case.host),
            String::from("ok"),
            problem,
        );
    }
    for step in &case.steps {
        let answered = match perform(&step.action, target) {
            Ok(answer) if answer == step.expected => continue,
            Ok(answer) => answer.to_string(),
            Err(problem) => problem,
        };
        let expected = step.expected.to_string();
        return failed(step.line, step.action.to_string(), expected, answered);
    }
    Verdict::Passed
}

/// Performs one action; `Err` when the target itself failed.
fn perform(action: &Action, target: &mut dyn Target) -> Result<Answer, String> {
    Ok(match action {
        Action::Host(spec) => {
            target.change_host(spec)?;
            Answer::Ok
        }
        Action::Write(path, bytes) => match target.write(path, bytes) {
            Ok(taken) if taken == bytes.len() => Answer::Ok,
            Ok(taken) => Answer::Short(taken),
            Err(failure) => failure.into(),
        },
        Action::Read(path) => target.read(path).map_or_else(Answer::from, Answer::Content),
        Action::List(path) => target.list(path).map_or_else(Answer::Failed, Answer::Names),
        Action::ReadLink(path) => target
            .readlink(path)
            .map_or_else(Answer::Failed, Answer::Target),
        Action::Mode(path) => target.mode(path).map_or_else(Answer::Failed, Answer::Mode),
    })
}
