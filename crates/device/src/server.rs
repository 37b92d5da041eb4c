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
//! A `DEVICE_RESET` that takes time makes *idle* wait for its end before the next message is read.
//!
//! Two buffers of the largest message are allocated when the session starts; nothing that a peer
//! sends makes it allocate more. An idle client may wait for ever; a client in the middle of a
//! message, or one that does not read its replies, may not.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arch::{Errno, Facilities};
use zerocopy::{FromBytes, IntoBytes};
use zeroize::Zeroize;

use crate::backend::{DeviceBackend, DeviceSession, DmaRange, Grant};
use crate::eventfd::PeerEventfd;
use crate::exec::{decode_request, encode_outcome};
use crate::irq::{IrqIndex, check_set_irqs};
use crate::link::{Answer, Link, receive_end};
use crate::message::{
    AlertsReply, ApcbReply, Command, DEFAULT_MAX_MESSAGE, DeviceFlags, DeviceInfo, DmaMap,
    DmaUnmap, ExecReply, HEADER_LEN, Header, IRQ_COUNT, IrqInfo, MAJOR, MINOR, MINOR_RING_ALERTS,
    MOST_ALERTS, RingsReply, SetIrqs, VersionHead, WireAlert,
};
use crate::ring::{Offer, RingServer};
use crate::socket::{Others, Readable, wait_for_work, wait_hangup};
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
    /// Longest AP message and reply in bytes, at most [`crate::message::HIGHEST_MAX_MESSAGE`].
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
    /// The backend ended the session by `Wakeup::close`.
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
    let mut link = Link::new(stream, limits);
    match handshake(&mut link, backend) {
        Ok((session, grant, minor)) => Session {
            link,
            device: session,
            grant,
            eventfds: [None, None],
            alert: None,
            resetting: None,
            doorbell: None,
            minor,
        }
        .run(),
        Err(end) => end,
    }
}

/// Takes VERSION and opens the device.
fn handshake<B: DeviceBackend>(
    link: &mut Link,
    backend: &B,
) -> Result<(B::Session, Grant, u16), SessionEnd> {
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
            Ok((session, grant, minor))
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
    eventfds: [Option<PeerEventfd>; IRQ_COUNT as usize],
    /// For adapter interruptions.
    alert: Option<PeerEventfd>,
    /// A `DEVICE_RESET` that has not been answered.
    resetting: Option<Header>,
    /// By which the client of rings rings.
    doorbell: Option<OwnedFd>,
    /// Of the protocol.
    minor: u16,
}

impl<S: DeviceSession> Session<S> {
    fn run(mut self) -> SessionEnd {
        loop {
            if let Err(end) = self.step() {
                return end;
            }
        }
    }

    /// Waits for one message or wake-up and handles it. While a reset takes time no further command is
    /// read, but wake-ups are seen, and that the client has gone.
    fn step(&mut self) -> Result<(), SessionEnd> {
        let socket = self.link.socket();
        let others = Others {
            wake: self.device.wake_fd(),
            doorbell: self.doorbell.as_ref().map(AsFd::as_fd),
        };
        let readable = if self.resetting.is_some() {
            wait_hangup(socket, others)
        } else {
            wait_for_work(socket, others)
        };
        match readable.map_err(receive_end)? {
            Readable::Wake => self.wake(),
            Readable::Doorbell => {
                self.rung();
                Ok(())
            }
            Readable::Socket if self.resetting.is_some() => Err(SessionEnd::Closed),
            Readable::Socket => {
                let (header, len) = self.link.receive(self.link.limits.message)?;
                let answer = self.dispatch(header.command.get(), len);
                self.link.descriptors.clear();
                self.link.input[..len].zeroize();
                match answer {
                    Some(answer) => self.link.answer(&header, answer),
                    None => {
                        self.resetting = Some(header);
                        Ok(())
                    }
                }
            }
        }
    }

    /// Does what the rest of the daemon asks of this thread.
    fn wake(&mut self) -> Result<(), SessionEnd> {
        let wakeup = self.device.woken();
        for (count, index) in [
            (wakeup.config_changes, IrqIndex::ConfigChanged),
            (wakeup.requests, IrqIndex::Request),
        ] {
            if let Some(eventfd) = &self.eventfds[index as usize] {
                for _ in 0..count {
                    eventfd.signal();
                }
            }
        }
        if let Some(eventfd) = self.alert.as_ref().filter(|_| wakeup.alert) {
            eventfd.signal();
        }
        if wakeup.close {
            return Err(SessionEnd::Evicted);
        }
        match wakeup
            .reset
            .and_then(|result| Some((result, self.resetting.take()?)))
        {
            Some((result, header)) => self.link.answer(&header, result.map(|()| 0)),
            None => Ok(()),
        }
    }

