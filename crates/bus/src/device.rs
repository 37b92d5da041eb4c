//! Cards, queues and the names of devices and drivers.

use std::fmt;
use std::sync::Arc;

use arch::{ApType, Apid, Apqn, CardMode, HwInfo, ResponseCode};

/// A driver of the bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Driver {
    /// `cex4card`, the default driver of cards.
    Cex4Card,
    /// `cex4queue`, the default driver of queues.
    Cex4Queue,
    /// The plugged-in queue driver, `vfio_ap` on a host. Not a default driver.
    Plugged,
}

impl Driver {
    /// Whether the driver carries the bus's "default driver" flag (spec 2.4).
    #[must_use]
    pub const fn is_default(self) -> bool {
        matches!(self, Self::Cex4Card | Self::Cex4Queue)
    }
}

/// Name of a device on the bus: `card05` or `05.00ab`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Device {
    /// A card.
    Card(Apid),
    /// A queue.
    Queue(Apqn),
}

impl Device {
    /// The device with exactly this name; the kernel compares names, so upper-case digits and
    /// anything around the name are another device.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let device = match name.strip_prefix("card") {
            Some(digits) => Self::Card(Apid(u8::from_str_radix(digits, 16).ok()?)),
            None => Self::Queue(name.parse().ok()?),
        };
        (device.to_string() == name).then_some(device)
    }

    /// Path of the device under `/sys`, as uevents give it.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Card(apid) => format!("/devices/ap/card{apid}"),
            Self::Queue(apqn) => format!("/devices/ap/card{}/{apqn}", apqn.apid),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(apid) => write!(f, "card{apid}"),
            Self::Queue(apqn) => write!(f, "{apqn}"),
        }
    }
}

/// A card device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Card {
    /// The type that drivers see: 10..=14, mapped by QACT when the hardware is newer.
    pub ap_type: ApType,
    /// Hardware information of the first usable queue.
    pub info: HwInfo,
    /// Configured (`true`) or deconfigured.
    pub config: bool,
    /// Check-stopped.
    pub chkstop: bool,
    /// Whether `cex4card` has the card.
    pub bound: bool,
    /// What the administrator asked for; [`is_online`](Self::is_online) is what `online` reads.
    pub online_wanted: bool,
    /// Requests since the last write to `request_count`.
    pub requests: u64,
}

impl Card {
    /// Content of `online`: asked for, configured and not check-stopped (transcript
    /// checkstop-online-at-runtime).
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.online_wanted && self.is_usable()
    }

    /// Configured and not check-stopped.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.config && !self.chkstop
    }

    /// `CEX8A`: the content of `type`.
    #[must_use]
    pub fn type_name(&self) -> String {
        let letter = self.info.mode().map_or('?', CardMode::letter);
        format!("CEX{}{letter}", self.ap_type.generation())
    }
}

/// What the default driver knows about a queue (spec 2.8, without the states of a running request).
///
/// `start` has the edges between the states; from each of them an unbind, with ZAPQ, leads back to
/// `Uninitiated`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueState {
    /// No default driver has it.
    Uninitiated,
    /// The reset that starts it has not ended.
    Resetting,
    /// Ready for requests.
    Operating,
    /// The hardware refused with this code, 03 and 04 included.
    Error(ResponseCode),
}

/// A queue device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    /// The adapter of the queue is configured.
    pub config: bool,
    /// The adapter of the queue is check-stopped.
    pub chkstop: bool,
    /// Hardware information when the queue was last scanned.
    pub info: HwInfo,
    /// Who has the queue.
    pub driver: Option<Driver>,
    /// Name of the only driver that may take the queue, bypassing the masks (spec 2.5).
    pub driver_override: Option<Arc<str>>,
    /// State under the default driver.
    pub state: QueueState,
    /// Interrupts are enabled for the default driver.
    pub interrupts: bool,
    /// What the administrator asked for; [`is_online`](Self::is_online) is what `online` reads.
    pub online_wanted: bool,
    /// The default driver ties a queue to its card as it is when the queue is bound. Once the card has
    /// left its driver, also if it comes back, this is the `online` that it left with, and the card's
    /// `online` means nothing to the queue any more, until the queue itself is bound again.
    pub former_card: Option<bool>,
    /// Requests since the last write to `request_count`.
    pub requests: u64,
}

impl Queue {
    /// Content of `online`.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.online_wanted && self.is_usable()
    }

    /// Configured and not check-stopped.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.config && !self.chkstop
    }
}

/// `accel`, `cca` or `ep11`: the MODE of uevents.
#[must_use]
pub const fn mode_name(mode: CardMode) -> &'static str {
    match mode {
        CardMode::Accelerator => "accel",
        CardMode::Cca => "cca",
        CardMode::Ep11 => "ep11",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_exact() {
        assert_eq!(Device::parse("card0a"), Some(Device::Card(Apid(10))));
        assert_eq!(
            Device::parse("0a.00ff"),
            Some(Device::Queue(Apqn::new(10, 255)))
        );
        for name in [
            "card0A", "card+a", "carda", "card00a", "0A.0006", "", "card", " 0a.0006",
        ] {
            assert_eq!(Device::parse(name), None, "{name:?}");
        }
    }
}
