//! `apmatrix serve`: the daemon in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::daemon::{Daemon, Machinery, Options, Persistence};
use crate::namespace;
use crate::rundir::choose_state_dir;

/// Run the daemon in the foreground; prints one line when it is ready
///
/// The tree is mounted at RUN/sys, each mediated device listens at RUN/mdev/UUID.sock, and the
/// hardware console at RUN/control.sock. Ends on SIGTERM or Ctrl-C.
///
/// The state directory keeps hardware, masks, bindings and mediated devices: the daemon goes on where
/// the last one ended, also if that one was killed. A state that is damaged, or of another machine
/// file than the one given, is refused and left as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The hardware that a new state begins with [default: three accelerators, four domains]; with an
    /// existing state it must be the file that the state began with, and may be left out
    #[arg(long, value_name = "FILE.toml")]
    machine: Option<PathBuf>,
    /// Where state is kept [default: $APMATRIX_STATE_DIR, /var/lib/apmatrix, or
    /// ~/.local/state/apmatrix for users]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Begin a new state; the old one is put aside as STATE/journal.old-N
    #[arg(long)]
    fresh: bool,
}

impl Serve {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        log_to_stderr();
        let machine = self
            .machine
            .as_deref()
            .map(|path| Machinery::load(Some(path)))
            .transpose()?;
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
            persistence: Persistence::Kept {
                machine,
                fresh: self.fresh,
            },
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
