//! The command line: one module per verb.

mod assign;
mod context;
mod demo;
mod dissect;
mod guest;
mod hmc;
mod insn;
mod log;
mod mask;
mod mdev;
mod qemu;
mod record;
mod replay;
mod rerun;
mod run;
mod serve;
mod status;
mod why;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::rundir::RunDir;
pub use context::Context;
pub(crate) use guest::plugin_for;
pub use qemu::{EMULATOR_NAME, emulate};

/// Crypto Express adapters and the vfio_ap AP matrix in user space, for any Linux machine.
///
/// It gives no hardware protection: keys and data are in the memory of ordinary processes.
#[derive(Debug, Parser)]
#[command(
    name = "apmatrix",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or
    /// /run/apmatrix]
    #[arg(long, global = true, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Run(run::Run),
    Hmc(hmc::Hmc),
    Status(status::Status),
    Mdev(mdev::MdevVerb),
    Assign(assign::Assign),
    Unassign(assign::Unassign),
    Mask(mask::Mask),
    Log(log::Log),
    Why(why::Why),
    Guest(guest::Guest),
    Insn(insn::Insn),
    Record(record::Record),
    Dissect(dissect::Dissect),
    Rerun(rerun::Rerun),
    Replay(replay::Replay),
    Bench(crate::bench::Bench),
}

impl Cli {
    /// Does what the command line asks.
    ///
    /// # Errors
    /// Whatever the verb refused or failed at; the exit code is then 1.
    pub fn run(&self, out: &mut dyn Write) -> Result<ExitCode> {
        let run_dir = RunDir::choose(self.run_dir.as_deref())?;
        let mut context = Context { out, run_dir };
        let context = &mut context;
        match &self.verb {
            Verb::Demo(verb) => verb.run(context),
            Verb::Serve(verb) => verb.run(context),
            Verb::Run(verb) => verb.run(context),
            Verb::Hmc(verb) => verb.run(context),
            Verb::Status(verb) => verb.run(context),
            Verb::Mdev(verb) => verb.run(context),
            Verb::Assign(verb) => verb.run(context),
            Verb::Unassign(verb) => verb.run(context),
            Verb::Mask(verb) => verb.run(context),
            Verb::Log(verb) => verb.run(context),
            Verb::Why(verb) => verb.run(context),
            Verb::Guest(verb) => verb.run(context),
            Verb::Insn(verb) => verb.run(context),
            Verb::Record(verb) => verb.run(context),
            Verb::Dissect(verb) => verb.run(context),
            Verb::Rerun(verb) => verb.run(context),
            Verb::Replay(verb) => verb.run(context),
            Verb::Bench(verb) => verb.run(context),
        }
    }
}

/// The tree that an admin verb is about.
#[derive(Debug, clap::Args)]
struct TreeOption {
    /// The sysfs tree: a mounted one, a plain copy, or a mainframe's /sys [default: the running
    /// instance's, else /sys]
    #[arg(long, value_name = "DIR")]
    sysfs: Option<PathBuf>,
}
