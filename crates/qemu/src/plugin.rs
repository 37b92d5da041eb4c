//! The plugin's state: one connection, and a little per vCPU.

use std::time::{Duration, Instant};

use arch::{CrycbFormat, Errno, Facilities, Instruction, Outcome};
use device::{Client, ClientError, ClientOptions, OpenRequest, SharedClient, VmIdentity};

use crate::events::Events;
use crate::intercept::Executor;
use crate::options::Options;
use crate::pending::{Board, Pending};
use crate::poke::Poke;
use crate::reset::Resets;
use crate::say::{Limiter, say};
use crate::stfle::FacilityList;
use crate::timer::Readings;

/// Everything that callbacks share.
#[derive(Debug)]
pub(crate) struct Plugin {
    client: SharedClient,
    max_message: usize,
    /// By vCPU index.
    lists: Box<[FacilityList]>,
    /// By vCPU index.
    readings: Box<[Readings]>,
    resets: Resets,
    limiter: Limiter,
    pending: Pending,
    /// None: the daemon tells us nothing.
    events: Option<Events>,
}

impl Plugin {
    /// Opens the device for a machine of at most `max_vcpus` vCPUs.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub(crate) fn open(
        options: &Options,
        features: Facilities,
        max_vcpus: usize,
        board: Box<dyn Board>,
    ) -> Result<Self, ClientError> {
        let request = OpenRequest {
            vm: options.vm.clone().unwrap_or_else(random_identity),
            // QEMU's CPU models under TCG have MSA extension 3.
            crycb_format: CrycbFormat::Format2,
            facilities: features,
        };
        let mut client = connect(options, &request)?;
        let events = Events::register(&mut client, poke(options));
        let events = events.inspect_err(|error| {
            say(format_args!(
                "{error}: hot plug waits for the guest's own scan"
            ));
        });
        let missing = features.difference(client.grant().facilities);
        if !missing.is_empty() {
            say(format_args!(
                "the daemon does not offer {missing:?}; the guest goes without"
            ));
        }
        Ok(Self {
            max_message: client.max_message() as usize,
            client: SharedClient::new(client),
            lists: std::iter::repeat_with(FacilityList::default)
                .take(max_vcpus)
                .collect(),
            readings: std::iter::repeat_with(Readings::default)
                .take(max_vcpus)
                .collect(),
            resets: Resets::default(),
            limiter: Limiter::new(),
            pending: Pending::new(board),
            events: events.ok(),
        })
    }

    /// A vCPU has started.
    pub(crate) fn vcpu_started(&'static self, vcpu: u32) {
        if self.pending.started(vcpu)
            && let Some(events) = &self.events
        {
            events.start(self);
        }
    }

    /// What is to be delivered to the guest.
    pub(crate) const fn pending(&self) -> &Pending {
        &self.pending
    }

    /// An administrator removes the device: it is given back, as QEMU unplugs a vfio-ap device.
    pub(crate) fn release(&self) {
        self.client.release();
        say(format_args!(
            "the mediated device is removed: the guest has no AP queues any more"
        ));
    }

    /// The STFLE under way on a vCPU.
    pub(crate) fn list(&self, vcpu: u32) -> Option<&FacilityList> {
        self.lists.get(vcpu as usize)
    }

    /// What is known of a vCPU's timer.
    pub(crate) fn readings(&self, vcpu: u32) -> Option<&Readings> {
        self.readings.get(vcpu as usize)
    }

    /// What decides about resets.
    pub(crate) const fn resets(&self) -> &Resets {
        &self.resets
    }

    /// The connection to the daemon.
    pub(crate) const fn client(&self) -> &SharedClient {
        &self.client
    }

    /// For messages that a guest can provoke.
    pub(crate) const fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Resets the queues if the guest has used any since the last reset.
    pub(crate) fn machine_starts(&self, why: &str) {
        self.pending.clear();
        if !self.resets.due() {
            return;
        }
        match self.client.reset() {
            Ok(()) | Err(ClientError::Released) => {}
            // Closing the device has reset the queues, or will before it is opened again.
            Err(ClientError::Down) => {}
            Err(error @ (ClientError::Refused(_) | ClientError::RefusedOther(_))) => {
                self.limiter.say(format_args!(
                    "{why}: not every AP queue could be reset: {error}"
                ));
            }
            Err(error) => self.limiter.say(format_args!("{why}: {error}")),
        }
    }
}

impl Executor for Plugin {
    fn facilities(&self) -> Facilities {
        self.client.grant().facilities
    }

    fn apxa(&self) -> bool {
        self.client.grant().apxa
    }

    fn max_message(&self) -> usize {
        self.max_message
    }

    fn execute(&self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.resets.note(instruction);
        self.client.execute(instruction, reply)
    }
}

/// What wakes an idle guest, if the launcher has left something for it.
fn poke(options: &Options) -> Option<Poke> {
    let poke = Poke::inherit(options.poke?);
    poke.inspect_err(|error| say(format_args!("{error}"))).ok()
}

/// The time that the daemon gets to close the device of an earlier QEMU.
const BUSY_TIME: Duration = Duration::from_millis(500);
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Connects. A QEMU that is started right after another one has ended may be faster than the daemon,
/// which resets the queues first: to it the device is busy for a moment.
fn connect(options: &Options, request: &OpenRequest) -> Result<Client, ClientError> {
    let start = Instant::now();
    loop {
        match Client::connect(&options.socket, request.clone(), ClientOptions::default()) {
            Err(ClientError::Refused(Errno::EBUSY)) if start.elapsed() < BUSY_TIME => {
                std::thread::sleep(BUSY_PAUSE);
            }
            connected => return connected,
        }
    }
}

/// A VM identity that no other VM has: the kernel's random UUID, else the process.
fn random_identity() -> VmIdentity {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let process = || format!("qemu-{}", std::process::id());
    uuid.trim()
        .parse()
        .or_else(|_| process().parse())
        .expect("a name and a number are a valid identity")
}
