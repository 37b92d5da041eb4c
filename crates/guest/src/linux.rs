//! [`Guest`]: the AP bus and the requester of one guest.
//!
//! ```no_run
//! use device::{ClientOptions, OpenRequest};
//! use guest::{Guest, ModExpo};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let request = OpenRequest {
//!     vm: "embedded-1".parse()?,
//!     crycb_format: arch::CrycbFormat::Format2,
//!     facilities: arch::Facilities::APFT | arch::Facilities::APQCI,
//! };
//! let socket = "/run/apmatrix/mdev/ACME.sock".as_ref();
//! let mut guest = Guest::connect(socket, request, ClientOptions::default())?;
//! for (apqn, queue) in guest.bus().queues() {
//!     println!("{apqn} {:?}", queue.driver);
//! }
//! let operands = ModExpo { message: &[2], exponent: &[5], modulus: &[35] };
//! assert_eq!(guest.mod_expo(&operands)?, [32]);
//! # Ok(())
//! # }
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, Facilities};
use bus::{Bus, BusConfig, NoDriver};
use device::{Client, ClientError, ClientOptions, IrqIndex, OpenRequest};
use rustix::event::{EventfdFlags, eventfd};

use crate::interrupts::{self, Interrupts};
use crate::requester::{RequestError, Requester, Ticket};
use crate::type50::{Crt, ModExpo, Request};

/// How long [`Guest::mod_expo`] and [`Guest::crt`] wait for a reply.
pub const REPLY_TIME: Duration = Duration::from_secs(30);

/// Empty polls before the guest sleeps between two.
const SPINS: u32 = 20;
/// Pause between two polls, as Linux's high-resolution timer without interrupts.
const POLL_PAUSE: Duration = Duration::from_micros(250);

/// An embedded guest over `T`.
#[derive(Debug)]
pub struct Guest<T> {
    bus: Bus,
    side: NoDriver<T>,
    requester: Requester,
    config_changed: Option<OwnedFd>,
    /// None: the guest polls.
    interrupts: Option<Interrupts>,
    /// How it waits for an interruption, over the channel that delivers them.
    idle: fn(&mut Interrupts, &mut T, Duration) -> bool,
}

impl Guest<Client> {
    /// Opens a mediated device and scans it.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn connect(
        socket: &Path,
        request: OpenRequest,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let mut client = Client::connect(socket, request, options)?;
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| ClientError::Io(error.into()))?;
        let ours = event.try_clone().map_err(ClientError::Io)?;
        client.set_irq(IrqIndex::ConfigChanged, Some(event))?;
        let mut interrupts = None;
        let mut config = BusConfig::default();
        if client.grant().facilities.contains(Facilities::APQI) {
            interrupts = Some(Interrupts::new(&mut client)?);
            config.notification_area = Some(interrupts::BYTES);
        }
        let mut guest = Self::with(client, config);
        guest.config_changed = Some(ours);
        (guest.interrupts, guest.idle) = (interrupts, Interrupts::wait);
        guest.follow_interrupts();
        Ok(guest)
    }

    /// Adapter interruptions that the guest has taken.
    #[must_use]
    pub fn interrupts(&self) -> u64 {
        self.interrupts.as_ref().map_or(0, Interrupts::taken)
    }

    fn follow_interrupts(&mut self) {
        if let Some(interrupts) = &mut self.interrupts {
            interrupts.follow(&self.bus);
        }
    }

    /// Scans if the host has changed the guest's configuration since the last call; whether it had.
    pub fn follow_changes(&mut self) -> bool {
        let changed = self
            .config_changed
            .as_ref()
            .is_some_and(|event| rustix::io::read(event.as_fd(), &mut [0; 8]).is_ok());
        if changed {
            self.scan();
            self.follow_interrupts();
        }
        changed
    }
}

impl<T: ApInstructions> Guest<T> {
    /// A guest that executes its instructions by `instructions`; scans once.
    pub fn over(instructions: T) -> Self {
        Self::with(instructions, BusConfig::default())
    }

