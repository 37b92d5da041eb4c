//! A host, its platform and file calls on them in one process: what the daemon does with threads and
//! FUSE, done directly. For replays, tests and the embedded demo.

use arch::Errno;
use matrix::{BootConfig, Command, Effects, Host, HostError, Platform};

use crate::error::StoreError;
use crate::node::Node;
use crate::tree::{Kind, Tree};

/// A host and what is below it.
#[derive(Clone, Debug)]
pub struct Session<P> {
    /// The host.
    pub host: Host,
    /// What is below it.
    pub platform: P,
}

/// Why a file call failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    /// open(2) fails.
    #[error("open: {0}")]
    Open(Errno),
    /// The call after the open fails.
    #[error("{0}")]
    Call(Errno),
    /// The write did not parse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host refused the command.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl FileError {
    /// The errno that the caller sees.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Open(errno) | Self::Call(errno) => *errno,
            Self::Store(error) => error.errno(),
            Self::Host(error) => error.errno(),
        }
    }

    /// Whether it is the open that fails.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

impl<P: Platform> Session<P> {
    /// Boots a host on `platform`.
    #[must_use]
    pub fn boot(config: &BootConfig, mut platform: P) -> Self {
        let host = Host::boot(config, &mut platform);
        Self { host, platform }
    }

    /// The tree as it is now.
    #[must_use]
    pub const fn tree(&self) -> Tree<'_> {
        Tree::new(&self.host)
    }

    /// Applies a command: all or nothing.
    ///
    /// # Errors
    /// The host's refusal; nothing changed.
    pub fn apply(&mut self, command: Command) -> Result<Effects, HostError> {
        let mut next = self.host.clone();
        let effects = next.apply(command, &mut self.platform)?;
        self.host = next;
        Ok(effects)
    }

    /// Opens a path: the node, if it is a file with one of these permission bits, or a directory that
    /// is opened for reading.
    fn open(&self, path: &str, permission: u16) -> Result<Node, FileError> {
        let tree = self.tree();
        let node = tree.resolve(path, true).map_err(FileError::Open)?;
        let mode = tree.mode(node).ok_or(FileError::Open(Errno::ENOENT))?;
        let directory = tree.kind(node) == Some(Kind::Directory);
        if directory && permission == 0o222 {
            return Err(FileError::Open(Errno::EISDIR));
        }
        if mode & permission == 0 {
            return Err(FileError::Open(Errno::EACCES));
        }
        Ok(node)
    }

    /// open for writing, one write, close: how many bytes the write took, and what happened.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(usize, Effects), FileError> {
        let node = self.open(path, 0o222)?;
        let command = self.tree().store(node, bytes)?;
        let effects = self.apply(command)?;
        Ok((Tree::accepted(bytes.len()), effects))
    }

    /// open for reading, read to the end, close.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, FileError> {
        let node = self.open(path, 0o444)?;
        Tree::new(&self.host)
            .show(node, &mut self.platform)
            .map_err(FileError::Call)
    }

    /// The names in a directory, with `/` behind directories and `@` behind links.
    ///
    /// # Errors
    /// The errno of opendir.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let tree = self.tree();
        let entries = tree.list(tree.resolve(path, true)?)?;
        let marked = |kind, name: String| match kind {
            Kind::Directory => name + "/",
            Kind::Link => name + "@",
            Kind::File => name,
        };
        Ok(entries
            .into_iter()
            .map(|entry| marked(entry.kind, entry.name))
            .collect())
    }

    /// Target of a link.
    ///
    /// # Errors
    /// The errno of readlink.
    pub fn readlink(&self, path: &str) -> Result<String, Errno> {
        let tree = self.tree();
        tree.readlink(tree.resolve(path, false)?)
    }

    /// Permission bits, links followed.
    ///
    /// # Errors
    /// The errno of stat.
    pub fn mode(&self, path: &str) -> Result<u16, Errno> {
        let tree = self.tree();
        tree.mode(tree.resolve(path, true)?).ok_or(Errno::ENOENT)
    }
}
