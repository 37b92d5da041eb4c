//! `devices/vfio_ap/matrix` and its mdev type (spec 3.1, 3.2).

use matrix::{Command, MdevUuid};

use crate::attribute::{Attribute, Writing, store_uevent};
use crate::error::StoreError;

pub(crate) const MATRIX: &[Attribute] = &[
    Attribute::read_only(
        "features",
        |_| Ok(String::from("guest_matrix hotplug ap_config\n")),
        "What the driver can do.",
    ),
    Attribute::read_write(
        "uevent",
        |_| Ok(String::from("DRIVER=vfio_ap\n")),
        store_uevent,
        "What uevents say about the matrix device.",
    ),
];

pub(crate) const TYPE: &[Attribute] = &[
    Attribute::read_only(
        "available_instances",
        |r| Ok(format!("{}\n", r.place.host.matrix().available_instances())),
        "How many more mdevs can be created.",
    ),
    Attribute::write_only("create", store_create, "Creates the mdev with this UUID."),
    Attribute::read_only(
        "device_api",
        |_| Ok(String::from("vfio-ap\n")),
        "The kind of VFIO device.",
    ),
    Attribute::read_only(
        "name",
        |_| Ok(String::from("VFIO AP Passthrough Device\n")),
        "The type's name.",
    ),
];

/// 36 characters and optionally one more, which is not looked at (spec 3.2).
fn store_create(writing: &Writing<'_>) -> Result<Command, StoreError> {
    let uuid = match writing.bytes {
        bytes if bytes.len() == 36 => bytes,
        [bytes @ .., _] if bytes.len() == 36 => bytes,
        _ => return Err(StoreError::Uuid),
    };
    let text = std::str::from_utf8(uuid).map_err(|_| StoreError::Uuid)?;
    let uuid: MdevUuid = text.parse().map_err(|_| StoreError::Uuid)?;
    Ok(Command::CreateMdev(uuid))
}
