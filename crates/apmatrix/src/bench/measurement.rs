//! A measurement against goals from its first line to its last: how much, on which machine, how busy that
//! was, the rows, the verdict.

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;

use super::rounds::load;
use super::scoreboard::{Judging, Scoreboard};

/// How much is measured in a whole run and in one that only shows that it works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent<S> {
    /// Its goals are judged.
    pub(super) full: S,
    /// Its goals are not.
    pub(super) smoke: S,
}

/// Measures what `rows` adds to the board.
///
/// # Errors
/// Those of `rows`. A goal that is missed is an exit code.
pub(super) fn run<S>(
    out: &mut dyn Write,
    extent: Extent<S>,
    smoke: bool,
    rows: impl FnOnce(&mut Scoreboard<'_>, S) -> Result<()>,
) -> Result<ExitCode> {
    let (sizes, judging) = if smoke {
        (extent.smoke, Judging::Off)
    } else {
        (extent.full, Judging::Strict)
    };
    let mut board = Scoreboard::new(out, judging);
    describe(&mut board)?;
    rows(&mut board, sizes)?;
    say_load(&mut board, "at the end")?;
    board.finish()
}

/// The machine, and the version of what is measured.
fn describe(board: &mut Scoreboard<'_>) -> Result<()> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown CPU", |(_, model)| model.trim());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    board.say(&format!(
        "{cores} cores of {model}, {} {}",
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy()
    ))?;
    board.say(&format!(
        "apmatrix {} with {}",
        env!("CARGO_PKG_VERSION"),
        cex::reference::version()
    ))?;
    say_load(board, "at the start")
}

/// A busy machine is a reason to look at absolute times twice.
fn say_load(board: &mut Scoreboard<'_>, when: &str) -> Result<()> {
    let load = load();
    let note = if when == "at the start" && load > 0.5 {
        ": the machine is busy with something else"
    } else {
        ""
    };
    board.say(&format!("load {when}: {load:.2}{note}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent<f64> = Extent {
        full: 2.0,
        smoke: 1.0,
    };

    fn measure(smoke: bool) -> (String, ExitCode) {
        let mut out = Vec::new();
        let rows = |board: &mut Scoreboard<'_>, size| board.judge("row", size, "s", 0.5);
        let code = run(&mut out, EXTENT, smoke, rows).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn goals_are_judged_in_a_whole_run_only() {
        let (text, code) = measure(false);
        assert!(text.contains(" 2.00 s") && text.ends_with("0 met, 1 missed\n"));
        assert_eq!(code, ExitCode::FAILURE);
        let (text, code) = measure(true);
        assert!(text.contains(" 1.00 s") && text.ends_with("0 met, 0 missed\n"));
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn the_machine_comes_first_and_its_load_last() {
        let (text, _) = measure(true);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(" cores of "), "{text}");
        assert!(lines[1].starts_with("apmatrix "), "{text}");
        assert!(lines[2].starts_with("load at the start: "), "{text}");
        assert!(lines[4].starts_with("load at the end: "), "{text}");
    }
}
