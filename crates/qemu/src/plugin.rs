//! The plugin's state: one connection, and a little per vCPU.

use std::sync::Once;
use std::time::{Duration, Instant};

use arch::{CrycbFormat, Errno, Facilities, Instruction, Outcome};
use device::{Client, ClientError, ClientOptions, DmaRange, OpenRequest, SharedClient, VmIdentity};

use crate::adapter::Adapter;
use crate::cpu::Cpu;
use crate::events::Events;
use crate::intercept::Executor;
use crate::options::Options;
use crate::pending::{Board, Pending};
use crate::poke::Poke;
use crate::reset::Resets;
use crate::say::{Limiter, say};
use crate::stfle::FacilityList;
use crate::timer::Clock;
use crate::wait::Wait;

/// Everything that callbacks share.
#[derive(Debug)]
pub(crate) struct Plugin {
    client: SharedClient,
    max_message: usize,
    /// By vCPU index.
    lists: Box<[FacilityList]>,
    /// By vCPU index.
    waits: Box<[Wait]>,
    clock: Clock,
    /// The guest may have adapter interruptions.
    has_interrupts: bool,
    /// The daemon knows the guest's memory.
    memory: Once,
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
            has_interrupts: client.grant().facilities.contains(Facilities::APQI),
            memory: Once::new(),
            waits: std::iter::repeat_with(Wait::default)
                .take(max_vcpus)
                .collect(),
            max_message: client.max_message() as usize,
            client: SharedClient::new(client),
            lists: std::iter::repeat_with(FacilityList::default)
                .take(max_vcpus)
                .collect(),
            clock: Clock::default(),
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

    /// What is known of the vCPUs' timers.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The wait of a vCPU.
    pub(crate) fn wait(&self, vcpu: u32) -> Option<&Wait> {
        self.waits.get(vcpu as usize)
    }

    /// Whether the guest may have adapter interruptions.
    pub(crate) const fn has_interrupts(&self) -> bool {
        self.has_interrupts
    }

    /// Tells the daemon the guest's memory, once; it judges the addresses of notification bytes.
    pub(crate) fn tell_memory(&self, cpu: &mut impl Cpu) {
        if !self.has_interrupts {
            return;
        }
        self.memory.call_once(|| {
            let range = DmaRange {
                address: 0,
                length: memory_size(cpu),
                readable: true,
                writable: true,
            };
            if let Err(error) = self.client.dma_map(range) {
                say(format_args!(
                    "no adapter interruptions for the guest: {error}"
                ));
            }
        });
    }

    /// Takes the adapter interruptions that the daemon has; whether there is one for which a CPU has to
    /// be woken. None has to while replies are awaited: a CPU that waits is not halted then.
    pub(crate) fn fetch_alerts(&self) -> bool {
        // Under the lock of what is pending, so that an instruction that disables interruptions comes
        // either before the daemon is asked or after its answer is there.
        self.pending.change(|state| {
            // Without a connection there are no more; queues are looked at again when it is back.
            drop(self.client.alerts(|alert| state.adapter.alert(alert)));
            state.adapter.is_due() && !state.is_attended()
        })
    }

    /// The connection stands again and the queues were reset. That the guest is to look at them comes as
    /// alerts.
    pub(crate) fn restored(&self) {
        self.pending.change(|state| state.adapter.restored());
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
        let reset = self.resets.due().then(|| self.client.reset());
        // Afterwards: until then the daemon may have something to tell the old kernel.
        self.pending.clear();
        match reset.unwrap_or(Ok(())) {
            // Closing the device has reset the queues, or will before it is opened again.
            Ok(()) | Err(ClientError::Released | ClientError::Down) => {}
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
        let outcome = self.client.execute(instruction, reply);
        if self.has_interrupts && Adapter::concerns(instruction, &outcome) {
            self.pending
                .change(|state| state.adapter.follow(instruction, &outcome));
        }
        outcome
    }
}

/// Bytes of absolute storage, which begins at 0 and has no holes. It is a multiple of a MiB.
fn memory_size(cpu: &mut impl Cpu) -> u64 {
    const UNIT: u64 = 1 << 20;
    let mut has = |unit: u64| cpu.load_absolute(unit * UNIT).is_some();
    let mut end = 1;
    while end < 1 << 40 && has(end) {
        end *= 2;
    }
    let (mut low, mut high) = (end / 2, end);
    // `low` is there, `high` is not.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if has(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high * UNIT
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
