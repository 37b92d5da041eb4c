//! What the bus tells user space (spec 2.2, "Uevents").

use std::fmt;

use crate::device::{Card, Device, Driver, Queue, mode_name};
use crate::state::Bus;

/// The verb of a uevent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A device appeared.
    Add,
    /// A device went away.
    Remove,
    /// Something about a device changed.
    Change,
    /// A driver took a device.
    Bind,
    /// A driver lost a device.
    Unbind,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Change => "change",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
        })
    }
}

/// One uevent: verb, device and what is said about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uevent {
    /// The verb.
    pub action: Action,
    /// Device path, as in `/devices/ap/card05`.
    pub path: String,
    /// `ap`, `mdev` or `matrix`.
    pub subsystem: &'static str,
    /// KEY and value pairs in the order in which they are sent.
    pub properties: Vec<(&'static str, String)>,
}

impl Uevent {
    /// A change of the root device `ap`, from which the bus's own events come.
    #[must_use]
    pub fn of_bus(properties: Vec<(&'static str, String)>) -> Self {
        let path = String::from("/devices/ap");
        Self {
            action: Action::Change,
            path,
            subsystem: "ap",
            properties,
        }
    }

    /// An event of a device.
    #[must_use]
    pub fn of_device(
        action: Action,
        device: Device,
        properties: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            action,
            path: device.path(),
            subsystem: "ap",
            properties,
        }
    }
}

impl Bus {
    /// The pairs of a card's `uevent` file, in the recorded order (spec 12).
    #[must_use]
    pub fn card_properties(&self, card: &Card) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("DEVTYPE", String::from("ap_card"))];
        if card.bound {
            pairs.push(("DRIVER", String::from(self.driver_name(Driver::Cex4Card))));
        }
        pairs.push(("DEV_TYPE", format!("{:04X}", card.ap_type.0)));
        pairs.push(("MODALIAS", format!("ap:t{:02X}", card.ap_type.0)));
        if let Some(mode) = card.info.mode() {
            pairs.push(("MODE", String::from(mode_name(mode))));
        }
        pairs
    }

    /// The pairs of a queue's `uevent` file, in the recorded order (spec 12).
    #[must_use]
    pub fn queue_properties(&self, queue: &Queue) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("DEVTYPE", String::from("ap_queue"))];
        if let Some(driver) = queue.driver {
            pairs.push(("DRIVER", String::from(self.driver_name(driver))));
        }
        if let Some(mode) = queue.info.mode() {
            pairs.push(("MODE", String::from(mode_name(mode))));
        }
        pairs
    }
}
