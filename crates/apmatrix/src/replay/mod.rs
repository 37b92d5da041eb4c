//! Recorded transcripts against our tree: through a real FUSE mount, or in process.

mod in_memory;
mod mounted;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use conformance::Target;
use machine::PartitionConfig;
use matrix::BootConfig;

use crate::daemon::{Daemon, Machinery, Options};
use crate::rundir::RunDir;

pub(crate) use in_memory::InMemory;
pub(crate) use mounted::Mounted;

/// A fresh machine for a case, in directories of its own that vanish with it.
#[derive(Debug)]
struct Fresh {
    daemon: Option<Daemon>,
    dir: PathBuf,
}

impl Fresh {
    fn boot(number: usize, spec: &str, mounts: bool) -> Result<Self> {
        let partition = PartitionConfig::parse_spec(spec)?;
        let dir =
            std::env::temp_dir().join(format!("apmatrix-replay-{}-{number}", std::process::id()));
        let daemon = Daemon::start(&Options {
            run_dir: RunDir::choose(Some(&dir.join("run")))?,
            state_dir: dir.join("state"),
            machine: Machinery {
                partition,
                boot: BootConfig::default(),
            },
            mounts,
            own_namespace: false,
        })?;
        Ok(Self {
            daemon: Some(daemon),
            dir,
        })
    }

    fn daemon(&self) -> Result<&Daemon, String> {
        self.daemon
            .as_ref()
            .ok_or_else(|| "the machine has not booted".to_owned())
    }

    /// The hardware changes, then the bus has rescanned.
    fn change(&self, spec: &str) -> Result<(), String> {
        let request = crate::control::Request::Set {
            spec: spec.to_owned(),
        };
        match self.daemon()?.console(request) {
            crate::control::Response::Refused(reason) => Err(reason),
            _ => Ok(()),
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

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
