//! The journal of a running daemon: a snapshot, and what was accepted since.
//!
//! ```text
//!                 append ok                      append or fsync failed
//!        +------> Sound --------------------------------> Behind <--+
//!        |         |  ^                                     |       | failed: EIO,
//!        +---------+  |  the whole state is written anew    |       | nothing is applied
//!                     +-------------------------------------+-------+
//! ```
//! `Behind` means that the file may lack what the host has, or hold a part of a record. The next
//! command first writes the whole state to a new file; until that succeeds nothing is accepted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use matrix::Saved;

use super::entry::Entry;
use super::frame::{self, Chain};
use super::rows::{self, Origin};
use super::store::Store;
use super::syncer::Syncer;

/// Fewer entries than this are not worth a new snapshot.
const MIN_ENTRIES: usize = 4096;

/// What is to be kept: the hardware's SPEC and the host.
#[derive(Debug)]
pub(crate) struct Image {
    /// The hardware as a SPEC.
    pub(crate) spec: String,
    /// The host.
    pub(crate) host: Saved,
}

/// The journal that a daemon appends to.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    origin: Origin,
    file: Arc<File>,
    chain: Chain,
    health: Health,
    /// Entries since the snapshot.
    entries: usize,
    /// With so many entries a new snapshot is written.
    limit: usize,
    syncer: Syncer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    Sound,
    Behind,
}

impl Journal {
    /// Begins a journal with `image`, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(store: Store, origin: Origin, image: &Image) -> Result<Self> {
        let written = write_snapshot(&store, &origin, image)?;
        Ok(Self {
            syncer: Syncer::start(Arc::clone(&written.file))?,
            store,
            origin,
            file: written.file,
            chain: written.chain,
            health: Health::Sound,
            entries: 0,
            limit: written.rows.max(MIN_ENTRIES),
        })
    }

    /// Goes on with a journal that was read: `chain` is its checksum, `length` what it holds without
    /// a torn record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn resume(
        store: Store,
        origin: Origin,
        (chain, length): (Chain, usize),
        (rows, entries): (usize, usize),
    ) -> Result<Self> {
        let path = store.journal();
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let length = u64::try_from(length).context("the file is too long")?;
        if file.metadata()?.len() != length {
            file.set_len(length)
                .with_context(|| format!("cannot drop a torn record of {}", path.display()))?;
        }
        let file = Arc::new(file);
        let syncer = Syncer::start(Arc::clone(&file))?;
        // What is there may not be durable yet: the last daemon may have been killed.
        syncer.written();
        Ok(Self {
            syncer,
            store,
            origin,
            file,
            chain,
            health: Health::Sound,
            entries,
            limit: rows.max(MIN_ENTRIES),
        })
    }

    /// Makes sure that the next append goes to a file that has everything before it; `image` is the
    /// present state.
    ///
    /// # Errors
    /// The file lacks something and cannot be written anew: nothing may be accepted.
    pub(crate) fn ready(&mut self, image: impl FnOnce() -> Image) -> Result<()> {
        if self.syncer.has_failed() {
            self.health = Health::Behind;
        }
        match self.health {
            Health::Sound => Ok(()),
            Health::Behind => self.compact(&image()),
        }
    }

    /// Appends an entry with one write(2). On an error nothing of it counts.
    ///
    /// # Errors
    /// When it is not written in full.
    pub(crate) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.health == Health::Behind {
            return Err(io::Error::other("the journal lacks an earlier entry"));
        }
        let mut chain = self.chain;
        let mut record = Vec::with_capacity(128);
        frame::put(&mut record, &mut chain, &serde_json::to_string(entry)?);
        let written = (&*self.file).write(&record);
        match written {
            Ok(length) if length == record.len() => {}
            Ok(_) => {
                self.health = Health::Behind;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Err(error) => {
                self.health = Health::Behind;
                return Err(error);
            }
        }
        self.chain = chain;
        self.entries += 1;
        self.syncer.written();
        Ok(())
    }

    /// The host went on although an entry could not be appended.
    pub(crate) const fn fall_behind(&mut self) {
        self.health = Health::Behind;
    }

    /// Writes a new snapshot if there are many entries. That it fails harms nobody.
    pub(crate) fn compact_if_long(&mut self, image: impl FnOnce() -> Image) {
        if self.entries < self.limit || self.health == Health::Behind {
            return;
        }
        if let Err(error) = self.compact(&image()) {
            tracing::warn!("the journal goes on growing: {error:#}");
            self.limit = self.entries.saturating_mul(2);
        }
    }

    /// Writes a new snapshot in place of all entries, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old file stays.
    fn compact(&mut self, image: &Image) -> Result<()> {
        let written = write_snapshot(&self.store, &self.origin, image)?;
        self.syncer.replace(Arc::clone(&written.file));
        self.file = written.file;
        self.chain = written.chain;
        self.health = Health::Sound;
        self.entries = 0;
        self.limit = written.rows.max(MIN_ENTRIES);
        Ok(())
    }

    /// An orderly end: a snapshot without entries, which every later version can read.
    pub(crate) fn finish(mut self, image: &Image) {
        if self.entries == 0 && self.health == Health::Sound {
            self.syncer.sync();
        } else if let Err(error) = self.compact(image) {
            tracing::error!("the last snapshot is missing: {error:#}");
            self.syncer.sync();
        }
    }
}

/// A snapshot that took the journal's place.
struct Written {
    file: Arc<File>,
    chain: Chain,
    rows: usize,
}

/// Writes a snapshot beside the journal, makes it durable, and puts it in the journal's place.
fn write_snapshot(store: &Store, origin: &Origin, image: &Image) -> Result<Written> {
    let (mut text, mut chain) = (frame::header().into_bytes(), Chain::default());
    let rows = rows::rows(origin, &image.spec, &image.host);
    for row in &rows {
        frame::put(&mut text, &mut chain, &serde_json::to_string(row)?);
    }
    let (new, path) = (store.new_journal(), store.journal());
    let file = write_durably(&new, &text)
        .with_context(|| format!("cannot write {}", new.display()))
        .inspect_err(|_| drop(fs::remove_file(&new)))?;
    fs::rename(&new, &path).with_context(|| format!("cannot replace {}", path.display()))?;
    // The rename itself becomes durable with the directory. Without it a power failure would bring
    // the old file back, and what is appended to the new one would be lost.
    File::open(store.dir())
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot make {} durable", store.dir().display()))?;
    Ok(Written {
        file: Arc::new(file),
        chain,
        rows: rows.len(),
    })
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<File> {
    // What a daemon left behind that died here.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(file)
}
