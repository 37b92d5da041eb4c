//! The client that a VMM links.
//!
//! ```no_run
//! use arch::{ApInstructions, Apqn, CrycbFormat, Facilities};
//! use device::{Client, ClientOptions, OpenRequest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let request = OpenRequest {
//!     vm: "f3b1c8c2-6d1e-4b7c-9a58-1f0d6b1d2a11".parse()?,
//!     crycb_format: CrycbFormat::Format2,
//!     facilities: Facilities::APFT | Facilities::APQCI,
//! };
//! let socket = "/run/apmatrix/mdev/ACME.sock".as_ref();
//! let mut client = Client::connect(socket, request, ClientOptions::default())?;
//! let (status, info) = client.tapq(Apqn::new(5, 4), true);
//! println!("{status:?} {info:?}");
//! # Ok(())
//! # }
//! ```
//!
//! Executing an instruction never fails and never waits longer than the deadlines of
//! [`ClientOptions`]. When the daemon does not answer, the connection is given up and the queues
//! that the guest knows are empty and in reset (02) until a new one stands:
//!
//! ```text
//!              error, deadline                    backoff over: connect, send VERSION
//!    [open] ------------------------> [down] ---------------------------------> [opening]
//!      ^                                ^                                          |  |
//!      |                                +------ refused, closed, deadline ---------+  |
//!      +---------------------------- VERSION answered --------------------------------+
//!    any state -- release --> [released]: no queue any more, no connection any more
//! ```
//!
//! After a reconnect the guest finds its queues reset, because closing a device resets them. What
//! changed in its configuration meanwhile is signalled by the eventfd for changes, as at any other time.
//! The adapter interruptions that it had enabled are enabled again, and an alert for each such queue
//! tells it to look.
//!
//! A client alone connects again while it executes instructions. With [`SharedClient::keep`] a thread of
//! its own does that, so that no instruction waits for it and an idle guest keeps its device as well.
//!
//! [`SharedClient::keep`]: crate::SharedClient::keep

mod alerts;
mod raw;
mod standard;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arch::{
    AdapterMask, ApInstructions, Apcb, Apqn, ControlMask, Errno, Facilities, Instruction, Mask256,
    Outcome, QciBlock, ResponseCode, UsageMask,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::absence::Known;
use crate::backend::{ApcbView, DmaRange, Grant};
use crate::connection::{Connection, Line};
use crate::enablement::Enablement;
use crate::eventfd::signal_eventfd;
use crate::exec::{decode_outcome, encode_request};
use crate::irq::IrqIndex;
use crate::message::{ApcbReply, Command, IRQ_COUNT, MINOR_RING_ALERTS, RingsReply};
use crate::ring::{KnownAlerts, Rings, Shared};
use crate::socket::deadline_in;
use crate::version::{OpenReply, OpenRequest};

/// How long the client waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// For the first connection, VERSION included.
    pub connect: Duration,
    /// For the answer to any command but `DEVICE_RESET`.
    pub round_trip: Duration,
    /// For the answer to `DEVICE_RESET`, which waits for the adapters.
    pub reset: Duration,
    /// For VERSION in a reconnect. A daemon that stands still has taken the connection; there is
    /// nothing to win by making further ones.
    pub reopen: Duration,
    /// For a reconnect, in one call: later calls go on with the same attempt.
    pub patience: Duration,
    /// Pause after the first failed reconnect; it doubles with each further one.
    pub first_backoff: Duration,
    /// Longest pause between two attempts to reconnect.
    pub longest_backoff: Duration,
    /// Whether to use rings, if the daemon has them. Without them every instruction is a round trip.
    pub rings: bool,
}

/// Environment variable that keeps clients from using rings when it is `off`.
const RINGS_VARIABLE: &str = "APMATRIX_RINGS";

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            round_trip: Duration::from_secs(2),
            reset: Duration::from_secs(5),
            reopen: Duration::from_secs(30),
            patience: Duration::from_millis(5),
            first_backoff: Duration::from_millis(10),
            longest_backoff: Duration::from_secs(1),
            rings: std::env::var_os(RINGS_VARIABLE).is_none_or(|value| value != "off"),
        }
    }
}

