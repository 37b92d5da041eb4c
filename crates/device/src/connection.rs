//! The client's end of one connection: framing, message ids, deadlines. Knows nothing of
//! reconnecting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arch::Errno;
use rustix::io::Errno as OsError;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown,
    socket_with,
};
use zerocopy::{FromBytes, IntoBytes};
use zeroize::Zeroizing;

use crate::client::ClientError;
use crate::message::{
    Command, HEADER_LEN, Header, HeaderFlags, MAJOR, MINOR, VersionHead, max_frame,
};
use crate::socket::{
    Deadline, Descriptors, SocketError, receive_some, send_all, wait_end, wait_readable,
};
use crate::version::{OpenReply, OpenRequest};

/// Between two tries of a connect that found the listener's backlog full.
const BACKLOG_RETRY: Duration = Duration::from_millis(5);

/// One connection to a mediated device's socket.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Shared with the thread that waits for its end; see [`Self::line`].
    socket: Arc<OwnedFd>,
    last_id: u16,
    /// Of the protocol, as the server has answered; 0 before.
    minor: u16,
    /// The message that is being received; its first `filled` bytes are there.
    input: Zeroizing<Vec<u8>>,
    filled: usize,
    /// What came with the last reply.
    descriptors: Descriptors,
}

impl Connection {
    /// Connects. The socket never blocks by itself: waiting is done with deadlines.
    pub(crate) fn connect(path: &Path, deadline: Deadline) -> Result<Self, ClientError> {
        let failed = |error: OsError| ClientError::Connect(error.into());
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                Err(OsError::INTR) => {}
                // A full backlog: a Unix socket cannot be polled for room in it.
                Err(OsError::AGAIN) => {
                    if deadline.is_none_or(|deadline| Instant::now() + BACKLOG_RETRY > deadline) {
                        return Err(ClientError::TimedOut);
                    }
                    let pause = crate::socket::deadline_in(BACKLOG_RETRY);
                    crate::socket::wait_until(pause);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Self {
            socket: Arc::new(socket),
            last_id: 0,
            minor: 0,
            input: Zeroizing::new(vec![0; max_frame(0)]),
            filled: 0,
            descriptors: Descriptors::default(),
        })
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket, to wait for what happens on it without holding the connection.
    pub(crate) fn line(&self) -> Line {
        Line(Arc::clone(&self.socket))
    }

    /// Whether the peer has gone, as far as is known without asking it.
    pub(crate) fn hung_up(&self) -> bool {
        wait_end(self.socket(), Some(Instant::now())).is_ok()
    }

    /// Sends VERSION; [`Self::version_reply`] takes the answer.
    pub(crate) fn send_version(
        &mut self,
        request: &OpenRequest,
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        let head = VersionHead {
            major: MAJOR.into(),
            minor: MINOR.into(),
        };
        let text = [head.as_bytes(), request.to_json().as_bytes(), &[0]].concat();
        self.send(Command::Version.raw(), &text, &[], &[], deadline)
    }

    /// The answer to VERSION, or `None` when it has not come by the deadline. The device is open
    /// then.
    pub(crate) fn version_reply(
        &mut self,
        deadline: Deadline,
    ) -> Result<Option<OpenReply>, ClientError> {
        let len = match self.receive(Command::Version.raw(), deadline) {
            Ok(len) => len,
            Err(ClientError::TimedOut) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (head, text) = VersionHead::read_from_prefix(&self.input[HEADER_LEN..HEADER_LEN + len])
            .map_err(|_| ClientError::Protocol("short VERSION reply"))?;
        if head.major.get() != MAJOR {
            return Err(ClientError::Protocol("major version"));
        }
        let reply = OpenReply::from_json(text)
            .map_err(|_| ClientError::Protocol("capabilities in VERSION reply"))?;
        // No server answers more than it was asked for.
        self.minor = head.minor.get().min(MINOR);
        self.input.resize(max_frame(reply.max_message), 0);
        Ok(Some(reply))
    }

    /// The minor version of the protocol that is spoken.
    pub(crate) const fn minor(&self) -> u16 {
        self.minor
    }

    /// Sends a command and waits for its reply; returns the length of the reply's payload, see
    /// [`Self::payload`].
    pub(crate) fn round_trip(
        &mut self,
        command: u16,
        (head, body): (&[u8], &[u8]),
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<usize, ClientError> {
        self.descriptors.clear();
        self.send(command, head, body, descriptors, deadline)?;
        self.receive(command, deadline)
    }

    /// The descriptors that came with the last reply, if they are exactly so many.
    pub(crate) fn descriptors<const N: usize>(&mut self) -> Option<[OwnedFd; N]> {
        self.descriptors.take_all()
    }

    /// The first `len` bytes of the last reply's payload.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        &self.input[HEADER_LEN..HEADER_LEN + len]
    }

    fn send(
        &mut self,
        command: u16,
        head: &[u8],
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        /// Header and the longest `head` of all commands but VERSION.
        const INLINE: usize = HEADER_LEN + 64;
        self.last_id = self.last_id.wrapping_add(1);
        let payload = u32::try_from(head.len() + body.len())
            .map_err(|_| ClientError::Protocol("message too long"))?;
        let header = Header {
            command: command.into(),
            ..Header::command(self.last_id, Command::Version, payload)
        };
        let mut inline = [0; INLINE];
        inline[..HEADER_LEN].copy_from_slice(header.as_bytes());
        let socket = self.socket.as_fd();
        if let Some(place) = inline.get_mut(HEADER_LEN..HEADER_LEN + head.len()) {
            place.copy_from_slice(head);
            let together = &inline[..HEADER_LEN + head.len()];
            send_all(socket, together, body, descriptors, deadline)?;
        } else {
            send_all(socket, header.as_bytes(), head, descriptors, deadline)?;
            send_all(socket, &[], body, &[], deadline)?;
        }
        Ok(())
    }

    /// Receives the reply to the last command; returns the length of its payload, which stands
    /// behind the header in `input`. May be called again after [`ClientError::TimedOut`].
    fn receive(&mut self, command: u16, deadline: Deadline) -> Result<usize, ClientError> {
        self.fill(HEADER_LEN, deadline)?;
        let (header, _) = Header::read_from_prefix(&self.input)
            .map_err(|_| ClientError::Protocol("short header"))?;
        let len = header
            .payload_len(self.input.len())
            .ok_or(ClientError::Protocol("reply size"))?;
        self.fill(HEADER_LEN + len, deadline)?;
        self.filled = 0;
        if header.id.get() != self.last_id || header.command.get() != command {
            return Err(ClientError::Protocol("reply to another command"));
        }
        let flags = header
            .known_flags()
            .filter(|flags| flags.contains(HeaderFlags::REPLY))
            .ok_or(ClientError::Protocol("reply flags"))?;
        if flags.contains(HeaderFlags::ERROR) {
            let raw = header.error.get();
            return Err(match i32::try_from(raw).ok().and_then(Errno::from_raw) {
                Some(errno) => ClientError::Refused(errno),
                None => ClientError::RefusedOther(raw),
            });
        }
        Ok(len)
    }

    /// Receives until `input` holds `wanted` bytes of the message.
    fn fill(&mut self, wanted: usize, deadline: Deadline) -> Result<(), ClientError> {
        while self.filled < wanted {
            let rest = &mut self.input[self.filled..wanted];
            match receive_some(self.socket.as_fd(), rest, &mut self.descriptors) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(received) => self.filled += received,
                Err(SocketError::Os(OsError::AGAIN)) => {
                    wait_readable(self.socket(), deadline)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    /// Whoever still has a [`Line`] must not keep the peer from noticing, nor miss it.
    fn drop(&mut self) {
        let _ended = shutdown(&*self.socket, Shutdown::Both);
    }
}

/// What another thread may have of a connection: it can wait for events and nothing else.
#[derive(Debug)]
pub(crate) struct Line(Arc<OwnedFd>);

impl Line {
    /// Waits until the connection has ended, at either side.
    pub(crate) fn wait_for_end(&self) {
        // Any error is as good as the end: the caller looks again.
        let _ended = wait_end(self.0.as_fd(), None);
    }

    /// Waits until something was received, the connection has ended or the deadline has passed.
    pub(crate) fn wait_for_answer(&self, deadline: Deadline) {
        let _came = wait_readable(self.0.as_fd(), deadline);
    }
}

impl From<SocketError> for ClientError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Closed { .. } | SocketError::Os(OsError::CONNRESET) => Self::Closed,
            SocketError::TimedOut => Self::TimedOut,
            SocketError::TooManyDescriptors => Self::Protocol("descriptors"),
            SocketError::Os(error) => Self::Io(error.into()),
        }
    }
}
