//! `apmatrix log`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::Context;
use crate::control::{Refusal, Request, Response};

/// Show what was refused last, and why
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let Response::Log(log) = context.ask(&Request::Log)? else {
            bail!("the daemon answered nonsense");
        };
        if self.json {
            writeln!(context.out, "{}", serde_json::to_string_pretty(&log)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        for entry in &log {
            let text = entry.text.trim_end();
            writeln!(
                context.out,
                "{:>4}  {}  {}  {text:?}  {}{}",
                entry.number,
                entry.errno,
                entry.what,
                entry.reason,
                by(entry)
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Who was refused, as the end of a line; empty when nobody knows.
pub(super) fn by(entry: &Refusal) -> String {
    match &entry.writer {
        Some(writer) if writer.pid == 0 => "  (by a process out of sight)".to_owned(),
        Some(writer) if writer.command.is_empty() => format!("  (by process {})", writer.pid),
        Some(writer) => format!("  (by {}, process {})", writer.command, writer.pid),
        None => String::new(),
    }
}
