//! One session: serves one connection from its first byte to its end.
//!
//! ```text
//!                    VERSION, backend opens               message complete
//!   [handshake] ------------------------------> [idle] <-------------------- [in a message]
//!        | silent for too long                    | first byte of a message        ^
//!        | refused, garbage                       +--------------------------------+
//!        v                                        | end of stream, evicted         | stalls, lies,
//!      (end) <------------------------------------+--------------------------------+ never reads
//! ```
//!
//! Two buffers of the largest message are allocated when the session starts; nothing that a peer
//! sends makes it allocate more. An idle client may wait for ever; a client in the middle of a
//! message, or one that does not read its replies, may not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arch::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};
use zeroize::Zeroizing;

use crate::backend::{DeviceBackend, DeviceSession, DmaRange, Grant, Wakeup};
use crate::eventfd::{is_eventfd, signal_eventfd};
use crate::exec::{decode_request, encode_outcome};
use crate::irq::{IrqIndex, check_set_irqs};
use crate::message::{
    ApcbReply, Command, DEFAULT_MAX_MESSAGE, DeviceFlags, DeviceInfo, DmaMap, DmaUnmap, ExecReply,
    HEADER_LEN, HIGHEST_MAX_MESSAGE, Header, HeaderFlags, IRQ_COUNT, IrqInfo, MAJOR, MINOR,
    SetIrqs, VersionHead, max_frame,
};
use crate::socket::{
    Descriptors, Readable, SocketError, deadline_in, receive_exact, send_all, wait_readable,
};
use crate::version::{OpenReply, OpenRequest, format_number};

/// Bounds of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the connection to the end of VERSION.
    pub handshake: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// For a reply to be taken by the peer.
    pub send: Duration,
    /// Longest AP message and reply in bytes, at most [`HIGHEST_MAX_MESSAGE`].
    pub max_message: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            message: Duration::from_secs(10),
            send: Duration::from_secs(10),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }
}

/// Why a session ended. None of it is an error of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionEnd {
    /// The client closed the connection between two messages.
    #[error("closed by the client")]
    Closed,
    /// The client closed the connection in the middle of a message or of a reply.
    #[error("closed by the client in the middle of a message")]
    Truncated,
    /// VERSION did not come in time.
    #[error("no VERSION within the handshake time")]
    HandshakeTimeout,
    /// A message began and did not end in time.
    #[error("a message did not end in time")]
    MessageTimeout,
    /// The client did not read its replies.
    #[error("the client does not read its replies")]
    SendTimeout,
    /// The client broke the protocol in a way that leaves nothing to answer.
    #[error("protocol violation: {0}")]
    Violation(Violation),
    /// The device was not opened; the client got this error.
    #[error("open refused: {0}")]
    Refused(Errno),
    /// The backend ended the session by [`Wakeup::close`].
    #[error("ended by the daemon")]
    Evicted,
    /// The operating system reported an error (its number).
    #[error("error {0} from the operating system")]
    Os(i32),
}

/// How a client broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A size below the header's or above the limit.
    #[error("message size out of range")]
    Size,
    /// Not a command, or unknown flags.
    #[error("message flags")]
    Flags,
    /// The first message was not VERSION.
    #[error("a command before VERSION")]
    NotOpen,
    /// More descriptors than any message may carry.
    #[error("too many descriptors")]
    Descriptors,
}

/// Serves one connection until it ends. The caller gives it a thread of its own, and ends it from
/// outside by shutting down a clone of `stream` or through [`DeviceSession::wake_fd`].
pub fn serve<B: DeviceBackend>(stream: UnixStream, backend: &B, limits: &Limits) -> SessionEnd {
    let max_message = limits.max_message.clamp(1, HIGHEST_MAX_MESSAGE);
    let frame = max_frame(max_message);
    let mut link = Link {
        stream,
        limits: Limits {
            max_message,
            ..*limits
        },
        input: Zeroizing::new(vec![0; frame]),
        output: Zeroizing::new(vec![0; frame]),
        descriptors: Descriptors::new(),
    };
    match handshake(&mut link, backend) {
        Ok((session, grant)) => Session {
            link,
            device: session,
            grant,
            eventfds: [None, None],
        }
        .run(),
        Err(end) => end,
    }
}

