//! A served [`Card`] and a peer that writes bytes as it likes.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arch::{CrycbFormat, Facilities};
use device::message::{Command, HEADER_LEN, Header, VersionHead};
use device::{Limits, OpenRequest, SessionEnd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use zerocopy::{FromBytes, IntoBytes};

#[path = "../../examples/echo_card/card.rs"]
pub(crate) mod card;
pub(crate) use card::Card;

/// Short enough for tests, long enough for a loaded machine.
pub(crate) const LIMITS: Limits = Limits {
    handshake: Duration::from_millis(400),
    message: Duration::from_millis(400),
    send: Duration::from_millis(400),
    max_message: 4096,
};

/// A peer that nothing holds to the protocol.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    session: Option<JoinHandle<SessionEnd>>,
}

pub(crate) fn request() -> OpenRequest {
    OpenRequest {
        vm: "test-vm".parse().unwrap(),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    }
}

impl Peer {
    /// Connected, not open.
    pub(crate) fn connect(card: &Arc<Card>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let card = Arc::clone(card);
        let serve = move || device::serve(theirs, &*card, &LIMITS);
        let session = std::thread::Builder::new().spawn(serve).unwrap();
        Self {
            stream: ours,
            session: Some(session),
        }
    }

    /// Open.
    pub(crate) fn open(card: &Arc<Card>) -> Self {
        let mut peer = Self::connect(card);
        peer.send(Command::Version.raw(), &version(&request().to_json()));
        let (header, _) = peer.receive().unwrap();
        assert_eq!(header.error.get(), 0);
        peer
    }

    pub(crate) fn send(&mut self, command: u16, payload: &[u8]) {
        self.stream.write_all(&message(command, payload)).unwrap();
    }

    pub(crate) fn send_with(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        let slices = [std::io::IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(&self.stream, &slices, &mut control, flags).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The next message, or `None` at the end of the stream.
    pub(crate) fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.stream.read_exact(&mut header).ok()?;
        let header = Header::read_from_bytes(&header).unwrap();
        let mut payload = vec![0; header.payload_len(1 << 20).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Some((header, payload))
    }

    /// Sends a command; the errno of its reply, 0 for success.
    pub(crate) fn errno(&mut self, command: u16, payload: &[u8]) -> u32 {
        self.send(command, payload);
        let (header, _) = self.receive().unwrap();
        header.error.get()
    }

    /// The session's end, which must come by itself.
    pub(crate) fn end(mut self) -> SessionEnd {
        let session = self.session.take().unwrap();
        let (done, wait) = mpsc::channel();
        let waiter = std::thread::Builder::new();
        waiter
            .spawn(move || done.send(session.join().unwrap()))
            .unwrap();
        wait.recv_timeout(Duration::from_secs(5))
            .expect("the session ends by itself")
    }

    /// Closes; the session's end.
    pub(crate) fn close(mut self) -> SessionEnd {
        let session = self.session.take().unwrap();
        drop(self);
        session.join().unwrap()
    }
}

pub(crate) fn message(command: u16, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        id: 7.into(),
        command: command.into(),
        size: u32::try_from(HEADER_LEN + payload.len()).unwrap().into(),
        ..Header::default()
    };
    [header.as_bytes(), payload].concat()
}

/// The payload of VERSION.
pub(crate) fn version(json: &str) -> Vec<u8> {
    let head = VersionHead {
        major: 0.into(),
        minor: 1.into(),
    };
    [head.as_bytes(), json.as_bytes(), &[0]].concat()
}

pub(crate) fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap()
}

/// The counter of an eventfd, or `None` while it is 0.
pub(crate) fn counter(eventfd: &OwnedFd) -> Option<u64> {
    let mut bytes = [0; 8];
    rustix::io::read(eventfd.as_fd(), &mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

/// A socket in a directory of its own, served until the process ends.
pub(crate) struct Served {
    pub(crate) path: PathBuf,
    directory: PathBuf,
}

impl Served {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("apmatrix-device-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("mdev.sock");
        Self { path, directory }
    }

    /// Serves `card` to `connections` clients, then the listener closes.
    pub(crate) fn serve(&self, card: &Arc<Card>, connections: usize) {
        let _old = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let card = Arc::clone(card);
        std::thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().take(connections) {
                    let card = Arc::clone(&card);
                    let limits = Limits {
                        max_message: 4096,
                        ..Limits::default()
                    };
                    std::thread::Builder::new()
                        .spawn(move || device::serve(stream.unwrap(), &*card, &limits))
                        .unwrap();
                }
            })
            .unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("did not happen within 5 s");
}
