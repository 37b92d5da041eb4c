//! The tree without a mount: the same daemon, asked at its desk.

use arch::Errno;
use conformance::{Failure, Target};
use sysfs::{Kind, Node, Tree};

use super::Fresh;
use crate::daemon::Desk;

/// A target that boots a daemon without a mount for every case.
#[derive(Debug, Default)]
pub(crate) struct InMemory {
    fresh: Option<Fresh>,
    cases: usize,
}

impl InMemory {
    fn desk(&self) -> Result<&Desk, Errno> {
        let fresh = self.fresh.as_ref().ok_or(Errno::EIO)?;
        Ok(fresh.daemon().map_err(|_| Errno::EIO)?.desk())
    }

    fn look<T>(
        &self,
        path: &str,
        follow: bool,
        look: impl FnOnce(&Tree<'_>, Node) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let host = self.desk()?.snapshot();
        let tree = Tree::new(&host);
        look(&tree, tree.resolve(path, follow)?)
    }

    fn mode_of(&self, path: &str) -> Result<u16, Errno> {
        self.look(path, true, |tree, node| {
            tree.mode(node).ok_or(Errno::ENOENT)
        })
    }

    /// What open(2) checks before the attribute is asked.
    fn open(&self, path: &str, wanted: u16) -> Result<(), Failure> {
        let mode = self.mode_of(path).map_err(Failure::Open)?;
        if mode & wanted == 0 {
            Err(Failure::Open(Errno::EACCES))
        } else {
            Ok(())
        }
    }
}

impl Target for InMemory {
    fn boot(&mut self, spec: &str) -> Result<(), String> {
        self.fresh = None;
        self.cases += 1;
        self.fresh =
            Some(Fresh::boot(self.cases, spec, false).map_err(|error| format!("{error:#}"))?);
        Ok(())
    }

    fn change_host(&mut self, spec: &str) -> Result<(), String> {
        self.fresh
            .as_ref()
            .ok_or("the machine has not booted")?
            .change(spec)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Failure> {
        self.open(path, 0o222)?;
        let taken = &bytes[..Tree::accepted(bytes.len())];
        if !taken.is_empty() {
            let desk = self.desk().map_err(Failure::Open)?;
            desk.store_and_wait(path, taken).map_err(Failure::Call)?;
        }
        Ok(taken.len())
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.open(path, 0o444)?;
        self.desk()
            .and_then(|desk| desk.show(path))
            .map_err(Failure::Call)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        let entries = self.look(path, true, |tree, node| tree.list(node))?;
        let mark = |kind| match kind {
            Kind::Directory => "/",
            Kind::Link => "@",
            Kind::File => "",
        };
        Ok(entries
            .into_iter()
            .map(|entry| entry.name + mark(entry.kind))
            .collect())
    }

    fn readlink(&mut self, path: &str) -> Result<String, Errno> {
        self.look(path, false, |tree, node| tree.readlink(node))
    }

    fn mode(&mut self, path: &str) -> Result<u16, Errno> {
        self.mode_of(path)
    }
}
