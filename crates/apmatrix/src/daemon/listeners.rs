//! The sockets of the mediated devices: `RUN/mdev/UUID.sock`, and `RUN/vfio/N` by IOMMU group.
//!
//! One thread waits for connections on all of them, so ten thousand devices cost ten thousand
//! descriptors and no thread. An accepted connection gets a thread of its own.
//!
//! Descriptors are bounded: the daemon raises its limit as far as it may, and keeps [`RESERVE`] of them
//! for connections, the tree and the console. A device beyond that exists and can be administered; its
//! socket appears as soon as another device's has gone.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use matrix::MdevUuid;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The sockets that are listened at.
#[derive(Debug)]
pub(crate) struct Listeners {
    epoll: OwnedFd,
    stop: OwnedFd,
    /// How many sockets there may be.
    room: usize,
    sockets: Mutex<Sockets>,
}

/// Where the socket of a device is found.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// By the device's UUID.
    pub(crate) socket: PathBuf,
    /// By the device's IOMMU group; a second name of the same socket.
    pub(crate) group: PathBuf,
}

#[derive(Debug, Default)]
struct Sockets {
    by_token: BTreeMap<u64, Socket>,
    tokens: BTreeMap<MdevUuid, u64>,
    /// Tokens are never used again, so a late event cannot reach another device.
    last_token: u64,
    /// Devices without a socket, first come first served.
    waiting: VecDeque<(MdevUuid, Paths)>,
}

#[derive(Clone, Debug)]
struct Socket {
    mdev: MdevUuid,
    listener: Arc<UnixListener>,
    paths: Paths,
}

/// The token of the descriptor that ends the thread.
const STOP: u64 = 0;

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 128;

/// Descriptors that sockets leave to everything else: a session takes up to five.
const RESERVE: u64 = 512;

/// Raises the limit of open files as far as an ordinary process may, and returns how many sockets that
/// leaves room for.
fn room_for_sockets() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(_) => limits.current,
    };
    let room = current.map_or(u64::MAX, |files| {
        files.saturating_sub(RESERVE).max(files / 2)
    });
    usize::try_from(room).unwrap_or(usize::MAX)
}

impl Listeners {
    /// Starts the accepting thread. `connected` is called on it for every new connection and must
    /// return at once.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub(crate) fn start(
        connected: impl Fn(MdevUuid, UnixStream) + Send + 'static,
    ) -> Result<Arc<Self>> {
        Self::with_room(room_for_sockets(), connected)
    }

    fn with_room(
        room: usize,
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
            room,
            sockets: Mutex::default(),
        });
        let waiting = Arc::clone(&listeners);
        thread::Builder::new()
            .name("listeners".into())
            .spawn(move || waiting.accept_all(&connected))
            .context("cannot start the listening thread")?;
        Ok(listeners)
    }

    /// Listens at the device's paths (mode 0600), or waits for room.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn add(&self, mdev: MdevUuid, paths: Paths) -> Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.by_token.len() >= self.room {
            tracing::warn!(
                %mdev,
                "no descriptor is left for the device's socket: it can be administered, but not opened \
                 until another device goes; raise the hard limit of open files (ulimit -Hn, \
                 LimitNOFILE=), which leaves room for {} devices",
                self.room,
            );
            sockets.waiting.push_back((mdev, paths));
            return Ok(());
        }
        self.listen(&mut sockets, mdev, paths)
    }

    fn listen(&self, sockets: &mut Sockets, mdev: MdevUuid, paths: Paths) -> Result<()> {
        let listener = bind(&paths)?;
        let listener = Arc::new(listener);
        sockets.last_token += 1;
        let token = sockets.last_token;
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, &*listener, data, epoll::EventFlags::IN)?;
        sockets.by_token.insert(
            token,
            Socket {
                mdev,
                listener,
                paths,
            },
        );
        sockets.tokens.insert(mdev, token);
        Ok(())
    }

    /// Stops listening for `mdev`; connections that were accepted go on. The first device that waits for
    /// room gets it.
    pub(crate) fn remove(&self, mdev: MdevUuid) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.waiting.retain(|(waiting, _)| *waiting != mdev);
        let token = sockets.tokens.remove(&mdev);
        let Some(socket) = token.and_then(|token| sockets.by_token.remove(&token)) else {
            return;
        };
        epoll::delete(&self.epoll, &*socket.listener).ok();
        drop(fs::remove_file(&socket.paths.socket));
        drop(fs::remove_file(&socket.paths.group));
        // Frees the descriptor that the next device needs.
        drop(socket);
        if let Some((next, paths)) = sockets.waiting.pop_front()
            && let Err(error) = self.listen(&mut sockets, next, paths)
        {
            tracing::error!(mdev = %next, "the device cannot be opened: {error:#}");
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

/// Binds to both paths with mode 0600 from the first moment; what a dead daemon left there goes first.
fn bind(paths: &Paths) -> Result<UnixListener> {
    let named = || -> io::Result<UnixListener> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // The name gets the mode that the socket has.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&paths.socket)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        fs::hard_link(&paths.socket, &paths.group)?;
        Ok(UnixListener::from(socket))
    };
    let bound = named().or_else(|error| {
        if !matches!(
            error.kind(),
            io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists
        ) {
            return Err(error);
        }
        for old in [&paths.socket, &paths.group] {
            drop(fs::remove_file(old));
        }
        named()
    });
    bound.with_context(|| {
        let Paths { socket, group } = paths;
        format!(
            "cannot listen at {} and {}",
            socket.display(),
            group.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_device_without_room_gets_its_socket_when_another_goes() {
        let dir = std::env::temp_dir().join(format!("apmatrix-listeners-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (sender, receiver) = channel();
        let listeners = Listeners::with_room(2, move |mdev, _| sender.send(mdev).unwrap()).unwrap();
        let mdevs = ['1', '2', '3', '4'].map(|digit| {
            let uuid = format!("{digit}2177883-f1bb-47f0-914d-32a22e3a8804");
            uuid.parse::<MdevUuid>().unwrap()
        });
        let path = |mdev: MdevUuid| dir.join(mdev.to_string());
        let paths = |mdev: MdevUuid| Paths {
            socket: path(mdev),
            group: path(mdev).with_extension("group"),
        };
        // A leftover is in nobody's way.
        fs::write(path(mdevs[0]), "").unwrap();
        for mdev in mdevs {
            listeners.add(mdev, paths(mdev)).unwrap();
        }
        let there = || mdevs.map(|mdev| path(mdev).exists());
        assert_eq!(there(), [true, true, false, false]);
        // The third is gone before there is room for it.
        listeners.remove(mdevs[2]);
        listeners.remove(mdevs[0]);
        assert_eq!(there(), [false, true, false, true]);
        drop(UnixStream::connect(path(mdevs[3])).unwrap());
        let connected = receiver.recv_timeout(Duration::from_secs(10));
        assert_eq!(connected, Ok(mdevs[3]));
        listeners.stop();
        fs::remove_dir_all(dir).unwrap();
    }
}