/// Why the client cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket cannot be connected to.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The daemon refused: EBUSY (the device is open), EINVAL, EIO after a reset, ...
    #[error("refused by the daemon: {0}")]
    Refused(Errno),
    /// The daemon refused with an error number that this version has no name for.
    #[error("refused by the daemon: error {0}")]
    RefusedOther(u32),
    /// No answer in time.
    #[error("the daemon does not answer")]
    TimedOut,
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The connection is being made again; try later.
    #[error("not connected at the moment")]
    Down,
    /// The device was given back by [`Client::release`].
    #[error("the device was given back")]
    Released,
    /// What answers does not speak this protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The operating system reported an error on the connection.
    #[error("error on the connection")]
    Io(#[source] io::Error),
}

impl ClientError {
    /// Whether the connection is of no use any more.
    fn breaks_connection(&self) -> bool {
        match self {
            Self::Refused(_) | Self::RefusedOther(_) => false,
            Self::Connect(_)
            | Self::TimedOut
            | Self::Closed
            | Self::Down
            | Self::Released
            | Self::Protocol(_)
            | Self::Io(_) => true,
        }
    }
}

#[derive(Debug)]
enum State {
    /// The device is open.
    Open(Connection),
    /// VERSION is sent, its answer awaited until the instant.
    Opening(Connection, Option<Instant>),
    /// Not connected; no attempt before the instant.
    Down(Instant),
    /// Given back for good.
    Released,
}

/// What has to be waited for before a connection needs to be looked at again.
#[derive(Debug)]
pub(crate) enum Tending {
    /// The end of the open connection.
    End(Line),
    /// The answer to VERSION, or the instant.
    Answer(Line, Option<Instant>),
    /// The instant.
    Pause(Instant),
    /// Nothing: the device was given back.
    Nothing,
}

/// A connection to a mediated device that restores itself.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    request: OpenRequest,
    options: ClientOptions,
    grant: Grant,
    max_message: u32,
    state: State,
    /// Whether somebody else sees to the connection; see [`Self::tend`].
    tended: bool,
    backoff: Duration,
    /// Registered eventfds, to register them again after a reconnect.
    eventfds: [Option<OwnedFd>; IRQ_COUNT as usize],
    /// The eventfd for adapter interruptions, likewise.
    alert: Option<OwnedFd>,
    /// Mapped ranges, to map them again after a reconnect.
    maps: BTreeMap<u64, DmaRange>,
    /// For the time without a connection.
    known: Known,
    /// The adapter interruptions that the guest has enabled, to enable them again after a reconnect.
    enablement: Enablement,
    reconnects: u64,
    rings: Arc<Rings>,
    /// Of the interruptions that rings tell.
    known_alerts: KnownAlerts,
}

impl Client {
    /// Connects to the socket of a mediated device and opens it.
    ///
    /// # Errors
    /// [`ClientError::Connect`] without a listening socket, [`ClientError::Refused`] when the
    /// daemon does not open the device, [`ClientError::TimedOut`] when it does not answer within
    /// [`ClientOptions::connect`].
    pub fn connect(
        path: &Path,
        request: OpenRequest,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let deadline = deadline_in(options.connect);
        let mut connection = Connection::connect(path, deadline)?;
        connection.send_version(&request, deadline)?;
        let OpenReply { grant, max_message } = connection
            .version_reply(deadline)?
            .ok_or(ClientError::TimedOut)?;
        let grant = grant.within(&request);
        let mut client = Self {
            path: path.to_owned(),
            options,
            grant,
            max_message,
            request,
            state: State::Open(connection),
            tended: false,
            backoff: options.first_backoff,
            eventfds: [None, None],
            alert: None,
            maps: BTreeMap::new(),
            known: Known::nothing(),
            enablement: Enablement::default(),
            reconnects: 0,
            rings: Arc::new(Rings::new(grant.facilities)),
            known_alerts: KnownAlerts::default(),
        };
        client.apcb()?;
        client.setup_rings()?;
        Ok(client)
    }

