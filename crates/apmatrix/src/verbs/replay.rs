//! `apmatrix replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::namespace;
use crate::replay::{InMemory, Mounted, replay};

/// Replay transcripts recorded from the real driver, each case on a fresh machine
///
/// One line per case, with the first difference of a failed one; the last line counts them. Exit code
/// 1 if any failed.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// Without FUSE: ask the tree in memory
    #[arg(long)]
    in_process: bool,
    /// Transcript files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Replay {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let out = &mut context.out;
        let mut report = |line: &str| Ok(writeln!(out, "{line}")?);
        let tally = if self.in_process {
            replay(&self.files, &mut InMemory::default(), &mut report)?
        } else {
            if namespace::is_needed() {
                namespace::become_private_root()?;
            }
            replay(&self.files, &mut Mounted::default(), &mut report)?
        };
        writeln!(out, "{} passed, {} failed", tally.passed, tally.failed)?;
        Ok(if tally.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