    /// The client has rung, however often.
    fn rung(&mut self) {
        if let Some(doorbell) = &self.doorbell {
            let _emptied = rustix::io::read(doorbell, &mut [0; 4096]);
        }
        self.device.rung();
    }

    fn setup_rings(&mut self, len: usize) -> Answer {
        no_payload(len)?;
        if self.doorbell.is_some() {
            return Err(Errno::EEXIST);
        }
        let tells_alerts = self.minor >= MINOR_RING_ALERTS;
        let made = RingServer::new(tells_alerts).map_err(|error| match error.raw_os_error() {
            // A kernel without such memory or such seals.
            Some(libc::EINVAL | libc::ENOSYS) => Errno::EOPNOTSUPP,
            _ => Errno::ENOMEM,
        });
        let (rings, offer) = made?;
        self.device.set_rings(&rings)?;
        let Offer {
            descriptors,
            doorbell,
        } = offer;
        self.doorbell = Some(doorbell);
        self.link.enclosed = Some(descriptors);
        Ok(self.link.put(&RingsReply::ours()))
    }

    /// Handles a command; `None`: it is answered later.
    fn dispatch(&mut self, command: u16, len: usize) -> Option<Answer> {
        let command = match self.check(command) {
            Ok(command) => command,
            Err(errno) => return Some(Err(errno)),
        };
        Some(match command {
            Command::Version => Err(Errno::EINVAL),
            Command::DmaMap => self.dma_map(len),
            Command::DmaUnmap => self.dma_unmap(len),
            Command::DeviceGetInfo => self.get_info(len),
            Command::DeviceGetIrqInfo => self.get_irq_info(len),
            Command::DeviceSetIrqs => self.set_irqs(len),
            Command::DeviceReset => match no_payload(len) {
                Ok(()) => self.device.reset()?.map(|()| 0),
                Err(errno) => Err(errno),
            },
            Command::ApExec => self.execute(len),
            Command::ApGetApcb => no_payload(len).map(|()| {
                let reply = self.apcb_reply();
                self.link.put(&reply)
            }),
            Command::ApSetAlert => self.set_alert(len),
            Command::ApGetAlerts => self.get_alerts(len),
            Command::ApSetupRings => self.setup_rings(len),
        })
    }

    /// Whether there is such a command, and whether it takes the descriptors that came.
    fn check(&self, command: u16) -> Result<Command, Errno> {
        let command = Command::from_raw(command).ok_or(Errno::EOPNOTSUPP)?;
        let takes_descriptors = matches!(
            command,
            Command::DeviceSetIrqs | Command::DmaMap | Command::ApSetAlert
        );
        if !takes_descriptors && self.link.descriptors.len() != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(command)
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
        let eventfd = self.take_eventfd()?;
        let registered = eventfd.is_some();
        self.eventfds[index as usize] = eventfd;
        self.device.irq_registered(index, registered);
        Ok(0)
    }

    /// The eventfd that came with the command, if a descriptor did.
    fn take_eventfd(&mut self) -> Result<Option<PeerEventfd>, Errno> {
        let descriptor = self.link.descriptors.take();
        let eventfd =
            descriptor.map(|descriptor| PeerEventfd::new(descriptor).ok_or(Errno::EINVAL));
        eventfd.transpose()
    }

    /// Adapter interruptions exist for guests that were granted them.
    fn has_interrupts(&self) -> Result<(), Errno> {
        let granted = self.grant.facilities.contains(Facilities::APQI);
        granted.then_some(()).ok_or(Errno::EOPNOTSUPP)
    }

    fn set_alert(&mut self, len: usize) -> Answer {
        self.has_interrupts()?;
        no_payload(len)?;
        if self.link.descriptors.len() > 1 {
            return Err(Errno::EINVAL);
        }
        self.alert = self.take_eventfd()?;
        self.device.set_alert(self.alert.clone());
        Ok(0)
    }

    fn get_alerts(&mut self, len: usize) -> Answer {
        const ENTRIES: usize = HEADER_LEN + AlertsReply::SIZE as usize;
        self.has_interrupts()?;
        no_payload(len)?;
        let mut count = 0;
        while count < MOST_ALERTS
            && let Some(alert) = self.device.next_alert()
        {
            let entry = WireAlert {
                nib: alert.nib.into(),
                apqn: alert.apqn.to_u16().into(),
                isc: u16::from(alert.isc).into(),
                replies: alert.replies.into(),
            };
            let at = ENTRIES + count * size_of::<WireAlert>();
            self.link.output[at..at + size_of::<WireAlert>()].copy_from_slice(entry.as_bytes());
            count += 1;
        }
        let reply = AlertsReply {
            count: u32::try_from(count).unwrap_or(0).into(),
            more: u32::from(count == MOST_ALERTS).into(),
        };
        Ok(self.link.put(&reply) + count * size_of::<WireAlert>())
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
