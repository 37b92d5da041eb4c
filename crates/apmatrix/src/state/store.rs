//! The state directory: its files, and who may use it.
//!
//! ```text
//!   STATE/journal        snapshot and entries (mode 0600)
//!   STATE/journal.new    the next snapshot while it is written
//!   STATE/journal.old-N  what `serve --fresh` put aside, N counting up
//!   STATE/lock           held by the daemon
//!   STATE/mdevctl.d      the instance's /etc/mdevctl.d (see `namespace`)
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// A state directory that this process holds.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Takes the directory for this process, creating it if needed.
    ///
    /// # Errors
    /// When another daemon has it or it cannot be written.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .with_context(|| format!("cannot create the state directory {}", dir.display()))?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            bail!(
                "another apmatrix daemon keeps its state in {} (name another directory with \
                 --state-dir)",
                dir.display()
            );
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            _lock: lock,
        })
    }

    /// The directory, to make its names durable.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open_dir(&self) -> Result<File> {
        File::open(&self.dir).with_context(|| format!("cannot open {}", self.dir.display()))
    }

    /// The new journal becomes the journal.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(super) fn put_in_place(&self) -> Result<()> {
        let path = self.journal();
        fs::rename(self.new_journal(), &path)
            .with_context(|| format!("cannot replace {}", path.display()))
    }

    /// Makes the directory's names durable. Without it a power failure would bring the old journal
    /// back, and what was appended to the new one would be lost.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn sync(&self) -> Result<()> {
        self.open_dir()?
            .sync_all()
            .with_context(|| format!("cannot make {} durable", self.dir.display()))
    }

    /// The journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// The next journal while it is written.
    pub(super) fn new_journal(&self) -> PathBuf {
        self.dir.join("journal.new")
    }

    /// The journal's content; none if there is no journal.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>> {
        let path = self.journal();
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Puts the journal, if there is one, aside under a name of its own; that name.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(super) fn put_aside(&self) -> Result<Option<PathBuf>> {
        let path = self.journal();
        if !path.try_exists()? {
            return Ok(None);
        }
        let mut number = 1u32;
        let aside = loop {
            let aside = self.dir.join(format!("journal.old-{number}"));
            if !aside.try_exists()? {
                break aside;
            }
            number += 1;
        };
        fs::rename(&path, &aside)
            .with_context(|| format!("cannot put {} aside", path.display()))?;
        Ok(Some(aside))
    }
}
