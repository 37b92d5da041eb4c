//! Bounded waiting on a stream socket: every receive and send has a deadline, and every descriptor
//! that arrives is owned at once.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as OsError;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::message::MAX_DESCRIPTORS;

/// When a wait ends without its event. `None`: never.
pub(crate) type Deadline = Option<Instant>;

/// The deadline `timeout` from now; a time too far to be expressed never comes.
pub(crate) fn deadline_in(timeout: Duration) -> Deadline {
    Instant::now().checked_add(timeout)
}

/// Why a receive or send ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SocketError {
    /// The peer closed its end; `partial` when bytes of the buffer had come already.
    Closed { partial: bool },
    /// The deadline passed.
    TimedOut,
    /// More than [`MAX_DESCRIPTORS`] descriptors came; the kernel or we closed the rest.
    TooManyDescriptors,
    /// The operating system reported something else.
    Os(OsError),
}

/// Descriptors that came with a message. Dropping closes them.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// Room for the most descriptors of a message, so that receiving does not allocate.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(MAX_DESCRIPTORS))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes one out.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        self.0.pop()
    }

    /// Takes all out, if there are exactly so many.
    pub(crate) fn take_all<const N: usize>(&mut self) -> Option<[OwnedFd; N]> {
        std::mem::take(&mut self.0).try_into().ok()
    }
}

/// What ended [`wait_for_work`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Readable {
    /// The socket has data, or its end.
    Socket,
    /// The wake descriptor is readable; it comes first.
    Wake,
    /// The doorbell is readable; it comes second.
    Doorbell,
}

/// What a session waits for besides its socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others<'fd> {
    /// The rest of the daemon wants something.
    pub(crate) wake: Option<BorrowedFd<'fd>>,
    /// The client has rung.
    pub(crate) doorbell: Option<BorrowedFd<'fd>>,
}

/// Waits until `socket` is readable.
pub(crate) fn wait_readable(socket: BorrowedFd<'_>, deadline: Deadline) -> Result<(), SocketError> {
    poll_until(
        &mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)],
        deadline,
    )
}

/// Waits until the socket or one of the others is readable.
pub(crate) fn wait_for_work(
    socket: BorrowedFd<'_>,
    others: Others<'_>,
) -> Result<Readable, SocketError> {
    wait_among(socket, PollFlags::IN, others)
}

/// Waits until the peer of `socket` has gone or one of the others is readable; what the peer has sent
/// stays.
pub(crate) fn wait_hangup(
    socket: BorrowedFd<'_>,
    others: Others<'_>,
) -> Result<Readable, SocketError> {
    wait_among(socket, PollFlags::RDHUP, others)
}

fn wait_among(
    socket: BorrowedFd<'_>,
    event: PollFlags,
    others: Others<'_>,
) -> Result<Readable, SocketError> {
    // What is not there is the socket without an event to be asked for.
    let other = |fd: Option<BorrowedFd<'_>>| fd.map_or(PollFlags::empty(), |_| PollFlags::IN);
    let Others { wake, doorbell } = others;
    let mut fds = [
        PollFd::from_borrowed_fd(socket, event),
        PollFd::from_borrowed_fd(wake.unwrap_or(socket), other(wake)),
        PollFd::from_borrowed_fd(doorbell.unwrap_or(socket), other(doorbell)),
    ];
    poll_until(&mut fds, None)?;
    Ok(if wake.is_some() && !fds[1].revents().is_empty() {
        Readable::Wake
    } else if doorbell.is_some() && fds[2].revents().contains(PollFlags::IN) {
        Readable::Doorbell
    } else {
        Readable::Socket
    })
}

/// Waits until the connection of `socket` has ended at either side.
pub(crate) fn wait_end(socket: BorrowedFd<'_>, deadline: Deadline) -> Result<(), SocketError> {
    // The hang-up itself is reported without being asked for.
    poll_until(
        &mut [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)],
        deadline,
    )
}

/// Polls until one of `fds` has an event.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<(), SocketError> {
    loop {
        let timeout = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // A day is as good as anything longer, and always expressible.
                Some(left.min(Duration::from_secs(86_400)))
            }
        };
        let timespec = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(fds, timespec.as_ref()) {
            Ok(0) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Err(SocketError::TimedOut);
            }
            Ok(0) | Err(OsError::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(SocketError::Os(error)),
        }
    }
}

/// Waits for nothing but the deadline.
pub(crate) fn wait_until(deadline: Deadline) {
    // Without descriptors the wait can only end by the deadline.
    let _timed_out = poll_until(&mut [], deadline);
}

/// Receives what is there, at most `buffer`, without waiting. `Ok(0)` is the end of the stream;
/// `Err(Os(AGAIN))` means that nothing is there.
pub(crate) fn receive_some(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Descriptors,
) -> Result<usize, SocketError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(received) => break received,
            Err(OsError::INTR) => {}
            Err(error) => return Err(SocketError::Os(error)),
        }
    };
    let mut too_many = received.flags.contains(ReturnFlags::CTRUNC);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            for descriptor in received {
                if descriptors.len() < MAX_DESCRIPTORS {
                    descriptors.0.push(descriptor);
                } else {
                    too_many = true;
                    drop(descriptor);
                }
            }
        }
    }
    if too_many {
        return Err(SocketError::TooManyDescriptors);
    }
    Ok(received.bytes)
}

/// Receives exactly `buffer`.
pub(crate) fn receive_exact(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Descriptors,
    deadline: Deadline,
) -> Result<(), SocketError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match receive_some(socket, &mut buffer[filled..], descriptors) {
            Ok(0) => {
                return Err(SocketError::Closed {
                    partial: filled > 0,
                });
            }
            Ok(received) => filled += received,
            Err(SocketError::Os(OsError::AGAIN)) => {
                wait_readable(socket, deadline)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends `head` and `body` completely, `descriptors` with the first byte.
pub(crate) fn send_all(
    socket: BorrowedFd<'_>,
    mut head: &[u8],
    mut body: &[u8],
    mut descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<(), SocketError> {
    while !head.is_empty() || !body.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(SocketError::TooManyDescriptors);
        }
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &slices, &mut control, flags) {
            Ok(sent) => {
                let of_head = sent.min(head.len());
                head = &head[of_head..];
                body = &body[sent - of_head..];
                descriptors = &[];
            }
            Err(OsError::INTR) => {}
            Err(OsError::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
                poll_until(&mut fds, deadline)?;
            }
            Err(OsError::PIPE | OsError::CONNRESET) => {
                return Err(SocketError::Closed { partial: true });
            }
            Err(error) => return Err(SocketError::Os(error)),
        }
    }
    Ok(())
}
