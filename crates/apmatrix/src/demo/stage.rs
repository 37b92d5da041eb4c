//! The stage of a demo: a daemon in a temporary directory, and a narrator.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use arch::Errno;

use crate::control::{Request, Response};
use crate::daemon::{Machinery, TemporaryDaemon};

/// UUIDs of the demo's two mediated devices.
pub(crate) const MDEVS: [&str; 2] = [
    "62177883-f1bb-47f0-914d-32a22e3a8804",
    "cef03c3c-903d-4ecc-9a83-40694cb8aee4",
];

/// A daemon and what it takes to show it.
pub(crate) struct Stage<'o> {
    daemon: TemporaryDaemon,
    out: &'o mut dyn Write,
}

impl<'o> Stage<'o> {
    /// Starts a daemon on the default machine, without mounting its tree.
    pub(crate) fn open(out: &'o mut dyn Write) -> Result<Self> {
        let daemon = TemporaryDaemon::start(Machinery::load(None)?, false)?;
        Ok(Self { daemon, out })
    }

    /// Says what happens next.
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// Where a mediated device's channel is.
    pub(crate) fn socket(&self, mdev: &str) -> PathBuf {
        self.daemon.run_directory().mdev_socket(mdev)
    }

    /// Writes to an attribute as an administrator would, and says so.
    pub(crate) fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.say(&format!("  echo {text} > {path}"))?;
        let answer = self.daemon.desk().store_and_wait(path, text.as_bytes());
        answer.map_err(|errno| anyhow::anyhow!("{path}: {errno}"))
    }

    /// Writes something that must be refused with `expected`, and shows the reason.
    pub(crate) fn write_refused(&mut self, path: &str, text: &str, expected: Errno) -> Result<()> {
        self.say(&format!("  echo {text} > {path}"))?;
        match self.daemon.desk().store_and_wait(path, text.as_bytes()) {
            Err(errno) => ensure!(errno == expected, "{path}: {errno} instead of {expected}"),
            Ok(()) => bail!("{path}: a conflicting assignment was accepted"),
        }
        let Response::Log(log) = self.daemon.console(Request::Log) else {
            bail!("the daemon keeps no log");
        };
        let reason = log
            .last()
            .context("the refusal left no reason")?
            .reason
            .clone();
        self.say(&format!("  refused, {expected}: {reason}"))
    }

    /// What an attribute reads, in one line.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let text = self
            .daemon
            .desk()
            .show(path)
            .map_err(|errno| anyhow::anyhow!("{path}: {errno}"))?;
        Ok(String::from_utf8_lossy(&text)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "))
    }

    /// How many requests reached the cards.
    pub(crate) fn requests(&self) -> Result<u64> {
        let Response::Hardware(view) = self.daemon.console(Request::Show) else {
            bail!("the hardware console does not answer");
        };
        Ok(view.requests.iter().map(|row| row.count).sum())
    }

    /// Two mediated devices with an adapter of their own each, on the same two domains.
    pub(crate) fn give_each_guest_an_adapter(&mut self) -> Result<()> {
        self.say("The administrator takes adapters 5 and 6 from the host's own drivers:")?;
        self.write("bus/ap/apmask", "-5,-6")?;
        for (mdev, adapter) in MDEVS.iter().zip(["5", "6"]) {
            self.say(&format!(
                "A mediated device with adapter {adapter} and domains 4 and 71:"
            ))?;
            let dir = format!("devices/vfio_ap/matrix/{mdev}");
            self.write(
                "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create",
                mdev,
            )?;
            self.write(&format!("{dir}/assign_adapter"), adapter)?;
            self.write(&format!("{dir}/assign_domain"), "4")?;
            self.write(&format!("{dir}/assign_domain"), "0x47")?;
            let matrix = self.read(&format!("{dir}/guest_matrix"))?;
            self.say(&format!("  its guest gets {matrix}"))?;
        }
        self.say("What the first device has, the second cannot get:")?;
        let path = format!("devices/vfio_ap/matrix/{}/assign_adapter", MDEVS[1]);
        self.write_refused(&path, "5", Errno::EADDRINUSE)
    }

    /// Takes the first guest's adapter while the guest runs.
    pub(crate) fn unplug_first(&mut self) -> Result<()> {
        self.say("Hot unplug: the administrator takes adapter 5 from the running first guest:")?;
        let path = format!("devices/vfio_ap/matrix/{}/unassign_adapter", MDEVS[0]);
        self.write(&path, "5")
    }
}
