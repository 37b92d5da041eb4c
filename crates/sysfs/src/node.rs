//! Nodes of the tree and their inode numbers.

use arch::{Apid, Apqn};
use bus::Device;
use matrix::Serial;

use crate::attributes::table;
use crate::layout;

macro_rules! dirs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of directory. Where many exist (cards, queues, mdevs) the node's number says which.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Dir {
            $($(#[$doc])* $name,)*
        }

        impl Dir {
            /// Every kind, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

dirs! {
    /// The root of sysfs.
    Root,
    /// `bus`
    Bus,
    /// `bus/ap`
    BusAp,
    /// `bus/ap/devices`
    BusApDevices,
    /// `bus/ap/drivers`
    BusApDrivers,
    /// `bus/ap/drivers/cex4card`
    Cex4Card,
    /// `bus/ap/drivers/cex4queue`
    Cex4Queue,
    /// `bus/ap/drivers/vfio_ap`
    VfioAp,
    /// `bus/matrix`
    BusMatrix,
    /// `bus/matrix/devices`
    BusMatrixDevices,
    /// `bus/matrix/drivers`
    BusMatrixDrivers,
    /// `bus/matrix/drivers/vfio_ap`
    MatrixDriver,
    /// `bus/mdev`
    BusMdev,
    /// `bus/mdev/devices`
    BusMdevDevices,
    /// `bus/mdev/drivers`
    BusMdevDrivers,
    /// `bus/mdev/drivers/vfio_ap_mdev`
    MdevDriver,
    /// `class`
    Class,
    /// `class/mdev_bus`
    ClassMdevBus,
    /// `devices`
    Devices,
    /// `devices/ap`
    Ap,
    /// `devices/ap/cardXX`
    Card,
    /// `devices/ap/cardXX/XX.YYYY`
    Queue,
    /// `devices/vfio_ap`
    VfioApRoot,
    /// `devices/vfio_ap/matrix`
    Matrix,
    /// `devices/vfio_ap/matrix/mdev_supported_types`
    Types,
    /// `devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough`
    Type,
    /// `devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/devices`
    TypeDevices,
    /// `devices/vfio_ap/matrix/UUID`
    Mdev,
    /// `devices/vfio_ap/matrix/UUID/vfio-dev`
    MdevVfio,
    /// `devices/vfio_ap/matrix/UUID/vfio-dev/vfioN`
    MdevVfioDevice,
    /// `kernel`
    Kernel,
    /// `kernel/iommu_groups`
    IommuGroups,
    /// `kernel/iommu_groups/N`
    IommuGroup,
    /// `kernel/iommu_groups/N/devices`
    IommuGroupDevices,
    /// `module`
    Module,
    /// `module/ap`
    ModuleAp,
    /// `module/zcrypt`
    ModuleZcrypt,
    /// `module/vfio_ap`
    ModuleVfioAp,
}

/// What in a directory a node names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entry {
    /// The directory itself.
    Itself,
    /// A row of the directory's attribute table.
    Attribute(u8),
    /// A row of the link table, with a fixed name.
    Link(u8),
    /// A link named after the device that the node's number names.
    DeviceLink,
}

/// A directory, file or link. Nodes of things that went away name nothing, never something else: mdevs
/// are numbered once, and cards and queues are their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    pub(crate) dir: Dir,
    pub(crate) entry: Entry,
    pub(crate) id: u64,
}

/// Nodes carry 48-bit numbers.
const ID_BITS: u32 = 48;
const ID_MASK: u64 = (1 << ID_BITS) - 1;
const FIRST_LINK: u8 = 0x80;
const DEVICE_LINK: u8 = 0xff;

impl Node {
    /// The root directory; its inode number is 1.
    pub const ROOT: Self = Self {
        dir: Dir::Root,
        entry: Entry::Itself,
        id: 1,
    };

    pub(crate) const fn directory(dir: Dir, id: u64) -> Self {
        Self {
            dir,
            entry: Entry::Itself,
            id,
        }
    }

    pub(crate) const fn with(self, entry: Entry) -> Self {
        Self { entry, ..self }
    }

    /// The directory that the node is, or stands in.
    #[must_use]
    pub const fn dir(self) -> Dir {
        self.dir
    }

    /// What in the directory it names.
    #[must_use]
    pub const fn entry(self) -> Entry {
        self.entry
    }

    /// Whether the name is there for as long as the directory that it stands in: directories that are
    /// not named after something, and attributes that are always present.
    #[must_use]
    pub fn name_lasts(self) -> bool {
        match self.entry {
            Entry::Itself => !layout::is_numbered(self.dir),
            Entry::Attribute(row) => table(self.dir)
                .get(usize::from(row))
                .is_some_and(|row| row.when.is_empty()),
            Entry::Link(_) | Entry::DeviceLink => false,
        }
    }

    /// The inode number, never 0: directory kind in bits 63..56, entry in bits 55..48, number in bits
    /// 47..0.
    #[must_use]
    pub const fn ino(self) -> u64 {
        let entry = match self.entry {
            Entry::Itself => 0,
            Entry::Attribute(row) => row + 1,
            Entry::Link(row) => FIRST_LINK + row,
            Entry::DeviceLink => DEVICE_LINK,
        };
        (self.dir as u64) << 56 | (entry as u64) << ID_BITS | self.id & ID_MASK
    }

    /// The node with this inode number; `None` when no node can have it.
    #[must_use]
    pub fn from_ino(ino: u64) -> Option<Self> {
        let [dir, entry, ..] = ino.to_be_bytes();
        let dir = Dir::ALL.get(usize::from(dir)).copied()?;
        let entry = match entry {
            0 => Entry::Itself,
            DEVICE_LINK => Entry::DeviceLink,
            row if row >= FIRST_LINK => Entry::Link(row - FIRST_LINK),
            row => Entry::Attribute(row - 1),
        };
        let node = Self {
            dir,
            entry,
            id: ino & ID_MASK,
        };
        let root = dir == Dir::Root;
        (root == (node == Self::ROOT)).then_some(node)
    }

    pub(crate) const fn apid(id: u64) -> Apid {
        Apid(id.to_be_bytes()[7])
    }

    pub(crate) const fn apqn(id: u64) -> Apqn {
        Apqn::from_gr0(id)
    }

    pub(crate) const fn serial(id: u64) -> Serial {
        Serial(id)
    }
}

/// Above the queue numbers, so that cards and queues share one number space in link nodes.
const CARD_BIT: u64 = 1 << 16;

pub(crate) fn device_id(device: Device) -> u64 {
    match device {
        Device::Card(apid) => CARD_BIT | u64::from(apid.0),
        Device::Queue(apqn) => u64::from(apqn.to_u16()),
    }
}

pub(crate) const fn device_of(id: u64) -> Device {
    if id & CARD_BIT == 0 {
        Device::Queue(Node::apqn(id))
    } else {
        Device::Card(Node::apid(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_root_is_inode_1() {
        assert_eq!(Node::ROOT.ino(), 1);
        assert_eq!(Node::from_ino(1), Some(Node::ROOT));
        assert_eq!(Node::from_ino(0), None);
        assert_eq!(Node::from_ino(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn inode_numbers_are_a_bijection(ino: u64) {
            if let Some(node) = Node::from_ino(ino) {
                prop_assert_eq!(node.ino(), ino);
            }
        }

        #[test]
        fn device_numbers_round_trip(apid: u8, apqi: u8) {
            for device in [Device::Card(Apid(apid)), Device::Queue(Apqn::new(apid, apqi))] {
                prop_assert_eq!(device_of(device_id(device)), device);
            }
        }
    }
}
