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

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::entry::Entry;
use super::frame::{self, Chain};
use super::rows::Origin;
use super::snapshot::{self, Image, Pending};
use super::store::Store;
use super::syncer::Syncer;

/// Fewer entries than this are not worth a new snapshot.
const MIN_ENTRIES: usize = 4096;

/// The journal that a daemon appends to.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Before the store: it must end before the directory is given up.
    pending: Option<Pending>,
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
        let written = snapshot::write(&store.new_journal(), &origin, image)?;
        store.put_in_place()?;
        store.sync()?;
        let file = Arc::new(written.file);
        Ok(Self {
            syncer: Syncer::start(Arc::clone(&file), store.open_dir()?)?,
            pending: None,
            store,
            origin,
            file,
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
        let syncer = Syncer::start(Arc::clone(&file), store.open_dir()?)?;
        // What is there may not be durable yet: the last daemon may have been killed.
        syncer.written();
        Ok(Self {
            syncer,
            pending: None,
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
        let payload = serde_json::to_string(entry)?;
        frame::put(&mut record, &mut chain, &payload);
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
        if let Some(pending) = &mut self.pending {
            pending.note(payload);
        }
        self.syncer.written();
        Ok(())
    }

    /// The host went on although an entry could not be appended.
    pub(crate) const fn fall_behind(&mut self) {
        self.health = Health::Behind;
    }

    /// Keeps the file short: begins a new snapshot when there are many entries, and lets it take the
    /// journal's place when it is ready. That it fails harms nobody.
    pub(crate) fn shorten(&mut self, image: impl FnOnce() -> Image) {
        if self.health == Health::Behind {
            return;
        }
        let shortened = match self.pending.take_if(|pending| pending.is_ready()) {
            Some(ready) => self.replace(ready),
            None if self.pending.is_none() && self.entries >= self.limit => {
                let (path, origin) = (self.store.new_journal(), self.origin.clone());
                Pending::start(path, origin, image())
                    .map(|pending| self.pending = Some(pending))
                    .context("cannot start a thread")
            }
            None => Ok(()),
        };
        if let Err(error) = shortened {
            tracing::warn!("the journal goes on growing: {error:#}");
            self.limit = self.entries.saturating_mul(2);
        }
    }

    /// A snapshot that is ready takes the journal's place; it becomes durable there with the next sync.
    fn replace(&mut self, ready: Pending) -> Result<()> {
        let (written, entries) = ready.finish()?;
        self.store.put_in_place()?;
        self.file = Arc::new(written.file);
        self.syncer.replace(Arc::clone(&self.file));
        self.chain = written.chain;
        self.entries = entries;
        self.limit = written.rows.max(MIN_ENTRIES);
        Ok(())
    }

    /// Writes a new snapshot in place of all entries, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old file stays.
    fn compact(&mut self, image: &Image) -> Result<()> {
        // It lacks what made the journal fall behind, and writes to the same file.
        drop(self.pending.take());
        let written = snapshot::write(&self.store.new_journal(), &self.origin, image)?;
        self.store.put_in_place()?;
        self.store.sync()?;
        self.file = Arc::new(written.file);
        self.syncer.restart(Arc::clone(&self.file));
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

#[cfg(test)]
mod tests {
    use super::super::begin::{Begun, begin};
    use super::*;
    use machine::Machine;
    use matrix::Command;
    use std::fs;
    use std::path::Path;

    fn start(dir: &Path) -> Begun {
        begin(dir, None, false, |partition| {
            Ok(Arc::new(Machine::new(partition, Box::new(|_| {}))?))
        })
        .unwrap()
    }

    /// The daemon could die after every write: with a snapshot on its way, just before and just after
    /// it took the journal's place. What a new daemon reads is the host that was answered.
    #[test]
    fn a_snapshot_takes_over_while_the_journal_goes_on() {
        let name = format!("apmatrix-journal-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&dir));
        let (alive, dead) = (dir.join("alive"), dir.join("dead"));
        let mut begun = start(&alive);
        let (mut number, mut taken_over, mut with_notes) = (0, 0, 0);
        while taken_over < 5 || with_notes == 0 {
            begun.journal.limit = 3;
            number += 1;
            assert!(number < 10_000, "{taken_over} snapshots, {with_notes} late");
            let uuid = format!("00000000-0000-0000-0000-{number:012}");
            let command = Command::CreateMdev(uuid.parse().unwrap());
            let mut next = begun.host.clone();
            next.apply(command.clone(), &mut begun.platform).unwrap();
            let entry = Entry::of(&command, &next).unwrap();
            begun.journal.append(&entry).unwrap();
            begun.host = next;
            let spec = begun.machine.config().to_string();
            let host = begun.host.clone();
            let pending = begun.journal.pending.is_some();
            begun.journal.shorten(|| Image { spec, host });
            if pending && begun.journal.pending.is_none() {
                taken_over += 1;
                with_notes += u32::from(begun.journal.entries > 0);
            }
            fs::create_dir_all(&dead).unwrap();
            fs::copy(alive.join("journal"), dead.join("journal")).unwrap();
            let again = start(&dead);
            assert!(again.host == begun.host, "another host came back");
            drop(again);
            fs::remove_dir_all(&dead).unwrap();
        }
        drop(begun);
        fs::remove_dir_all(dir).unwrap();
    }
}
