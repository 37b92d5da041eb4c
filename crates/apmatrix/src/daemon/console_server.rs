//! The answering end of the control socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Desk, recorders};
use crate::control::{Request, Response};

/// A request line longer than this ends the connection.
const MAX_LINE: u64 = 64 * 1024;
/// A client that neither asks nor reads for this long is disconnected.
const IDLE: Duration = Duration::from_secs(30);
/// Connections served at once; further ones are closed.
const MAX_CLIENTS: usize = 32;

/// A served control socket.
#[derive(Debug)]
pub(crate) struct ConsoleServer {
    socket: PathBuf,
    stopping: Arc<AtomicBool>,
}

/// Serves `socket` (mode 0600) on threads of its own; `desk` answers.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn serve(socket: &Path, desk: Desk) -> Result<ConsoleServer> {
    drop(std::fs::remove_file(socket));
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    let clients = Arc::new(AtomicUsize::new(0));
    let server = ConsoleServer {
        socket: socket.to_path_buf(),
        stopping: Arc::default(),
    };
    let stopping = Arc::clone(&server.stopping);
    thread::Builder::new()
        .name("console".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                if clients.fetch_add(1, Ordering::Relaxed) >= MAX_CLIENTS {
                    clients.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (desk, clients) = (desk.clone(), Arc::clone(&clients));
                let served =
                    thread::Builder::new()
                        .name("console-client".into())
                        .spawn(move || {
                            if let Err(error) = converse(&stream, &desk) {
                                tracing::debug!("control connection ended: {error:#}");
                            }
                            clients.fetch_sub(1, Ordering::Relaxed);
                        });
                if let Err(error) = served {
                    tracing::warn!("cannot serve a control connection: {error}");
                }
            }
        })?;
    Ok(server)
}

impl ConsoleServer {
    /// Ends the accepting thread; conversations end by themselves.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // The thread looks at the flag when somebody comes.
        drop(UnixStream::connect(&self.socket));
    }
}

fn converse(stream: &UnixStream, desk: &Desk) -> Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let response = match serde_json::from_str(&line) {
            Ok(Request::Record { mdev, secrets }) => {
                return recorders::record(desk, stream, &mdev, secrets);
            }
            Ok(request) => desk.console(request),
            Err(error) => Response::Refused(format!("the request is not understood: {error}")),
        };
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        (&mut &*stream).write_all(text.as_bytes())?;
    }
}
