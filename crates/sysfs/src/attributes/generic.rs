//! Files that every bus, driver or module has.

use bus::Driver;
use matrix::{Command, MdevUuid};

use crate::attribute::{Attribute, Store, UEVENT_TRIGGER, Writing, store_uevent};
use crate::error::StoreError;

const BIND_DOC: &str = "Gives the named device to this driver.";
const UNBIND_DOC: &str = "Takes the named device from this driver.";

pub(crate) const CEX4CARD: &[Attribute] = &[
    Attribute::write_only("bind", |w| Ok(bind(w, Driver::Cex4Card)), BIND_DOC),
    UEVENT_TRIGGER,
    Attribute::write_only("unbind", |w| Ok(unbind(w, Driver::Cex4Card)), UNBIND_DOC),
];

pub(crate) const CEX4QUEUE: &[Attribute] = &[
    Attribute::write_only("bind", |w| Ok(bind(w, Driver::Cex4Queue)), BIND_DOC),
    UEVENT_TRIGGER,
    Attribute::write_only("unbind", |w| Ok(unbind(w, Driver::Cex4Queue)), UNBIND_DOC),
];

pub(crate) const VFIO_AP: &[Attribute] = &[
    Attribute::write_only("bind", |w| Ok(bind(w, Driver::Plugged)), BIND_DOC),
    UEVENT_TRIGGER,
    Attribute::write_only("unbind", |w| Ok(unbind(w, Driver::Plugged)), UNBIND_DOC),
];

/// mdevs are bound from their creation to their removal. Their bus matches no driver by itself, so
/// `bind` answers ENODEV whatever is written; taking the driver away is not offered.
pub(crate) const MDEV_DRIVER: &[Attribute] = &[
    Attribute::write_only(
        "bind",
        |_| Err(StoreError::UnknownDevice),
        "Refused: an mdev gets its driver when it is created.",
    ),
    UEVENT_TRIGGER,
    Attribute::write_only(
        "unbind",
        |w| known_mdev(w).and(Err(StoreError::Unsupported)),
        "Not supported: remove the mdev instead.",
    ),
];

pub(crate) const BUS_MATRIX: &[Attribute] = &other_bus(|w| {
    (w.name() == "matrix")
        .then_some(Command::Nothing)
        .ok_or(StoreError::UnknownDevice)
});

pub(crate) const BUS_MDEV: &[Attribute] = &other_bus(|w| known_mdev(w).map(|()| Command::Nothing));

/// `bus/mdev` and `bus/matrix`: their devices are bound from the start.
const fn other_bus(probe: Store) -> [Attribute; 3] {
    [
        Attribute::read_write(
            "drivers_autoprobe",
            |_| Ok(String::from("1\n")),
            |_| Ok(Command::Nothing),
            "Always 1; a write is accepted and ignored.",
        ),
        Attribute::write_only(
            "drivers_probe",
            probe,
            "Accepted for a device that exists, and without effect: all have their driver.",
        ),
        UEVENT_TRIGGER,
    ]
}

pub(crate) const UEVENT_ONLY: &[Attribute] = &[UEVENT_TRIGGER];

/// `devices/ap` and `devices/vfio_ap`.
pub(crate) const ROOT_DEVICE: &[Attribute] = &[Attribute::read_write(
    "uevent",
    |_| Ok(String::new()),
    store_uevent,
    "Nothing is said about a root device; a write asks for a synthetic uevent.",
)];

pub(crate) const MODULE: &[Attribute] = &[
    Attribute::read_only(
        "initstate",
        |_| Ok(String::from("live\n")),
        "The module is loaded.",
    ),
    UEVENT_TRIGGER,
];

fn bind(writing: &Writing<'_>, driver: Driver) -> Command {
    Command::Bind {
        driver,
        device: writing.name(),
    }
}

fn unbind(writing: &Writing<'_>, driver: Driver) -> Command {
    Command::Unbind {
        driver,
        device: writing.name(),
    }
}

/// Device names are lower case, unlike what `create` accepts.
fn known_mdev(writing: &Writing<'_>) -> Result<(), StoreError> {
    let name = writing.name();
    let uuid: Option<MdevUuid> = name.parse().ok();
    let known = uuid.is_some_and(|uuid| {
        uuid.to_string() == name && writing.place.host.matrix().mdev(uuid).is_some()
    });
    known.then_some(()).ok_or(StoreError::UnknownDevice)
}
