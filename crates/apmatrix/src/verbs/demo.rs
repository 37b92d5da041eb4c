//! `apmatrix demo`.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use super::Context;
use crate::demo;

/// Show the main job: two guests, each with adapters of its own, do RSA
///
/// Everything happens in a temporary directory; a running instance is left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// embedded: in seconds, without root, FUSE or QEMU. linux: two s390x Linux guests in QEMU
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    guest: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Embedded,
    Linux,
}

impl Demo {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        match self.guest {
            Kind::Embedded => demo::embedded(context.out)?,
            Kind::Linux => demo::linux(context.out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