    fn with(instructions: T, config: BusConfig) -> Self {
        let mut side = NoDriver(instructions);
        let bus = Bus::new(config, &mut side);
        let mut guest = Self {
            bus,
            side,
            requester: Requester::default(),
            config_changed: None,
            interrupts: None,
            idle: |_, _, _| false,
        };
        guest.scan();
        guest
    }

    /// The bus: cards and queues that the guest sees.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Whoever executes the instructions.
    pub const fn instructions(&mut self) -> &mut T {
        &mut self.side.0
    }

    /// Looks for adapters and queues.
    pub fn scan(&mut self) {
        self.bus.scan(&mut self.side);
        self.requester.scanned(&mut self.bus, &mut self.side);
    }

    /// Names of the devices as `/sys/bus/ap/devices` lists them, ascending.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let cards = self.bus.cards().map(|(apid, _)| format!("card{apid}"));
        let queues = self.bus.queues().map(|(apqn, _)| apqn.to_string());
        let mut names: Vec<String> = queues.chain(cards).collect();
        names.sort_unstable();
        names
    }

    /// Requests that a queue took since it appeared.
    #[must_use]
    pub fn request_count(&self, apqn: Apqn) -> u64 {
        self.bus.queue(apqn).map_or(0, |queue| queue.requests)
    }

    /// Requests that all queues took since they appeared.
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        self.bus.queues().map(|(_, queue)| queue.requests).sum()
    }

    /// Modular exponentiation; the result is as long as the modulus.
    ///
    /// # Errors
    /// What Linux answers, see [`RequestError`]; no reply within [`REPLY_TIME`].
    pub fn mod_expo(&mut self, operands: &ModExpo<'_>) -> Result<Vec<u8>, RequestError> {
        let ticket = self.submit(operands.encode()?);
        self.wait(ticket, REPLY_TIME)
    }

    /// The private operation by the Chinese remainder theorem; the result is as long as the message.
    ///
    /// # Errors
    /// What Linux answers, see [`RequestError`]; no reply within [`REPLY_TIME`].
    pub fn crt(&mut self, operands: &Crt<'_>) -> Result<Vec<u8>, RequestError> {
        let ticket = self.submit(operands.encode()?);
        self.wait(ticket, REPLY_TIME)
    }

    /// Takes a request; several can be under way. [`poll`](Self::poll) moves them.
    pub fn submit(&mut self, request: Request) -> Ticket {
        self.requester.submit(request)
    }

    /// Looks at the queues once; whether anything moved.
    pub fn poll(&mut self) -> bool {
        self.requester.step(&mut self.bus, &mut self.side)
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.requester.pending()
    }

    /// The result of a request that has ended.
    pub fn take(&mut self, ticket: Ticket) -> Option<Result<Vec<u8>, RequestError>> {
        self.requester.take(ticket)
    }

    /// Polls until a request has ended; with adapter interruptions, looks whenever one comes.
    ///
    /// # Errors
    /// The request's; [`RequestError::TimedOut`] after `time`, and the request is given up.
    pub fn wait(&mut self, ticket: Ticket, time: Duration) -> Result<Vec<u8>, RequestError> {
        let start = Instant::now();
        let mut empty = 0;
        loop {
            let moved = self.poll();
            if let Some(result) = self.take(ticket) {
                return result;
            }
            if start.elapsed() >= time {
                self.requester.forget(ticket);
                return Err(RequestError::TimedOut);
            }
            empty = if moved { 0 } else { empty + 1 };
            match &mut self.interrupts {
                _ if moved => {}
                Some(interrupts) => {
                    let left = time.saturating_sub(start.elapsed());
                    let _interrupted = (self.idle)(interrupts, &mut self.side.0, left);
                }
                None if empty > SPINS => std::thread::sleep(POLL_PAUSE),
                None => {}
            }
        }
    }
}