    /// What the daemon granted at the first connection. A guest's CPU does not change while it
    /// runs, so neither does this.
    #[must_use]
    pub const fn grant(&self) -> Grant {
        self.grant
    }

    /// Longest AP message and reply in bytes.
    #[must_use]
    pub const fn max_message(&self) -> u32 {
        self.max_message
    }

    /// Whether the device is open at this moment, as far as is known without asking.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// How often the connection was restored.
    #[must_use]
    pub const fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Resets every queue of the device and waits for the end. Whatever comes of it, no adapter
    /// interruption is enabled by itself any more.
    ///
    /// # Errors
    /// EIO when a queue could not be reset; when the daemon cannot be asked.
    pub fn reset(&mut self) -> Result<(), ClientError> {
        self.enablement.forget();
        self.rings.reset();
        self.ensure_open()?;
        let timeout = self.options.reset;
        self.transact(Command::DeviceReset, (&[], &[]), &[], timeout)
            .map(|_| ())
    }

    /// Gives the device back: closes the connection and never opens another one. The guest has no
    /// queues from now on.
    pub fn release(&mut self) {
        self.state = State::Released;
        self.rings.end();
        self.rings.reset();
        self.known.forget();
        self.enablement.forget();
    }

    /// The guest's present masks and QCI block.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub fn apcb(&mut self) -> Result<ApcbView, ClientError> {
        let reply: ApcbReply = self.ask(Command::ApGetApcb, &[])?;
        let view = ApcbView {
            generation: reply.generation.get(),
            apcb: Apcb {
                apm: AdapterMask(Mask256::from_be_bytes(&reply.apm)),
                aqm: UsageMask(Mask256::from_be_bytes(&reply.aqm)),
                adm: ControlMask(Mask256::from_be_bytes(&reply.adm)),
            },
            qci: QciBlock::decode(&reply.qci),
        };
        self.known.configured(view.qci);
        Ok(view)
    }

    /// A round trip whose reply is one structure.
    fn ask<T: FromBytes>(&mut self, command: Command, payload: &[u8]) -> Result<T, ClientError> {
        self.ensure_open()?;
        let timeout = self.options.round_trip;
        let len = self.transact(command, (payload, &[]), &[], timeout)?;
        T::read_from_bytes(self.reply(len)).map_err(|_| ClientError::Protocol("reply length"))
    }

    /// One round trip on the open connection; gives the connection up when it broke. Returns the
    /// length of the reply's payload; see [`Self::reply`].
    fn transact(
        &mut self,
        command: Command,
        payload: (&[u8], &[u8]),
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<usize, ClientError> {
        self.transact_raw(command.raw(), payload, descriptors, timeout)
    }

    fn transact_raw(
        &mut self,
        command: u16,
        payload: (&[u8], &[u8]),
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<usize, ClientError> {
        let State::Open(connection) = &mut self.state else {
            return Err(ClientError::Down);
        };
        let deadline = deadline_in(timeout);
        let answered = connection.round_trip(command, payload, descriptors, deadline);
        if answered.as_ref().is_err_and(ClientError::breaks_connection) {
            self.go_down();
        }
        answered
    }

    /// The payload of the last reply.
    fn reply(&self, len: usize) -> &[u8] {
        match &self.state {
            State::Open(connection) => connection.payload(len),
            State::Opening(..) | State::Down(_) | State::Released => &[],
        }
    }

    /// Whether instructions go through rings at this moment.
    #[must_use]
    pub fn uses_rings(&self) -> bool {
        self.rings.in_use()
    }

    /// The rings, for threads that do not wait for each other.
    pub(crate) fn rings(&self) -> Arc<Rings> {
        Arc::clone(&self.rings)
    }

    /// Asks the daemon for rings. It need not have any.
    fn setup_rings(&mut self) -> Result<(), ClientError> {
        if !self.options.rings {
            return Ok(());
        }
        let timeout = self.options.round_trip;
        let len = match self.transact(Command::ApSetupRings, (&[], &[]), &[], timeout) {
            Err(ClientError::Refused(_) | ClientError::RefusedOther(_)) => return Ok(()),
            answered => answered?,
        };
        let offered = RingsReply::read_from_bytes(self.reply(len)).ok();
        let (descriptors, minor) = match &mut self.state {
            State::Open(connection) => (connection.descriptors(), connection.minor()),
            State::Opening(..) | State::Down(_) | State::Released => (None, 0),
        };
        let tells_alerts = minor >= MINOR_RING_ALERTS;
        if let (Some(offered), Some(descriptors)) = (offered, descriptors)
            && let Some(shared) = Shared::accept(&offered, descriptors, tells_alerts)
        {
            self.known_alerts = KnownAlerts::default();
            self.rings.begin(shared, self.max_message);
        }
        Ok(())
    }

    /// Looks whether the daemon has gone.
    pub(crate) fn look(&mut self) {
        if let State::Open(connection) = &self.state
            && connection.hung_up()
        {
            self.go_down();
        }
    }

    fn go_down(&mut self) {
        if let Some(qci) = self.rings.end() {
            self.known.configured(qci);
        }
        self.state = State::Down(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(self.options.longest_backoff);
    }

    /// Sees to an open connection without waiting longer than [`ClientOptions::patience`].
    fn ensure_open(&mut self) -> Result<(), ClientError> {
        if self.tended && !self.is_open() {
            let released = matches!(self.state, State::Released);
            return Err(if released {
                ClientError::Released
            } else {
                ClientError::Down
            });
        }
        self.step(self.options.patience)
    }

    /// Says that [`Self::tend`] is called whenever there is something to do, or no longer.
    pub(crate) const fn set_tended(&mut self, tended: bool) {
        self.tended = tended;
    }

    /// Does what can be done for the connection without waiting for the daemon, and says what has
    /// to be waited for before the next call.
    pub(crate) fn tend(&mut self) -> Tending {
        self.look();
        // What went wrong decides about the pause only.
        drop(self.step(Duration::ZERO));
        match &self.state {
            State::Open(connection) => Tending::End(connection.line()),
            State::Opening(connection, deadline) => Tending::Answer(connection.line(), *deadline),
            State::Down(until) => Tending::Pause(*until),
            State::Released => Tending::Nothing,
        }
    }

    /// Goes on towards an open connection, waiting up to `patience` for the daemon.
    fn step(&mut self, patience: Duration) -> Result<(), ClientError> {
        match &self.state {
            State::Open(_) => return Ok(()),
            State::Released => return Err(ClientError::Released),
            State::Down(until) if Instant::now() < *until => return Err(ClientError::Down),
            State::Down(_) | State::Opening(..) => {}
        }
        match self.advance(patience).and_then(|open| match open {
            true => self.restore(),
            false => Err(ClientError::Down),
        }) {
            Ok(()) => Ok(()),
            Err(ClientError::Down) if matches!(self.state, State::Opening(..)) => {
                Err(ClientError::Down)
            }
            Err(error) => {
                // A session that is not what the guest had is given up like none at all.
                self.go_down();
                Err(error)
            }
        }
    }

    /// Makes one step towards an open device; `true` when it is open.
    fn advance(&mut self, patience: Duration) -> Result<bool, ClientError> {
        let patience = deadline_in(patience);
        if let State::Down(_) = self.state {
            let mut connection = Connection::connect(&self.path, patience)?;
            connection.send_version(&self.request, patience)?;
            self.state = State::Opening(connection, deadline_in(self.options.reopen));
        }
        let State::Opening(connection, deadline) = &mut self.state else {
            return Ok(true);
        };
        match connection.version_reply(patience)? {
            None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                Err(ClientError::TimedOut)
            }
            None => Ok(false),
            Some(reply) => {
                self.max_message = reply.max_message;
                let now = Instant::now();
                if let State::Opening(connection, _) =
                    std::mem::replace(&mut self.state, State::Down(now))
                {
                    self.state = State::Open(connection);
                }
                Ok(true)
            }
        }
    }

    /// Brings a new session to where the old one was.
    fn restore(&mut self) -> Result<(), ClientError> {
        for index in [IrqIndex::Request, IrqIndex::ConfigChanged] {
            if let Some(eventfd) = self.eventfds[index as usize].take() {
                let sent = self.send_irq(index, Some(eventfd.as_fd()));
                self.eventfds[index as usize] = Some(eventfd);
                sent?;
            }
        }
        if let Some(eventfd) = self.alert.take() {
            let sent = self.send_alert(eventfd.as_fd());
            self.alert = Some(eventfd);
            sent?;
        }
        let maps: Vec<DmaRange> = self.maps.values().copied().collect();
        for range in maps {
            self.send_map(range)?;
        }
        self.enable_again()?;
        let before = self.known.configuration();
        let after = self.apcb()?.qci;
        self.setup_rings()?;
        if let Some(eventfd) = &self.eventfds[IrqIndex::ConfigChanged as usize]
            && before != after
        {
            signal_eventfd(eventfd);
        }
        if let Some(eventfd) = self.alert.as_ref().filter(|_| self.enablement.owes()) {
            signal_eventfd(eventfd);
        }
        self.backoff = self.options.first_backoff;
        self.reconnects += 1;
        Ok(())
    }

    /// Executes one instruction in a round trip.
    fn exec(
        &mut self,
        instruction: &Instruction<'_>,
        buffer: &mut [u8],
    ) -> Result<Outcome, ClientError> {
        self.ensure_open()?;
        let max_message = self.max_message as usize;
        let bounded = buffer.len().min(max_message);
        let buffer = &mut buffer[..bounded];
        let capacity = u32::try_from(bounded).unwrap_or(self.max_message);
        let (request, message) = encode_request(instruction, capacity);
        let timeout = self.options.round_trip;
        let payload = (request.as_bytes(), message);
        let len = self.transact(Command::ApExec, payload, &[], timeout)?;
        let outcome = decode_outcome(instruction, self.reply(len), buffer);
        outcome.map_err(|_| {
            self.go_down();
            ClientError::Protocol("AP_EXEC reply")
        })
    }

    /// Executes an instruction without rings.
    pub(crate) fn ask_to_execute(
        &mut self,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Outcome {
        if let Instruction::Nqap { apqn, message, .. } = instruction
            && message.len() > self.max_message as usize
        {
            return self.too_big(*apqn);
        }
        match self.exec(instruction, reply) {
            Ok(outcome) => {
                self.known.remember(instruction, &outcome);
                self.enablement.follow(instruction, &outcome);
                self.forget_alerts(instruction);
                outcome
            }
            Err(_) => {
                let enabled = instruction
                    .apqn()
                    .is_some_and(|apqn| self.enablement.has(apqn));
                let outcome = self.known.answer(instruction, enabled);
                self.enablement.follow(instruction, &outcome);
                outcome
            }
        }
    }

    /// NQAP of more than a message can have: what the queue says, else "message too big".
    fn too_big(&mut self, apqn: Apqn) -> Outcome {
        let facilities = false;
        let test = Instruction::Tapq { apqn, facilities };
        let Some(mut status) = self.ask_to_execute(&test, &mut []).status() else {
            return Outcome::refused(&test, ResponseCode::NOT_AVAILABLE);
        };
        if status.code == ResponseCode::NORMAL {
            status.code = ResponseCode::MESSAGE_TOO_BIG;
        }
        Outcome::Status(status)
    }
}

impl ApInstructions for Client {
    fn facilities(&self) -> Facilities {
        self.grant.facilities
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        let rings = self.rings();
        match rings.execute(instruction, reply, || self.look()) {
            Ok(outcome) => outcome,
            // The queue is kept until the daemon has answered.
            Err(queue) => {
                let outcome = self.ask_to_execute(instruction, reply);
                rings.answered(queue, instruction, outcome)
            }
        }
    }
}
