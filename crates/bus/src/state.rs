//! [`Bus`]: everything the bus knows, and read access to it.

use std::time::Duration;

use arch::qci::{MAX_ADAPTER_WITHOUT_APXA, MAX_DOMAIN_WITHOUT_APXA, QciFlags};
use arch::{
    AdapterMask, ApInstructions, Apid, Apqi, Apqn, Facilities, MaskEdit, QciBlock, UsageMask,
};
use rpds::RedBlackTreeMapSync;

use crate::device::{Card, Driver, Queue};

/// Parameters of the bus: Linux's `ap.*` kernel parameters and what stands in for an environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BusConfig {
    /// `ap.apmask`, applied on an all-zero mask; without it all ones. A text that does not parse is
    /// an all-zero mask (spec 2.2): pass `MaskEdit::absolute(Mask256::EMPTY)`.
    pub apmask: Option<MaskEdit>,
    /// `ap.aqmask`, likewise.
    pub aqmask: Option<MaskEdit>,
    /// `ap.useirq`: use AP interrupts when the facility is there.
    pub use_interrupts: bool,
    /// Absolute address of an array of notification bytes, one per APQN, that the default queue
    /// driver names in AQIC. `None`: its queues are polled.
    pub notification_area: Option<u64>,
    /// Initial `poll_timeout` in nanoseconds.
    pub poll_timeout: u64,
    /// Name of the plugged-in queue driver, if there will be one.
    pub plugged: Option<&'static str>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            apmask: None,
            aqmask: None,
            use_interrupts: true,
            notification_area: None,
            poll_timeout: 250_000,
            plugged: None,
        }
    }
}

/// The AP bus. `Clone` copies a few pointers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bus {
    pub(crate) config: BusConfig,
    pub(crate) facilities: Facilities,
    pub(crate) qci: Option<QciBlock>,
    pub(crate) max_adapter: Apid,
    pub(crate) max_domain: Apqi,
    pub(crate) apmask: AdapterMask,
    pub(crate) aqmask: UsageMask,
    pub(crate) cards: RedBlackTreeMapSync<Apid, Card>,
    pub(crate) queues: RedBlackTreeMapSync<Apqn, Queue>,
    /// Queues in [`QueueState::Resetting`](crate::QueueState), and the time until the next look.
    pub(crate) resetting: RedBlackTreeMapSync<Apqn, Duration>,
    pub(crate) bound: usize,
    pub(crate) overrides: usize,
    pub(crate) default_domain: Option<Apqi>,
    pub(crate) config_time: u32,
    pub(crate) poll_thread: bool,
    pub(crate) poll_timeout: u64,
    pub(crate) autoprobe: bool,
    /// The plugged-in driver has registered.
    pub(crate) plugged: bool,
    pub(crate) scans: u64,
    /// A scan is running: bindings are judged at its end.
    pub(crate) scanning: bool,
    /// The present "bindings complete" was announced.
    pub(crate) complete: bool,
    pub(crate) completions: u64,
}

impl Bus {
    /// The bus before its first scan: limits from QCI, masks from the parameters, no devices.
    #[must_use]
    pub fn new(config: BusConfig, hardware: &mut dyn ApInstructions) -> Self {
        let qci = hardware.qci();
        let apxa = qci.filter(|qci| qci.flags.contains(QciFlags::APXA));
        // A zero in Na or Nd does not replace the default (spec 1.4).
        let limit = |value: Option<u8>, default| value.filter(|n| *n != 0).unwrap_or(default);
        let initial = |edit: Option<&MaskEdit>| {
            edit.map_or(arch::Mask256::FULL, |edit| edit.apply(arch::Mask256::EMPTY))
        };
        Self {
            facilities: hardware.facilities(),
            max_adapter: Apid(limit(apxa.map(|qci| qci.na), MAX_ADAPTER_WITHOUT_APXA)),
            max_domain: Apqi(limit(apxa.map(|qci| qci.nd), MAX_DOMAIN_WITHOUT_APXA)),
            apmask: AdapterMask(initial(config.apmask.as_ref())),
            aqmask: UsageMask(initial(config.aqmask.as_ref())),
            qci,
            cards: RedBlackTreeMapSync::new_sync(),
            queues: RedBlackTreeMapSync::new_sync(),
            resetting: RedBlackTreeMapSync::new_sync(),
            bound: 0,
            overrides: 0,
            default_domain: None,
            config_time: 30,
            poll_thread: false,
            poll_timeout: config.poll_timeout,
            autoprobe: true,
            plugged: false,
            scans: 0,
            scanning: false,
            complete: false,
            completions: 0,
            config,
        }
    }

