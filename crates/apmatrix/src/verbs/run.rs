//! `apmatrix run`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::namespace::{self, Setting};

/// Run a command that sees the tree at /sys, beside the host's other devices
///
/// In it `modprobe vfio_ap` succeeds and /etc/mdevctl.d is the instance's own, kept in the state
/// directory. Works for root and for ordinary users.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<ExitCode> {
        let record = context.enter()?;
        let setting = Setting {
            run_dir: context.run_dir.path().to_path_buf(),
            state_dir: record.state_dir,
        };
        match namespace::run(&setting, &self.command)? {}
    }
}
