//! Writing a snapshot: durably to a new file, which then takes the journal's place.
//!
//! ```text
//!   many entries --> thread: rows --> journal.new --> fsync
//!                    control: goes on appending to journal, and notes what it appends
//!   ready        --> control: notes --> journal.new, rename to journal
//!                    syncer: fsync of file and directory within a second
//! ```
//! So control never waits for a disk when a snapshot is due. Until the rename the old file has
//! everything; after it, the new one has.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use matrix::Host;

use super::frame::{self, Chain};
use super::rows::{self, Origin};

/// What is to be kept: the hardware's SPEC and the host.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The hardware as a SPEC.
    pub(crate) spec: String,
    /// The host.
    pub(crate) host: Host,
}

/// A snapshot that was written to a file of its own.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: File,
    /// The checksum so far.
    pub(super) chain: Chain,
    /// How many rows it has.
    pub(super) rows: usize,
}

/// Writes `image` to `path`, durably. What a daemon left there that died here goes first.
///
/// # Errors
/// When it cannot be written; nothing is left at `path`.
pub(super) fn write(path: &Path, origin: &Origin, image: &Image) -> Result<Written> {
    let (text, chain, rows) = text(origin, image)?;
    let file = write_durably(path, &text)
        .with_context(|| format!("cannot write {}", path.display()))
        .inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(Written { file, chain, rows })
}

/// A file that is a snapshot and nothing else: its bytes, their checksum, and how many rows it has.
pub(super) fn text(origin: &Origin, image: &Image) -> Result<(Vec<u8>, Chain, usize)> {
    let (mut text, mut chain) = (frame::header().into_bytes(), Chain::default());
    let rows = rows::rows(origin, &image.spec, &image.host.save());
    for row in &rows {
        frame::put(&mut text, &mut chain, &serde_json::to_string(row)?);
    }
    Ok((text, chain, rows.len()))
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<File> {
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

/// A snapshot that is being written while the journal goes on.
#[derive(Debug)]
pub(super) struct Pending {
    path: PathBuf,
    /// `None` only while it is dropped or has ended.
    writer: Option<JoinHandle<Result<Written>>>,
    /// Payloads that were appended to the journal meanwhile.
    since: Vec<String>,
}

impl Pending {
    /// Begins to write `image` to `path`.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn start(path: PathBuf, origin: Origin, image: Image) -> io::Result<Self> {
        let target = path.clone();
        let writer = thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || write(&target, &origin, &image))?;
        Ok(Self {
            path,
            writer: Some(writer),
            since: Vec::new(),
        })
    }

    /// An entry was appended to the journal.
    pub(super) fn note(&mut self, payload: String) {
        self.since.push(payload);
    }

    /// Whether [`finish`](Self::finish) will not wait.
    pub(super) fn is_ready(&self) -> bool {
        self.writer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The snapshot with everything that was noted, and how many notes those are.
    ///
    /// # Errors
    /// When it could not be written; nothing is left of it.
    pub(super) fn finish(mut self) -> Result<(Written, usize)> {
        let writer = self.writer.take().context("it has ended before")?;
        let ended = writer.join();
        let mut written = ended.map_err(|_| anyhow!("the thread that writes it panicked"))??;
        let mut text = Vec::new();
        for payload in &self.since {
            frame::put(&mut text, &mut written.chain, payload);
        }
        written
            .file
            .write_all(&text)
            .with_context(|| format!("cannot write {}", self.path.display()))
            .inspect_err(|_| drop(fs::remove_file(&self.path)))?;
        Ok((written, self.since.len()))
    }
}

/// Nobody else may write to the file before the thread has ended.
impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}
