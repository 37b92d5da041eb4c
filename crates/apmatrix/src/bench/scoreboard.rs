//! Rows of a benchmark: what was measured, what it should be, and whether it is.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

/// Columns for what a row is about.
const WIDTH: usize = 52;

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
    skipped: usize,
}

/// On which side of its goal a value is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Good {
    UpTo,
    From,
}

impl<'o> Scoreboard<'o> {
    /// A board without rows.
    pub(super) fn new(out: &'o mut dyn Write, judging: Judging) -> Self {
        Self {
            out,
            judging,
            met: 0,
            missed: 0,
            skipped: 0,
        }
    }

    /// A line that says what is going on.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// A row without a goal.
    pub(super) fn report(&mut self, what: &str, value: f64, unit: &str) -> Result<()> {
        self.say(&format!("{what:<WIDTH$} {value:>9.2} {unit:<4}"))
    }

    /// A row that is good up to `goal`.
    pub(super) fn judge(&mut self, what: &str, value: f64, unit: &str, goal: f64) -> Result<()> {
        self.compare(what, (value, unit), Good::UpTo, goal)
    }

    /// A row that is good from `goal` on.
    pub(super) fn judge_from(
        &mut self,
        what: &str,
        value: f64,
        unit: &str,
        goal: f64,
    ) -> Result<()> {
        self.compare(what, (value, unit), Good::From, goal)
    }

    /// Rows that cannot be measured here. They are neither met nor missed; under `CI=true`, where everything
    /// must be there, a benchmark with such rows fails.
    pub(super) fn skip(&mut self, rows: &[&str], reason: &str) -> Result<()> {
        for what in rows {
            self.skipped += 1;
            self.say(&format!("{what:<WIDTH$}   SKIPPED: {reason}"))?;
        }
        Ok(())
    }

    /// Rows whose measurement failed: each is a miss, and the benchmark goes on.
    pub(super) fn fail(&mut self, rows: &[&str], reason: &str) -> Result<()> {
        for what in rows {
            self.missed += 1;
            self.say(&format!("{what:<WIDTH$}   FAILED: {reason}"))?;
        }
        Ok(())
    }

    fn compare(
        &mut self,
        what: &str,
        (value, unit): (f64, &str),
        good: Good,
        goal: f64,
    ) -> Result<()> {
        let (is_good, sign) = match good {
            Good::UpTo => (value <= goal, "<="),
            Good::From => (value >= goal, ">="),
        };
        let verdict = match (self.judging, is_good) {
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
            "{what:<WIDTH$} {value:>9.2} {unit:<4} goal {sign} {goal:.2} {unit:<4} {verdict}"
        ))
    }

    /// The last line; the exit code is 1 when a goal was missed.
    pub(super) fn finish(self) -> Result<ExitCode> {
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        self.finish_under(is_ci)
    }

    fn finish_under(mut self, is_ci: bool) -> Result<ExitCode> {
        if self.skipped > 0 {
            let line = format!("{} rows skipped", self.skipped);
            self.say(&line)?;
        }
        let line = format!("{} met, {} missed", self.met, self.missed);
        self.say(&line)?;
        let lacks = is_ci && self.judging == Judging::Strict && self.skipped > 0;
        Ok(if self.missed == 0 && !lacks {
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

    #[test]
    fn a_ratio_that_must_be_high_misses_below_its_goal() {
        let mut out = Vec::new();
        let mut board = Scoreboard::new(&mut out, Judging::Strict);
        board.judge_from("high", 0.96, "x", 0.95).unwrap();
        board.judge_from("low", 0.94, "x", 0.95).unwrap();
        board.judge_from("no number", f64::NAN, "x", 0.95).unwrap();
        assert_eq!(board.finish().unwrap(), ExitCode::FAILURE);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("1 met, 2 missed\n"), "{text}");
    }

    #[test]
    fn a_measurement_that_fails_is_a_miss_for_each_of_its_rows() {
        let mut out = Vec::new();
        let mut board = Scoreboard::new(&mut out, Judging::Off);
        board.fail(&["one row", "another"], "no answer").unwrap();
        assert_eq!(board.finish().unwrap(), ExitCode::FAILURE);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("0 met, 2 missed\n"), "{text}");
        assert_eq!(text.matches("FAILED: no answer\n").count(), 2);
    }

    #[test]
    fn what_is_skipped_fails_only_where_everything_must_be_there() {
        for (judging, is_ci, code) in [
            (Judging::Strict, false, ExitCode::SUCCESS),
            (Judging::Strict, true, ExitCode::FAILURE),
            (Judging::Off, true, ExitCode::SUCCESS),
        ] {
            let mut out = Vec::new();
            let mut board = Scoreboard::new(&mut out, judging);
            board.skip(&["one row", "another"], "no reason").unwrap();
            assert_eq!(board.finish_under(is_ci).unwrap(), code);
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.ends_with("2 rows skipped\n0 met, 0 missed\n"),
                "{text}"
            );
            assert_eq!(text.matches("SKIPPED: no reason\n").count(), 2);
        }
    }
}
