//! The program under the name `apmatrix-qemu`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::emulator::{PluginFinder, Surroundings, rewrite};
use crate::image;
use crate::launch::poke::Poke;
use crate::launch::{Qemu, find_plugin};
use crate::rundir::RunDir;

/// The name under which the program is an emulator.
pub const EMULATOR_NAME: &str = "apmatrix-qemu";

#[derive(Debug)]
struct BesideThisProgram;

impl PluginFinder for BesideThisProgram {
    fn find(&self) -> Result<PathBuf> {
        let named = std::env::var_os("APMATRIX_PLUGIN").map(PathBuf::from);
        find_plugin(named.as_deref())
    }
}

/// Becomes QEMU, with the passthrough device replaced by our plugin. Returns only on failure.
///
/// QEMU is `$APMATRIX_QEMU`, else the system's, else the guest image's.
///
/// # Errors
/// When no QEMU fits or the arguments ask for something impossible.
pub fn emulate(arguments: &[OsString]) -> Result<ExitCode> {
    let mut around = Surroundings {
        plugin: &BesideThisProgram,
        sockets: RunDir::choose(None)?.mdev(),
        poke: Poke::new().ok(),
    };
    let arguments = rewrite(arguments, &around)?;
    if !arguments.iter().any(|argument| argument == "-plugin") {
        around.poke = None;
    }
    let mut command = qemu()?;
    command.args(arguments);
    // The socket is open until QEMU, which inherits it, takes this program's place.
    Err(command.exec()).context("cannot start QEMU")
}

fn qemu() -> Result<Command> {
    if let Some(program) = std::env::var_os("APMATRIX_QEMU") {
        return Ok(Qemu::from_program(program.as_ref())?.command());
    }
    Ok(image::ensure_qemu(&image::default_dir(), &mut super::guest::progress)?.command())
}
