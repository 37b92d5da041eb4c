//! The attribute tables.

mod bus_ap;
mod card;
mod generic;
mod matrix_device;
mod mdev;
mod queue;

use crate::attribute::Attribute;
use crate::node::Dir;

/// The table of a directory. Rows are found by index, so their order is part of inode numbers within
/// one run, and of nothing else.
#[must_use]
pub const fn table(dir: Dir) -> &'static [Attribute] {
    match dir {
        Dir::BusAp => bus_ap::TABLE,
        Dir::Cex4Card => generic::CEX4CARD,
        Dir::Cex4Queue => generic::CEX4QUEUE,
        Dir::VfioAp => generic::VFIO_AP,
        Dir::BusMatrix => generic::BUS_MATRIX,
        Dir::BusMdev => generic::BUS_MDEV,
        Dir::MatrixDriver => generic::UEVENT_ONLY,
        Dir::MdevDriver => generic::MDEV_DRIVER,
        Dir::Ap | Dir::VfioApRoot => generic::ROOT_DEVICE,
        Dir::Card => card::TABLE,
        Dir::Queue => queue::TABLE,
        Dir::Matrix => matrix_device::MATRIX,
        Dir::Type => matrix_device::TYPE,
        Dir::Mdev => mdev::TABLE,
        Dir::MdevVfioDevice => mdev::VFIO_DEVICE,
        Dir::ModuleAp | Dir::ModuleZcrypt | Dir::ModuleVfioAp => generic::MODULE,
        Dir::Root
        | Dir::Bus
        | Dir::BusApDevices
        | Dir::BusApDrivers
        | Dir::BusMatrixDevices
        | Dir::BusMatrixDrivers
        | Dir::BusMdevDevices
        | Dir::BusMdevDrivers
        | Dir::Class
        | Dir::ClassMdevBus
        | Dir::Devices
        | Dir::Types
        | Dir::TypeDevices
        | Dir::MdevVfio
        | Dir::Kernel
        | Dir::IommuGroups
        | Dir::IommuGroup
        | Dir::IommuGroupDevices
        | Dir::Module => &[],
    }
}
