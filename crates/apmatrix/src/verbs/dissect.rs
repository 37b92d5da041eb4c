//! `apmatrix dissect`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::Context;
use crate::record::{self, as_json, line, verbose};

/// Print a recording decoded, one line for each instruction
#[derive(Debug, clap::Args)]
pub(super) struct Dissect {
    /// The recording
    file: PathBuf,
    /// The bytes of the messages too
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,
    /// One JSON object for each instruction
    #[arg(long)]
    json: bool,
}

impl Dissect {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let bytes = load(&self.file)?;
        let recording = record::read(&bytes).with_context(|| self.file.display().to_string())?;
        let out = &mut context.out;
        let start = recording
            .events
            .first()
            .map_or_else(Default::default, |event| event.at);
        for event in &recording.events {
            if self.json {
                writeln!(out, "{}", as_json(event))?;
                continue;
            }
            writeln!(out, "{}", line(event, start))?;
            if self.verbose {
                write!(out, "{}", verbose(event))?;
            }
        }
        if !self.json {
            writeln!(
                out,
                "{}: {} instructions, {} lost, secrets {}{}",
                recording.mdev,
                recording.events.len(),
                recording.dropped,
                if recording.has_secrets {
                    "included"
                } else {
                    "redacted"
                },
                if recording.is_complete {
                    ""
                } else {
                    "; the file was cut"
                }
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The bytes of a recording's file.
pub(super) fn load(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
