//! The threads of sessions, from a connection to the thread's end.
//!
//! ```text
//!   accepted --> session's thread: serve --> "endings": join --> the connection counts no more
//! ```
//! A connection is counted until its thread is gone, not only until it has done its work: on a busy
//! machine threads that end would pile up otherwise, as many as a peer connects and leaves.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use device::{Limits, serve};

use super::Desk;
use super::listeners::{Connection, Listeners};
use super::session::MdevBackend;

/// Sockets of mediated devices; each connection is served on a thread of its own.
///
/// # Errors
/// When the sockets' thread or the one that waits for ended sessions cannot be started.
pub(super) fn listen(desk: &Desk) -> Result<Arc<Listeners>> {
    let desk = desk.clone();
    let (ended, endings) = channel::<(JoinHandle<()>, Connection)>();
    thread::Builder::new()
        .name("endings".into())
        .spawn(move || {
            for (thread, connection) in endings {
                if thread.join().is_err() {
                    tracing::error!(mdev = %connection.mdev(), "a session failed");
                }
                drop(connection);
            }
        })
        .context("cannot start a thread")?;
    Listeners::start(move |connection, stream| {
        let mdev = connection.mdev();
        let backend = MdevBackend::new(desk.clone(), mdev);
        let (own, handle) = channel();
        let ended = ended.clone();
        let served = thread::Builder::new()
            .name("session".into())
            .spawn(move || {
                let _last = Ending {
                    handle,
                    connection: Some(connection),
                    ended,
                };
                let end = serve(stream, &backend, &Limits::default());
                tracing::debug!(%mdev, "session ended: {end}");
            });
        match served {
            Ok(thread) => drop(own.send(thread)),
            Err(error) => tracing::warn!(%mdev, "cannot serve a connection: {error}"),
        }
    })
}

/// The last thing that a session's thread does, also when it panics: it gives its connection to who
/// waits for the thread's end.
struct Ending {
    handle: Receiver<JoinHandle<()>>,
    connection: Option<Connection>,
    ended: Sender<(JoinHandle<()>, Connection)>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Who started this thread sends its handle at once.
        if let Some(connection) = self.connection.take()
            && let Ok(thread) = self.handle.recv()
        {
            drop(self.ended.send((thread, connection)));
        }
    }
}
