//! Makes durable what was written, once a second, without holding up control.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// Power loss costs at most what was written within this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread that syncs.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: File,
    file: Mutex<Arc<File>>,
    /// The file has taken another one's place in the directory.
    renamed: AtomicBool,
    written: AtomicBool,
    failed: AtomicBool,
}

impl Syncer {
    /// Starts to sync `file` in `dir`.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn start(file: Arc<File>, dir: File) -> Result<Self> {
        let shared = Arc::new(Shared {
            dir,
            file: Mutex::new(file),
            renamed: AtomicBool::new(false),
            written: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let (stop, stopped) = channel::<()>();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("sync".into())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    theirs.sync();
                }
            })
            .context("cannot start the syncing thread")?;
        Ok(Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Something was written.
    pub(super) fn written(&self) {
        self.shared.written.store(true, Ordering::Release);
    }

    /// From now on it is this file, whose end and name are not durable yet.
    pub(super) fn replace(&self, file: Arc<File>) {
        *self.shared.current() = file;
        self.shared.renamed.store(true, Ordering::Release);
        self.shared.written.store(true, Ordering::Release);
    }

    /// From now on it is this file, which is durable as it is; earlier failures do not matter any more.
    pub(super) fn restart(&self, file: Arc<File>) {
        *self.shared.current() = file;
        self.shared.renamed.store(false, Ordering::Release);
        self.shared.written.store(false, Ordering::Release);
        self.shared.failed.store(false, Ordering::Release);
    }

    /// Whether something that was written may never become durable.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Makes everything durable now.
    pub(super) fn sync(&self) {
        self.shared.sync();
    }
}

impl Shared {
    fn sync(&self) {
        if !self.written.swap(false, Ordering::AcqRel) {
            return;
        }
        let file = Arc::clone(&self.current());
        let synced = file.sync_data().and_then(|()| {
            if self.renamed.swap(false, Ordering::AcqRel) {
                self.dir.sync_all()?;
            }
            Ok(())
        });
        if let Err(error) = synced {
            // The kernel may have dropped what it could not write: only a new file helps.
            tracing::error!("the state cannot be made durable: {error}");
            if Arc::ptr_eq(&self.current(), &file) {
                self.failed.store(true, Ordering::Release);
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Arc<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
