//! The tree without a mount, a daemon or a thread: a host on a machine, asked directly.

use std::sync::Arc;

use arch::Errno;
use conformance::{Failure, Target};
use machine::{Machine, PartitionConfig};
use matrix::{BootConfig, Command};
use sysfs::{FileError, Session};

use crate::daemon::MachinePlatform;

/// A target that boots a host in memory for every case.
#[derive(Debug, Default)]
pub(crate) struct InMemory {
    booted: Option<Booted>,
}

#[derive(Debug)]
struct Booted {
    machine: Arc<Machine>,
    session: Session<MachinePlatform>,
}

impl InMemory {
    fn session(&mut self) -> Result<&mut Session<MachinePlatform>, Errno> {
        Ok(&mut self.booted.as_mut().ok_or(Errno::EIO)?.session)
    }
}

fn failure(error: &FileError) -> Failure {
    if error.is_open() {
        Failure::Open(error.errno())
    } else {
        Failure::Call(error.errno())
    }
}

impl Target for InMemory {
    fn boot(&mut self, spec: &str) -> Result<(), String> {
        let partition = PartitionConfig::parse_spec(spec).map_err(|error| error.to_string())?;
        // Nobody submits requests, so nobody needs to be told of any.
        let machine =
            Machine::new(&partition, Box::new(|_| {})).map_err(|error| error.to_string())?;
        let machine = Arc::new(machine);
        let platform = MachinePlatform::new(Arc::clone(&machine));
        let session = Session::boot(&BootConfig::default(), platform);
        self.booted = Some(Booted { machine, session });
        Ok(())
    }

    fn change_host(&mut self, spec: &str) -> Result<(), String> {
        let booted = self.booted.as_mut().ok_or("the machine has not booted")?;
        booted
            .machine
            .replace_by_spec(spec)
            .map_err(|error| error.to_string())?;
        let changed = booted.session.apply(Command::HardwareChanged);
        changed.map(|_| ()).map_err(|error| error.to_string())
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Failure> {
        let session = self.session().map_err(Failure::Open)?;
        let (taken, _) = session
            .write(path, bytes)
            .map_err(|error| failure(&error))?;
        Ok(taken)
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let session = self.session().map_err(Failure::Open)?;
        session.read(path).map_err(|error| failure(&error))
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        self.session()?.list(path)
    }

    fn readlink(&mut self, path: &str) -> Result<String, Errno> {
        self.session()?.readlink(path)
    }

    fn mode(&mut self, path: &str) -> Result<u16, Errno> {
        self.session()?.mode(path)
    }
}