/// The connection and its buffers, which hold a guest's operands and are wiped in the end.
struct Link {
    stream: UnixStream,
    limits: Limits,
    /// The payload of the present message.
    input: Zeroizing<Vec<u8>>,
    /// The present reply, header included.
    output: Zeroizing<Vec<u8>>,
    descriptors: Descriptors,
}

/// What a command gets: the length of its reply's payload, which stands in the output buffer
/// already, or an error.
type Answer = Result<usize, Errno>;

impl Link {
    fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Receives one message: its header, and its payload into `input[..len]`.
    fn receive(&mut self, timeout: Duration) -> Result<(Header, usize), SessionEnd> {
        self.descriptors.clear();
        let deadline = deadline_in(timeout);
        let mut header = Header::default();
        receive_exact(
            self.stream.as_fd(),
            header.as_mut_bytes(),
            &mut self.descriptors,
            deadline,
        )
        .map_err(|error| match error {
            SocketError::Closed { partial: false } => SessionEnd::Closed,
            other => receive_end(other),
        })?;
        let len = header
            .payload_len(self.input.len())
            .ok_or(SessionEnd::Violation(Violation::Size))?;
        let flags = header
            .known_flags()
            .ok_or(SessionEnd::Violation(Violation::Flags))?;
        if flags.intersects(HeaderFlags::REPLY | HeaderFlags::ERROR) {
            return Err(SessionEnd::Violation(Violation::Flags));
        }
        receive_exact(
            self.stream.as_fd(),
            &mut self.input[..len],
            &mut self.descriptors,
            deadline,
        )
        .map_err(receive_end)?;
        Ok((header, len))
    }

    /// Sends the answer to `command`, unless the client wants none.
    fn answer(&mut self, command: &Header, answer: Answer) -> Result<(), SessionEnd> {
        if command.flags.get() & HeaderFlags::NO_REPLY.bits() != 0 {
            return Ok(());
        }
        let (header, payload) = match answer {
            Ok(len) => (command.reply(u32::try_from(len).unwrap_or(0)), len),
            Err(errno) => (command.failure(errno), 0),
        };
        self.output[..HEADER_LEN].copy_from_slice(header.as_bytes());
        let message = &self.output[..HEADER_LEN + payload];
        let deadline = deadline_in(self.limits.send);
        send_all(self.socket(), message, &[], &[], deadline).map_err(|error| match error {
            SocketError::TimedOut => SessionEnd::SendTimeout,
            other => receive_end(other),
        })
    }

