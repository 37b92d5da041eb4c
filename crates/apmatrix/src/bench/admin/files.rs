//! An administrator with a shell: files of a mounted tree, opened, written or read, and closed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arch::{ApType, Apid, Apqi, CardMode};
use machine::{AdapterConfig, PartitionConfig};
use matrix::BootConfig;

use crate::daemon::{Machinery, Persistence, TemporaryDaemon};

/// Adapters of a full machine.
pub(super) const ADAPTERS: u8 = 16;
/// Domains of a full machine.
pub(super) const DOMAINS: u8 = 85;

/// As many adapters and domains as a frame of the smaller models can have.
pub(super) fn full_machine() -> Machinery {
    let mut partition = PartitionConfig::default();
    for apid in 0..ADAPTERS {
        let adapter = AdapterConfig::new(ApType(14), CardMode::Accelerator);
        partition.adapters.insert(Apid(apid), adapter);
    }
    for apqi in 0..DOMAINS {
        partition.usage_domains.insert(Apqi(apqi));
        partition.control_domains.insert(Apqi(apqi));
    }
    Machinery {
        partition,
        boot: BootConfig::default(),
    }
}

/// Where daemons are: in memory if possible, as `/run` is. A disk's file system would be measured with
/// them, because each mediated device has a socket there.
fn base() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

/// A temporary daemon with a mounted tree.
#[derive(Debug)]
pub(super) struct Admin {
    daemon: TemporaryDaemon,
    matrix: PathBuf,
}

impl Admin {
    /// Starts a daemon and takes all queues from the host's own drivers.
    pub(super) fn start(machine: Machinery) -> Result<Self> {
        // It keeps a journal, as the daemon that people use.
        let kept = Persistence::Kept {
            machine: Some(machine),
            fresh: false,
        };
        let daemon = TemporaryDaemon::start_below(&base(), kept, true)?;
        let sys = daemon.run_directory().sys();
        write(&sys.join("bus/ap/aqmask"), "0x0")?;
        let matrix = sys.join("devices/vfio_ap/matrix");
        Ok(Self { daemon, matrix })
    }

    /// Creates a mediated device and gives it the queue of its number: 65536 numbers have distinct
    /// queues, most of which the machine does not have, which assignment does not mind.
    pub(super) fn create(&self, number: u32) -> Result<()> {
        let [.., domain, adapter] = number.to_be_bytes();
        let uuid = uuid(number);
        let create = "mdev_supported_types/vfio_ap-passthrough/create";
        write(&self.matrix.join(create), &uuid)?;
        let mdev = self.matrix.join(uuid);
        write(&mdev.join("assign_adapter"), &adapter.to_string())?;
        write(&mdev.join("assign_domain"), &domain.to_string())
    }

    /// A file of a mediated device.
    pub(super) fn file(&self, number: u32, name: &str) -> PathBuf {
        self.matrix.join(uuid(number)).join(name)
    }

    /// How many device channels listen.
    pub(super) fn channels(&self) -> Result<usize> {
        let folder = self.daemon.run_directory().mdev();
        Ok(std::fs::read_dir(folder)?.count())
    }
}

/// UUIDs in an order that is not that of creation.
fn uuid(number: u32) -> String {
    // Knuth's multiplicative hash: distinct for distinct numbers.
    let scattered = number.wrapping_mul(2_654_435_761);
    format!("{scattered:08x}-1f2e-4d3c-8b5a-00000000ffff")
}

/// Open, one write(2), close.
pub(in crate::bench) fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let taken = file
        .write(text.as_bytes())
        .with_context(|| format!("cannot write {text} to {}", path.display()))?;
    ensure!(taken == text.len(), "{} took {taken} bytes", path.display());
    Ok(())
}

/// Open, read to the end, close.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut content))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(content)
}
