//! A daemon for one occasion: in directories of its own that vanish with it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::{Daemon, Machinery, Options, Persistence};
use crate::rundir::RunDir;

/// A running daemon below the system's temporary directory.
#[derive(Debug)]
pub(crate) struct TemporaryDaemon {
    /// `None` only while it is dropped.
    daemon: Option<Daemon>,
    dir: PathBuf,
}

impl TemporaryDaemon {
    /// Starts a daemon on `machine`; its tree is mounted if `mounts` says so.
    ///
    /// # Errors
    /// Those of [`Daemon::start`].
    pub(crate) fn start(machine: Machinery, mounts: bool) -> Result<Self> {
        Self::start_below(
            &std::env::temp_dir(),
            Persistence::Forgotten(machine),
            mounts,
        )
    }

    /// Starts a daemon in a directory of its own below `base`.
    ///
    /// # Errors
    /// Those of [`Daemon::start`].
    pub(crate) fn start_below(base: &Path, persistence: Persistence, mounts: bool) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("apmatrix-{}-{number}", std::process::id());
        let dir = base.join(name);
        std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // From here on the directory is removed, also when the daemon does not start.
        let mut temporary = Self { daemon: None, dir };
        temporary.daemon = Some(Daemon::start(&Options {
            run_dir: RunDir::choose(Some(&temporary.dir.join("run")))?,
            state_dir: temporary.dir.join("state"),
            persistence,
            mounts,
            own_namespace: false,
        })?);
        Ok(temporary)
    }
}

impl Deref for TemporaryDaemon {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        self.daemon
            .as_ref()
            .expect("it is there until it is dropped")
    }
}

impl Drop for TemporaryDaemon {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
