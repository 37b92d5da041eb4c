//! The sockets of the mediated devices: `RUN/mdev/UUID.sock`, and `RUN/vfio/N` by IOMMU group.
//!
//! One thread waits for connections on all of them, so ten thousand devices cost ten thousand
//! descriptors and no thread. An accepted connection gets a thread of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use matrix::MdevUuid;
use rustix::event::{EventfdFlags, epoll, eventfd};

/// The sockets that are listened at.
#[derive(Debug)]
pub(crate) struct Listeners {
    epoll: OwnedFd,
    stop: OwnedFd,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    by_token: BTreeMap<u64, Socket>,
    tokens: BTreeMap<MdevUuid, u64>,
    /// Tokens are never used again, so a late event cannot reach another device.
    last_token: u64,
}

#[derive(Clone, Debug)]
struct Socket {
    mdev: MdevUuid,
    listener: Arc<UnixListener>,
    paths: [PathBuf; 2],
}

/// The token of the descriptor that ends the thread.
const STOP: u64 = 0;

impl Listeners {
    /// Starts the accepting thread. `connected` is called on it for every new connection and must
    /// return at once.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub(crate) fn start(
        connected: impl Fn(MdevUuid, UnixStream) + Send + 'static,
    ) -> Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot make an epoll")?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an eventfd")?;
        epoll::add(
            &epoll,
            &stop,
            epoll::EventData::new_u64(STOP),
            epoll::EventFlags::IN,
        )?;
        let listeners = Arc::new(Self {
            epoll,
            stop,
            sockets: Mutex::default(),
        });
        let waiting = Arc::clone(&listeners);
        thread::Builder::new()
            .name("listeners".into())
            .spawn(move || waiting.accept_all(&connected))
            .context("cannot start the listening thread")?;
        Ok(listeners)
    }

    /// Listens at `path` (mode 0600) for `mdev`; `group` becomes a second name of the same socket.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn add(&self, mdev: MdevUuid, path: PathBuf, group: PathBuf) -> Result<()> {
        for old in [&path, &group] {
            drop(fs::remove_file(old));
        }
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::hard_link(&path, &group).with_context(|| format!("cannot make {}", group.display()))?;
        listener.set_nonblocking(true)?;
        let listener = Arc::new(listener);
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.last_token += 1;
        let token = sockets.last_token;
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, &*listener, data, epoll::EventFlags::IN)?;
        sockets.by_token.insert(
            token,
            Socket {
                mdev,
                listener,
                paths: [path, group],
            },
        );
        sockets.tokens.insert(mdev, token);
        Ok(())
    }

    /// Stops listening for `mdev`; connections that were accepted go on.
    pub(crate) fn remove(&self, mdev: MdevUuid) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let token = sockets.tokens.remove(&mdev);
        if let Some(socket) = token.and_then(|token| sockets.by_token.remove(&token)) {
            epoll::delete(&self.epoll, &*socket.listener).ok();
            for path in &socket.paths {
                drop(fs::remove_file(path));
            }
        }
    }

    /// Ends the accepting thread.
    pub(crate) fn stop(&self) {
        rustix::io::write(&self.stop, &1u64.to_ne_bytes()).ok();
    }

    fn accept_all(&self, connected: &dyn Fn(MdevUuid, UnixStream)) {
        let mut events = Vec::with_capacity(16);
        loop {
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return tracing::error!("cannot wait for connections: {error}"),
            }
            for event in &events {
                let token = event.data.u64();
                if token == STOP {
                    return;
                }
                let socket = {
                    let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
                    sockets.by_token.get(&token).cloned()
                };
                if let Some(socket) = socket
                    && let Ok((stream, _)) = socket.listener.accept()
                {
                    connected(socket.mdev, stream);
                }
            }
        }
    }
}
