//! Measurements for users: each prints its numbers as a ratio to something of the same run.

mod guest_rsa;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::verbs::Context;

/// Measure, and print ratios against something else in the same run
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// RSA-2048 CRT per second in a Linux guest, through the accelerator and by its own software
    GuestRsa,
}

impl Bench {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        match self.what {
            What::GuestRsa => guest_rsa::run(context.out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
