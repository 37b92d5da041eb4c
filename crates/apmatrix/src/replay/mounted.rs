//! The tree through its mount: every answer is that of a system call.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;
use arch::Errno;
use conformance::{Failure, Target};
use machine::PartitionConfig;
use matrix::BootConfig;

use crate::control::{Request, Response};
use crate::daemon::{Machinery, TemporaryDaemon};

/// A target that mounts the tree anew for every case.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    daemon: Option<TemporaryDaemon>,
}

impl Mounted {
    fn path(&self, path: &str) -> PathBuf {
        let run_dir = self
            .daemon
            .as_ref()
            .map(|daemon| daemon.run_directory().sys());
        run_dir.unwrap_or_default().join(path)
    }
}

fn boot(spec: &str) -> Result<TemporaryDaemon> {
    let partition = PartitionConfig::parse_spec(spec)?;
    TemporaryDaemon::start(
        Machinery {
            partition,
            boot: BootConfig::default(),
        },
        true,
    )
}

fn errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .and_then(Errno::from_raw)
        .unwrap_or(Errno::EIO)
}

fn open_failed(error: &io::Error) -> Failure {
    Failure::Open(errno(error))
}

fn call_failed(error: &io::Error) -> Failure {
    Failure::Call(errno(error))
}

impl Target for Mounted {
    fn boot(&mut self, spec: &str) -> Result<(), String> {
        // The old machine goes before the new one comes.
        self.daemon = None;
        self.daemon = Some(boot(spec).map_err(|error| format!("{error:#}"))?);
        Ok(())
    }

    fn change_host(&mut self, spec: &str) -> Result<(), String> {
        let daemon = self.daemon.as_ref().ok_or("the machine has not booted")?;
        match daemon.console(Request::Set {
            spec: spec.to_owned(),
        }) {
            Response::Refused(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Failure> {
        let mut file = OpenOptions::new()
            .write(true)
            .open(self.path(path))
            .map_err(|error| open_failed(&error))?;
        file.write(bytes).map_err(|error| call_failed(&error))
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut file = fs::File::open(self.path(path)).map_err(|error| open_failed(&error))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(|error| call_failed(&error))?;
        Ok(content)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(path)).map_err(|error| errno(&error))? {
            let entry = entry.map_err(|error| errno(&error))?;
            let kind = entry.file_type().map_err(|error| errno(&error))?;
            let mark = match (kind.is_dir(), kind.is_symlink()) {
                (true, _) => "/",
                (_, true) => "@",
                _ => "",
            };
            names.push((entry.file_name().to_string_lossy().into_owned(), mark));
        }
        names.sort();
        Ok(names.into_iter().map(|(name, mark)| name + mark).collect())
    }

    fn readlink(&mut self, path: &str) -> Result<String, Errno> {
        let target = fs::read_link(self.path(path)).map_err(|error| errno(&error))?;
        Ok(target.to_string_lossy().into_owned())
    }

    fn mode(&mut self, path: &str) -> Result<u16, Errno> {
        let metadata = fs::symlink_metadata(self.path(path)).map_err(|error| errno(&error))?;
        Ok(u16::try_from(metadata.permissions().mode() & 0o777).unwrap_or(0))
    }
}
