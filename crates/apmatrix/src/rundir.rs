//! The run directory of an instance: where its tree, sockets and record are.
//!
//! ```text
//!  RUN/sys            the tree, mounted by FUSE
//!  RUN/mdev/UUID.sock one device channel per mediated device
//!  RUN/vfio/N         the same channel under the number of its IOMMU group; /dev/vfio under `run`
//!  RUN/control.sock   hardware console and log
//!  RUN/namespace      empty; a mount point inside the namespaces of `run`
//!  RUN/lock           held by the daemon
//!  RUN/daemon.json    who the daemon is and where it keeps its state
//! ```

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// A run directory, whether or not a daemon uses it.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

/// What a daemon tells the other verbs about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonRecord {
    /// Process id.
    pub pid: u32,
    /// Where it keeps its state.
    pub state_dir: PathBuf,
    /// Whether the tree is mounted in the daemon's own user and mount namespaces.
    pub own_namespace: bool,
}

/// Holds the run directory for one daemon. Dropping it gives the directory free.
#[derive(Debug)]
pub struct Claim {
    run_dir: RunDir,
    _lock: Flock<File>,
}

impl RunDir {
    /// The directory asked for, else `$APMATRIX_RUN_DIR`, else `$XDG_RUNTIME_DIR/apmatrix`, else
    /// `/run/apmatrix`.
    ///
    /// # Errors
    /// When the path cannot be made absolute.
    pub fn choose(asked: Option<&Path>) -> Result<Self> {
        let path = asked
            .map(Path::to_path_buf)
            .or_else(|| env_path("APMATRIX_RUN_DIR"))
            .or_else(|| env_path("XDG_RUNTIME_DIR").map(|dir| dir.join("apmatrix")))
            .unwrap_or_else(|| PathBuf::from("/run/apmatrix"));
        let path = std::path::absolute(&path)
            .with_context(|| format!("{} is not a usable path", path.display()))?;
        Ok(Self(path))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The mounted tree.
    #[must_use]
    pub fn sys(&self) -> PathBuf {
        self.0.join("sys")
    }

    /// The folder of the device channels.
    #[must_use]
    pub fn mdev(&self) -> PathBuf {
        self.0.join("mdev")
    }

    /// The device channel of one mediated device.
    #[must_use]
    pub fn mdev_socket(&self, uuid: &str) -> PathBuf {
        self.mdev().join(format!("{uuid}.sock"))
    }

    /// What `run` shows as /dev/vfio.
    #[must_use]
    pub fn vfio(&self) -> PathBuf {
        self.0.join("vfio")
    }

    /// The socket of the hardware console and the log.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    fn record_path(&self) -> PathBuf {
        self.0.join("daemon.json")
    }

    /// The daemon that serves this directory now.
    ///
    /// # Errors
    /// When no daemon is running here.
    pub fn daemon(&self) -> Result<DaemonRecord> {
        let record = fs::read(self.record_path())
            .ok()
            .and_then(|text| serde_json::from_slice::<DaemonRecord>(&text).ok())
            .filter(|record| {
                self.is_claimed() && Path::new("/proc").join(record.pid.to_string()).exists()
            });
        record.with_context(|| {
            format!(
                "no apmatrix daemon is running in {} (start one with 'apmatrix serve', or name its \
                 directory with --run-dir)",
                self.0.display()
            )
        })
    }

    fn is_claimed(&self) -> bool {
        let Ok(file) = File::open(self.0.join("lock")) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }

    /// Claims the directory for a daemon, creating it (mode 0755) if needed.
    ///
    /// # Errors
    /// When another daemon holds it or it cannot be written.
    pub fn claim(&self) -> Result<Claim> {
        let create = |dir: &Path, mode| {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(mode);
            builder
                .create(dir)
                .with_context(|| format!("cannot create {}", dir.display()))
        };
        create(&self.0, 0o755)?;
        let path = self.0.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(0o644)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            bail!("another apmatrix daemon is running in {}", self.0.display());
        };
        // A stopped daemon leaves sockets behind that answer nobody.
        for channels in [self.mdev(), self.vfio()] {
            if channels.exists() {
                fs::remove_dir_all(channels)?;
            }
        }
        create(&self.mdev(), 0o755)?;
        create(&self.vfio(), 0o755)?;
        // VFIO's container: tools look whether it is there, none of ours opens it.
        File::create(self.vfio().join("vfio"))?;
        // `run` mounts its scratch space here, also for users who may not write to this directory.
        create(&self.0.join("namespace"), 0o755)?;
        Ok(Claim {
            run_dir: self.clone(),
            _lock: lock,
        })
    }
}

impl Claim {
    /// The claimed directory.
    #[must_use]
    pub fn run_dir(&self) -> &RunDir {
        &self.run_dir
    }

    /// Tells the other verbs about this daemon.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn announce(&self, record: &DaemonRecord) -> Result<()> {
        let path = self.run_dir.record_path();
        let text = serde_json::to_vec_pretty(record).context("the record has no JSON form")?;
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(&text)?;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Best effort: a leftover record is ignored because the lock is free.
        drop(fs::remove_file(self.run_dir.record_path()));
        drop(fs::remove_file(self.run_dir.control_socket()));
    }
}

/// The state directory: asked for, else `$APMATRIX_STATE_DIR`, else `/var/lib/apmatrix` for root and
/// `$XDG_STATE_HOME/apmatrix` (by default under `~/.local/state`) for others.
///
/// # Errors
/// When there is no home directory to fall back on.
pub fn choose_state_dir(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = asked
        .map(Path::to_path_buf)
        .or_else(|| env_path("APMATRIX_STATE_DIR"))
    {
        return std::path::absolute(&dir).context("the state directory is not a usable path");
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/apmatrix"));
    }
    env_path("XDG_STATE_HOME")
        .or_else(|| env_path("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("apmatrix"))
        .context("there is no HOME; name a state directory with --state-dir")
}

fn env_path(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_is_refused_and_names_the_directory() {
        let dir = env::temp_dir().join(format!("apmatrix-rundir-{}", std::process::id()));
        let run_dir = RunDir::choose(Some(&dir)).unwrap();
        let claim = run_dir.claim().unwrap();
        let error = run_dir.claim().unwrap_err().to_string();
        assert!(error.contains(dir.to_str().unwrap()), "{error}");
        assert!(run_dir.daemon().is_err(), "nothing was announced yet");
        drop(claim);
        assert!(run_dir.claim().is_ok());
        fs::remove_dir_all(dir).unwrap();
    }
}