    /// Puts `structure` at the beginning of the reply's payload.
    fn put<T: IntoBytes + Immutable>(&mut self, structure: &T) -> usize {
        let bytes = structure.as_bytes();
        self.output[HEADER_LEN..HEADER_LEN + bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
}

fn receive_end(error: SocketError) -> SessionEnd {
    match error {
        SocketError::Closed { .. } => SessionEnd::Truncated,
        SocketError::TimedOut => SessionEnd::MessageTimeout,
        SocketError::TooManyDescriptors => SessionEnd::Violation(Violation::Descriptors),
        SocketError::Os(error) => SessionEnd::Os(error.raw_os_error()),
    }
}

/// Takes VERSION and opens the device.
fn handshake<B: DeviceBackend>(
    link: &mut Link,
    backend: &B,
) -> Result<(B::Session, Grant), SessionEnd> {
    let (header, len) = link
        .receive(link.limits.handshake)
        .map_err(|end| match end {
            SessionEnd::MessageTimeout => SessionEnd::HandshakeTimeout,
            other => other,
        })?;
    if header.command.get() != Command::Version.raw() {
        link.answer(&header, Err(Errno::EINVAL))?;
        return Err(SessionEnd::Violation(Violation::NotOpen));
    }
    if header.flags.get() != 0 {
        return Err(SessionEnd::Violation(Violation::Flags));
    }
    let opened = open(&link.input[..len], link.descriptors.len(), backend);
    link.descriptors.clear();
    match opened {
        Ok((session, grant, minor)) => {
            let reply = OpenReply {
                grant,
                max_message: link.limits.max_message,
            };
            let head = VersionHead {
                major: MAJOR.into(),
                minor: minor.into(),
            };
            let text = reply.to_json();
            let at = HEADER_LEN + link.put(&head);
            link.output[at..at + text.len()].copy_from_slice(text.as_bytes());
            link.output[at + text.len()] = 0;
            link.answer(&header, Ok(size_of::<VersionHead>() + text.len() + 1))?;
            Ok((session, grant))
        }
        Err(errno) => {
            link.answer(&header, Err(errno))?;
            Err(SessionEnd::Refused(errno))
        }
    }
}

fn open<B: DeviceBackend>(
    payload: &[u8],
    descriptors: usize,
    backend: &B,
) -> Result<(B::Session, Grant, u16), Errno> {
    let (head, text) = VersionHead::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
    if head.major.get() != MAJOR || descriptors != 0 {
        return Err(Errno::EINVAL);
    }
    let request = OpenRequest::from_json(text)?;
    let session = backend.open(&request)?;
    let grant = session.grant().within(&request);
    Ok((session, grant, head.minor.get().min(MINOR)))
}

/// An open device and its connection. The device is dropped first: closing the connection can take as
/// long as the peer likes, by what it has passed through it and nobody has received.
struct Session<S> {
    device: S,
    link: Link,
    grant: Grant,
    /// By [`IrqIndex`].
    eventfds: [Option<OwnedFd>; IRQ_COUNT as usize],
}

impl<S: DeviceSession> Session<S> {
    fn run(mut self) -> SessionEnd {
        loop {
            if let Err(end) = self.step() {
                return end;
            }
        }
    }

    /// Waits for one message or wake-up and handles it.
    fn step(&mut self) -> Result<(), SessionEnd> {
        let readable = wait_readable(self.link.socket(), self.device.wake_fd(), None);
        match readable.map_err(receive_end)? {
            Readable::Wake => {
                let Wakeup {
                    request,
                    config_changed,
                    close,
                } = self.device.woken();
                for (wanted, index) in [
                    (request, IrqIndex::Request),
                    (config_changed, IrqIndex::ConfigChanged),
                ] {
                    if let (true, Some(eventfd)) = (wanted, &self.eventfds[index as usize]) {
                        signal_eventfd(eventfd);
                    }
                }
                if close {
                    Err(SessionEnd::Evicted)
                } else {
                    Ok(())
                }
            }
            Readable::Socket => {
                let (header, len) = self.link.receive(self.link.limits.message)?;
                let answer = self.dispatch(header.command.get(), len);
                self.link.descriptors.clear();
                self.link.answer(&header, answer)
            }
        }
    }

    fn dispatch(&mut self, command: u16, len: usize) -> Answer {
        let command = Command::from_raw(command).ok_or(Errno::EOPNOTSUPP)?;
        let takes_descriptors = matches!(command, Command::DeviceSetIrqs | Command::DmaMap);
        if !takes_descriptors && self.link.descriptors.len() != 0 {
            return Err(Errno::EINVAL);
        }
        match command {
            Command::Version => Err(Errno::EINVAL),
            Command::DmaMap => self.dma_map(len),
            Command::DmaUnmap => self.dma_unmap(len),
            Command::DeviceGetInfo => self.get_info(len),
            Command::DeviceGetIrqInfo => self.get_irq_info(len),
            Command::DeviceSetIrqs => self.set_irqs(len),
            Command::DeviceReset => {
                no_payload(len)?;
                self.device.reset().map(|()| 0)
            }
            Command::ApExec => self.execute(len),
            Command::ApGetApcb => {
                no_payload(len)?;
                let reply = self.apcb_reply();
                Ok(self.link.put(&reply))
            }
        }
    }

    /// The payload as a structure; `argsz` of it must cover the structure.
    fn payload<T>(&self, len: usize, argsz: impl Fn(&T) -> u32) -> Result<T, Errno>
    where
        T: FromBytes,
    {
        let (structure, _) =
            T::read_from_prefix(&self.link.input[..len]).map_err(|_| Errno::EINVAL)?;
        if (argsz(&structure) as usize) < size_of::<T>() {
            return Err(Errno::EINVAL);
        }
        Ok(structure)
    }

    fn get_info(&mut self, len: usize) -> Answer {
        self.payload(len, |info: &DeviceInfo| info.argsz.get())?;
        Ok(self.link.put(&DeviceInfo {
            argsz: DeviceInfo::SIZE.into(),
            flags: (DeviceFlags::RESET | DeviceFlags::AP).bits().into(),
            regions: 0.into(),
            irqs: IRQ_COUNT.into(),
        }))
    }

    fn get_irq_info(&mut self, len: usize) -> Answer {
        let asked = self.payload(len, |info: &IrqInfo| info.argsz.get())?;
        if asked.index.get() >= IRQ_COUNT {
            return Err(Errno::EINVAL);
        }
        Ok(self.link.put(&IrqInfo {
            argsz: IrqInfo::SIZE.into(),
            flags: 1.into(),
            index: asked.index,
            count: 1.into(),
        }))
    }

    fn set_irqs(&mut self, len: usize) -> Answer {
        let (command, _) =
            SetIrqs::read_from_prefix(&self.link.input[..len]).map_err(|_| Errno::EINVAL)?;
        let index = check_set_irqs(&command, self.link.descriptors.len())?;
        let eventfd = self.link.descriptors.take();
        if eventfd.as_ref().is_some_and(|fd| !is_eventfd(fd)) {
            return Err(Errno::EINVAL);
        }
        let registered = eventfd.is_some();
        self.eventfds[index as usize] = eventfd;
        self.device.irq_registered(index, registered);
        Ok(0)
    }

    fn dma_map(&mut self, len: usize) -> Answer {
        let map = self.payload(len, |map: &DmaMap| map.argsz.get())?;
        let flags = map.flags.get();
        let mut range = dma_range(map.address.get(), map.size.get())?;
        if flags & !3 != 0 {
            return Err(Errno::EINVAL);
        }
        (range.readable, range.writable) = (flags & 1 != 0, flags & 2 != 0);
        self.device.dma_map(range).map(|()| 0)
    }

    fn dma_unmap(&mut self, len: usize) -> Answer {
        let unmap = self.payload(len, |unmap: &DmaUnmap| unmap.argsz.get())?;
        let range = dma_range(unmap.address.get(), unmap.size.get())?;
        if unmap.flags.get() != 0 {
            return Err(Errno::EINVAL);
        }
        self.device.dma_unmap(range)?;
        Ok(self.link.put(&unmap))
    }

    fn execute(&mut self, len: usize) -> Answer {
        const DATA: usize = HEADER_LEN + size_of::<ExecReply>();
        let max_message = self.link.limits.max_message;
        let (instruction, capacity) = decode_request(&self.link.input[..len], max_message)?;
        let buffer = &mut self.link.output[DATA..DATA + capacity];
        let outcome = self.device.execute(&instruction, buffer);
        let (reply, block) = encode_outcome(&outcome, capacity);
        if let Some(block) = block {
            self.link.output[DATA..DATA + block.len()].copy_from_slice(&block);
        }
        let data = reply.length.get() as usize;
        Ok(self.link.put(&reply) + data)
    }

    fn apcb_reply(&self) -> ApcbReply {
        let view = self.device.apcb();
        ApcbReply {
            generation: view.generation.into(),
            crycb_format: format_number(self.grant.crycb_format).into(),
            reserved: 0.into(),
            apm: view.apcb.apm.0.to_be_bytes(),
            aqm: view.apcb.aqm.0.to_be_bytes(),
            adm: view.apcb.adm.0.to_be_bytes(),
            qci: view.qci.encode(),
        }
    }
}

fn no_payload(len: usize) -> Result<(), Errno> {
    if len == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

fn dma_range(address: u64, length: u64) -> Result<DmaRange, Errno> {
    if length == 0 || address.checked_add(length).is_none() {
        return Err(Errno::EINVAL);
    }
    Ok(DmaRange {
        address,
        length,
        readable: false,
        writable: false,
    })
}
