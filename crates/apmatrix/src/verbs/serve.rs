//! `apmatrix serve`: the daemon in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::daemon::{Daemon, Machinery, Options};
use crate::namespace;
use crate::rundir::choose_state_dir;

/// Run the daemon in the foreground; prints one line when it is ready
///
/// The tree is mounted at RUN/sys, each mediated device listens at RUN/mdev/UUID.sock, and the
/// hardware console at RUN/control.sock. Ends on SIGTERM or Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The machine's hardware [default: three accelerators, four domains]
    #[arg(long, value_name = "FILE.toml")]
    machine: Option<PathBuf>,
    /// Where state is kept [default: $APMATRIX_STATE_DIR, /var/lib/apmatrix, or
    /// ~/.local/state/apmatrix for users]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        log_to_stderr();
        let machine = Machinery::load(self.machine.as_deref())?;
        let state_dir = choose_state_dir(self.state_dir.as_deref())?;
        // Namespaces can only be made while there is one thread.
        let own_namespace = namespace::is_needed();
        if own_namespace {
            namespace::become_private_root()?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot wait for signals")?;
        let run_dir = context.run_dir.clone();
        let options = Options {
            run_dir,
            state_dir,
            machine,
            mounts: true,
            own_namespace,
        };
        let daemon = Daemon::start(&options)?;
        writeln!(
            context.out,
            "ready: tree at {}",
            context.run_dir.sys().display()
        )?;
        context.out.flush()?;
        signals.forever().next();
        daemon.stop();
        Ok(ExitCode::SUCCESS)
    }
}

/// The daemon's log goes to standard error; `APMATRIX_LOG` chooses what (default: warnings).
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("APMATRIX_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time();
    // A second initialisation can only come from a test; the first one stays.
    drop(subscriber.try_init());
}
