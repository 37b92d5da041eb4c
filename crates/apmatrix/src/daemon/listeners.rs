//! The sockets of the mediated devices: `RUN/mdev/UUID.sock`, and `RUN/vfio/N` by IOMMU group.
//!
//! One thread waits for connections on all of them, so ten thousand devices cost ten thousand
//! descriptors and no thread. An accepted connection gets a thread of its own.
//!
//! ```text
//!   connect(2) --> backlog --> accepted, counted --> its session --> gone
//!                     ^                |                              |
//!                     |                v  MAX_CONNECTIONS             v
//!                     +---- the socket is not looked at <--> it is looked at again
//! ```
//! A connection above the limit waits in the backlog; it is not accepted to be closed. Closing is what
//! the peer can make slow, by what it has passed through the socket (a TCP connection that lingers), so
//! neither this thread nor control ever closes what a peer may have touched: sessions do, and a thread
//! of its own for what is left in the backlog of a device that goes.
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
use std::time::Duration;

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
    connections: usize,
}

/// One accepted connection of a device, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    listeners: Arc<Listeners>,
    token: u64,
    mdev: MdevUuid,
}

impl Connection {
    /// The device.
    pub(crate) const fn mdev(&self) -> MdevUuid {
        self.mdev
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listeners.left(self.token);
    }
}

/// The token of the descriptor that ends the thread.
const STOP: u64 = 0;

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 128;

/// Accepted connections of one device at a time. One is the guest's. The others can only be clients that
/// have not said who they are yet, or that are told EBUSY; a flood of them must not cost threads without
/// end.
const MAX_CONNECTIONS: usize = 8;

/// How long nobody is accepted when the system has no descriptor left.
const BREATH: Duration = Duration::from_millis(20);

/// Descriptors that sockets leave to everything else: a session takes up to six.
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
        connected: impl Fn(Connection, UnixStream) + Send + 'static,
    ) -> Result<Arc<Self>> {
        Self::with_room(room_for_sockets(), connected)
    }

    fn with_room(
        room: usize,
        connected: impl Fn(Connection, UnixStream) + Send + 'static,
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
                connections: 0,
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
        close(&socket.listener);
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

    fn accept_all(self: &Arc<Self>, connected: &dyn Fn(Connection, UnixStream)) {
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
                let Some((mdev, listener)) = self.listener(token) else {
                    continue;
                };
                match listener.accept() {
                    Ok((stream, _)) => {
                        self.entered(token);
                        let connection = Connection {
                            listeners: Arc::clone(self),
                            token,
                            mdev,
                        };
                        connected(connection, stream);
                    }
                    Err(error) if is_shortage(&error) => {
                        tracing::warn!(%mdev, "cannot accept a connection: {error}");
                        thread::sleep(BREATH);
                    }
                    // It is gone again.
                    Err(_) => {}
                }
            }
        }
    }

    fn listener(&self, token: u64) -> Option<(MdevUuid, Arc<UnixListener>)> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = sockets.by_token.get(&token)?;
        Some((socket.mdev, Arc::clone(&socket.listener)))
    }

    /// Counts a connection; the one that reaches the limit is the last for now.
    fn entered(&self, token: u64) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = sockets.by_token.get_mut(&token) {
            socket.connections += 1;
            if socket.connections == MAX_CONNECTIONS {
                tracing::debug!(mdev = %socket.mdev, "further connections wait");
                self.look(socket, token, epoll::EventFlags::empty());
            }
        }
    }

    /// A connection is gone; the device may be, too.
    fn left(&self, token: u64) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = sockets.by_token.get_mut(&token) {
            socket.connections -= 1;
            if socket.connections == MAX_CONNECTIONS - 1 {
                self.look(socket, token, epoll::EventFlags::IN);
            }
        }
    }

    fn look(&self, socket: &Socket, token: u64, events: epoll::EventFlags) {
        let data = epoll::EventData::new_u64(token);
        if let Err(error) = epoll::modify(&self.epoll, &*socket.listener, data, events) {
            tracing::error!(mdev = %socket.mdev, "cannot change what is waited for: {error}");
        }
    }
}

/// Whether the system, not the peer, is why nobody could be accepted.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Empties the backlog of a socket for ever, so that closing it waits for nothing that a peer has passed
/// through it.
fn close(listener: &UnixListener) {
    // From now on nobody can connect, whoever still has the name.
    rustix::net::shutdown(listener, rustix::net::Shutdown::Both).ok();
    let accept = || listener.accept().ok().map(|(stream, _)| stream);
    let left: Vec<UnixStream> = std::iter::from_fn(accept).collect();
    if !left.is_empty() {
        let closing = thread::Builder::new().name("closing".into());
        if let Err(error) = closing.spawn(move || drop(left)) {
            tracing::warn!("connections were closed with some delay: {error}");
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

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("apmatrix-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn connections_above_the_limit_wait_in_line() {
        let dir = scratch("line");
        let (sender, receiver) = channel();
        let connected = move |connection, stream| sender.send((connection, stream)).unwrap();
        let listeners = Listeners::with_room(2, connected).unwrap();
        let [mdev, other] = ['1', '2'].map(|digit| {
            let uuid = format!("{digit}2177883-f1bb-47f0-914d-32a22e3a8804");
            let mdev: MdevUuid = uuid.parse().unwrap();
            let socket = dir.join(&uuid);
            let group = socket.with_extension("group");
            listeners.add(mdev, Paths { socket, group }).unwrap();
            mdev
        });
        let connect = |mdev: MdevUuid| UnixStream::connect(dir.join(mdev.to_string())).unwrap();
        let accepted = || receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        let peers: Vec<_> = (0..MAX_CONNECTIONS + 2).map(|_| connect(mdev)).collect();
        let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| accepted()).collect();
        assert!(held.iter().all(|(connection, _)| connection.mdev() == mdev));
        // The next one that is served is another device's, though it came later.
        let late = connect(other);
        assert_eq!(accepted().0.mdev(), other);
        assert!(receiver.try_recv().is_err());
        held.pop();
        held.push(accepted());
        assert_eq!(held.last().unwrap().0.mdev(), mdev);
        // The device goes with one in line, which finds itself closed.
        listeners.remove(mdev);
        let mut last = peers.last().unwrap();
        last.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let end = io::Read::read(&mut last, &mut [0]);
        assert!(
            matches!(end, Ok(0))
                || end.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
        );
        assert!(UnixStream::connect(dir.join(mdev.to_string())).is_err());
        drop((held, late));
        listeners.stop();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_device_without_room_gets_its_socket_when_another_goes() {
        let dir = scratch("listeners");
        let (sender, receiver) = channel();
        let connected = move |connection: Connection, _| sender.send(connection.mdev()).unwrap();
        let listeners = Listeners::with_room(2, connected).unwrap();
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
