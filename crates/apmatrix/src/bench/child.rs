//! A daemon in a process of its own, as `apmatrix serve` starts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::admin::write;

/// Where a mediated device is created, in the tree.
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

/// A running daemon with directories of its own; they vanish with it.
#[derive(Debug)]
pub(super) struct ChildDaemon {
    dir: PathBuf,
    process: Child,
}

impl ChildDaemon {
    /// Starts a daemon on the machine of this machine file; returns when it says that it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(machine: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("apmatrix-bench-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let started = spawn(&dir, machine);
        let process = started.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        let mut daemon = Self { dir, process };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let stdout = self.process.stdout.take();
        let stdout = stdout.context("its output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.starts_with("ready"), "the daemon said {line:?}");
        Ok(())
    }

    /// Writes to an attribute of its tree.
    ///
    /// # Errors
    /// The attribute's.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
        write(&self.dir.join("run/sys").join(path), text)
    }

    /// Creates a mediated device with these adapters and domains.
    ///
    /// # Errors
    /// The attributes'.
    pub(super) fn mdev(&self, uuid: &str, adapters: &[u8], domains: &[u8]) -> Result<()> {
        self.write(CREATE, uuid)?;
        let matrix = format!("devices/vfio_ap/matrix/{uuid}");
        for adapter in adapters {
            self.write(&format!("{matrix}/assign_adapter"), &adapter.to_string())?;
        }
        for domain in domains {
            self.write(&format!("{matrix}/assign_domain"), &domain.to_string())?;
        }
        Ok(())
    }

    /// A mediated device's channel.
    pub(super) fn socket(&self, uuid: &str) -> PathBuf {
        self.dir.join(format!("run/mdev/{uuid}.sock"))
    }

    /// MiB that a file of `/proc/PID` says behind `name`.
    ///
    /// # Errors
    /// When the kernel does not say it.
    pub(super) fn memory(&self, file: &str, name: &str) -> Result<f64> {
        let path = format!("/proc/{}/{file}", self.process.id());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kib: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .with_context(|| format!("{path} has no {name}"))?
            .parse()?;
        Ok(kib / 1024.0)
    }
}

fn spawn(dir: &Path, machine: &str) -> Result<Child> {
    let file = dir.join("machine.toml");
    fs::write(&file, machine)?;
    Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg("--run-dir")
        .arg(dir.join("run"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--machine")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the daemon")
}

impl Drop for ChildDaemon {
    /// An orderly end, so that nothing stays mounted.
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            // A daemon that is gone already needs no signal.
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        }
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}
