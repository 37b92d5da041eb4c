//! Recorded transcripts against our tree: through a real FUSE mount, or in process.

mod in_memory;
mod mounted;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use conformance::Target;

pub(crate) use in_memory::InMemory;
pub(crate) use mounted::Mounted;

/// The outcome of a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Cases whose every answer was the recorded one.
    pub(crate) passed: usize,
    /// The others.
    pub(crate) failed: usize,
}

/// Replays the cases of `files`; `report` gets a line per case and the first difference of a failed
/// one.
///
/// # Errors
/// When a file cannot be read or is no transcript.
pub(crate) fn replay(
    files: &[PathBuf],
    target: &mut dyn Target,
    report: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    for file in files {
        for case in &read(file)? {
            match conformance::run_case(case, target) {
                conformance::Verdict::Passed => {
                    tally.passed += 1;
                    report(&format!("ok      {}", case.name))?;
                }
                conformance::Verdict::Failed(difference) => {
                    tally.failed += 1;
                    report(&format!("FAILED  {}\n{difference}", case.name))?;
                }
            }
        }
    }
    Ok(tally)
}

fn read(file: &Path) -> Result<Vec<conformance::Case>> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    Ok(conformance::parse(&shown, &text)?)
}