    /// A card device.
    #[must_use]
    pub fn card(&self, apid: Apid) -> Option<&Card> {
        self.cards.get(&apid)
    }

    /// A queue device.
    #[must_use]
    pub fn queue(&self, apqn: Apqn) -> Option<&Queue> {
        self.queues.get(&apqn)
    }

    /// All card devices, ascending.
    pub fn cards(&self) -> impl Iterator<Item = (Apid, &Card)> {
        self.cards.iter().map(|(apid, card)| (*apid, card))
    }

    /// All queue devices, ascending.
    pub fn queues(&self) -> impl Iterator<Item = (Apqn, &Queue)> {
        self.queues.iter().map(|(apqn, queue)| (*apqn, queue))
    }

    /// The queue devices of one card, ascending.
    pub fn queues_of(&self, apid: Apid) -> impl Iterator<Item = (Apqn, &Queue)> {
        let range = Apqn::new(apid.0, 0)..=Apqn::new(apid.0, u8::MAX);
        self.queues.range(range).map(|(apqn, queue)| (*apqn, queue))
    }

    /// Name of a driver; the plugged-in driver's name without one is `none`.
    #[must_use]
    pub fn driver_name(&self, driver: Driver) -> &'static str {
        match driver {
            Driver::Cex4Card => "cex4card",
            Driver::Cex4Queue => "cex4queue",
            Driver::Plugged => self.config.plugged.unwrap_or("none"),
        }
    }

    /// The registered drivers, by name.
    #[must_use]
    pub fn drivers(&self) -> Vec<Driver> {
        let mut drivers = vec![Driver::Cex4Card, Driver::Cex4Queue];
        if self.plugged {
            drivers.push(Driver::Plugged);
        }
        drivers
    }

    /// The configuration as of the last scan; `None` without the QCI facility.
    #[must_use]
    pub const fn qci(&self) -> Option<&QciBlock> {
        self.qci.as_ref()
    }

    /// Highest adapter number, fixed at the start (spec 12).
    #[must_use]
    pub const fn max_adapter(&self) -> Apid {
        self.max_adapter
    }

    /// Highest domain number, fixed at the start (spec 12).
    #[must_use]
    pub const fn max_domain(&self) -> Apqi {
        self.max_domain
    }

    /// Adapters reserved for default drivers.
    #[must_use]
    pub const fn apmask(&self) -> AdapterMask {
        self.apmask
    }

    /// Domains reserved for default drivers.
    #[must_use]
    pub const fn aqmask(&self) -> UsageMask {
        self.aqmask
    }

    /// Queue devices with a driver, and all queue devices: the content of `bindings`.
    #[must_use]
    pub fn bindings(&self) -> (usize, usize) {
        (self.bound, self.queues.size())
    }

    /// Whether `bindings` says "(complete)".
    #[must_use]
    pub fn bindings_complete(&self) -> bool {
        self.scans > 0 && self.bound == self.queues.size()
    }

    /// How often the bindings became complete.
    #[must_use]
    pub const fn completions(&self) -> u64 {
        self.completions
    }

    /// Completed scans.
    #[must_use]
    pub const fn scans(&self) -> u64 {
        self.scans
    }

    /// The default domain, if one was found or set.
    #[must_use]
    pub const fn default_domain(&self) -> Option<Apqi> {
        self.default_domain
    }

    /// Seconds between rescans.
    #[must_use]
    pub const fn config_time(&self) -> u32 {
        self.config_time
    }

    /// Whether the poll thread runs. It never does while interrupts are in use (spec 2.2).
    #[must_use]
    pub const fn poll_thread(&self) -> bool {
        self.poll_thread
    }

    /// High frequency poll interval in nanoseconds.
    #[must_use]
    pub const fn poll_timeout(&self) -> u64 {
        self.poll_timeout
    }

    /// Whether new devices are offered to drivers.
    #[must_use]
    pub const fn autoprobe(&self) -> bool {
        self.autoprobe
    }

    /// Whether the bus uses AP interrupts.
    #[must_use]
    pub const fn uses_interrupts(&self) -> bool {
        self.config.use_interrupts && self.facilities.contains(Facilities::APQI)
    }

    /// Whether `apid` is configured to this partition; without QCI everything is (spec 2.3).
    #[must_use]
    pub fn has_adapter(&self, apid: Apid) -> bool {
        self.qci.is_none_or(|qci| qci.apm.contains(apid))
    }

    /// Whether `apqi` is a usage domain of this partition; without QCI every domain is.
    #[must_use]
    pub fn has_domain(&self, apqi: Apqi) -> bool {
        self.qci.is_none_or(|qci| qci.aqm.contains(apqi))
    }
}
