//! Rows of a benchmark: what was measured, what it should be, and whether it is.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

/// Whether rows are compared with their goals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judging {
    /// A row that misses its goal makes the benchmark fail.
    Strict,
    /// Numbers of a run that is too small to say anything: goals are printed, nothing fails.
    Off,
}

/// Prints rows and counts goals.
pub(super) struct Scoreboard<'o> {
    out: &'o mut dyn Write,
    judging: Judging,
    met: usize,
    missed: usize,
}

impl<'o> Scoreboard<'o> {
    /// A board without rows.
    pub(super) fn new(out: &'o mut dyn Write, judging: Judging) -> Self {
        Self {
            out,
            judging,
            met: 0,
            missed: 0,
        }
    }

    /// A line that says what is going on.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// A row without a goal.
    pub(super) fn report(&mut self, what: &str, value: f64, unit: &str) -> Result<()> {
        self.say(&format!("{what:<44} {value:>8.2} {unit:<4}"))
    }

    /// A row that is good up to `goal`.
    pub(super) fn judge(&mut self, what: &str, value: f64, unit: &str, goal: f64) -> Result<()> {
        let verdict = match (self.judging, value <= goal) {
            (Judging::Off, _) => "not judged",
            (Judging::Strict, true) => {
                self.met += 1;
                "met"
            }
            (Judging::Strict, false) => {
                self.missed += 1;
                "MISSED"
            }
        };
        self.say(&format!(
            "{what:<44} {value:>8.2} {unit:<4} goal <= {goal:.2} {unit:<4} {verdict}"
        ))
    }

    /// The last line; the exit code is 1 when a goal was missed.
    pub(super) fn finish(mut self) -> Result<ExitCode> {
        let line = format!("{} met, {} missed", self.met, self.missed);
        self.say(&line)?;
        Ok(if self.missed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(judging: Judging, values: &[f64]) -> (String, ExitCode) {
        let mut out = Vec::new();
        let mut board = Scoreboard::new(&mut out, judging);
        for value in values {
            board.judge("row", *value, "s", 5.0).unwrap();
        }
        let code = board.finish().unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn a_missed_goal_fails_and_the_last_line_counts() {
        let (text, code) = run(Judging::Strict, &[4.9, 5.1, 5.0]);
        assert!(text.ends_with("2 met, 1 missed\n"), "{text}");
        assert_eq!(text.matches("MISSED").count(), 1);
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(run(Judging::Strict, &[1.0]).1, ExitCode::SUCCESS);
        // A value that is no number is never good.
        assert_eq!(run(Judging::Strict, &[f64::NAN]).1, ExitCode::FAILURE);
    }

    #[test]
    fn a_run_that_is_not_judged_cannot_fail() {
        let (text, code) = run(Judging::Off, &[99.0]);
        assert!(text.ends_with("0 met, 0 missed\n"), "{text}");
        assert_eq!(code, ExitCode::SUCCESS);
    }
}
