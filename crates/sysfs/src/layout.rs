//! Directories and links: the shape of the tree (spec 2.1, 3.1, 12).

use bus::{Device, Driver};
use matrix::{Group, Host, MdevUuid, Serial};

use crate::attribute::Place;
use crate::node::{Dir, Entry, Node, device_id, device_of};

/// Directories with fixed names: parent, name, directory.
pub(crate) const SUBDIRS: &[(Dir, &str, Dir)] = &[
    (Dir::Root, "bus", Dir::Bus),
    (Dir::Bus, "ap", Dir::BusAp),
    (Dir::BusAp, "devices", Dir::BusApDevices),
    (Dir::BusAp, "drivers", Dir::BusApDrivers),
    (Dir::BusApDrivers, "cex4card", Dir::Cex4Card),
    (Dir::BusApDrivers, "cex4queue", Dir::Cex4Queue),
    (Dir::BusApDrivers, "vfio_ap", Dir::VfioAp),
    (Dir::Bus, "matrix", Dir::BusMatrix),
    (Dir::BusMatrix, "devices", Dir::BusMatrixDevices),
    (Dir::BusMatrix, "drivers", Dir::BusMatrixDrivers),
    (Dir::BusMatrixDrivers, "vfio_ap", Dir::MatrixDriver),
    (Dir::Bus, "mdev", Dir::BusMdev),
    (Dir::BusMdev, "devices", Dir::BusMdevDevices),
    (Dir::BusMdev, "drivers", Dir::BusMdevDrivers),
    (Dir::BusMdevDrivers, "vfio_ap_mdev", Dir::MdevDriver),
    (Dir::Root, "class", Dir::Class),
    (Dir::Class, "mdev_bus", Dir::ClassMdevBus),
    (Dir::Root, "devices", Dir::Devices),
    (Dir::Devices, "ap", Dir::Ap),
    (Dir::Devices, "vfio_ap", Dir::VfioApRoot),
    (Dir::VfioApRoot, "matrix", Dir::Matrix),
    (Dir::Matrix, "mdev_supported_types", Dir::Types),
    (Dir::Types, "vfio_ap-passthrough", Dir::Type),
    (Dir::Type, "devices", Dir::TypeDevices),
    (Dir::Mdev, "vfio-dev", Dir::MdevVfio),
    (Dir::Root, "kernel", Dir::Kernel),
    (Dir::Kernel, "iommu_groups", Dir::IommuGroups),
    (Dir::IommuGroup, "devices", Dir::IommuGroupDevices),
    (Dir::Root, "module", Dir::Module),
    (Dir::Module, "ap", Dir::ModuleAp),
    (Dir::Module, "vfio_ap", Dir::ModuleVfioAp),
    (Dir::Module, "zcrypt", Dir::ModuleZcrypt),
];

/// Target of a link; `None`: the link is not there.
type Target = fn(&Place<'_>) -> Option<String>;

/// Links with fixed names: directory, name, target.
pub(crate) const LINKS: &[(Dir, &str, Target)] = &[
    (Dir::BusMatrixDevices, "matrix", |_| {
        text("../../../devices/vfio_ap/matrix")
    }),
    (Dir::MatrixDriver, "matrix", |_| {
        text("../../../../devices/vfio_ap/matrix")
    }),
    (Dir::MdevDriver, "module", |_| {
        text("../../../../module/vfio_ap")
    }),
    (Dir::ClassMdevBus, "matrix", |_| {
        text("../../devices/vfio_ap/matrix")
    }),
    (Dir::Card, "driver", |p| {
        let driver = p.card().filter(|card| card.bound).map(|_| Driver::Cex4Card);
        driver.map(|driver| driver_target("../../..", p.host, driver))
    }),
    (Dir::Card, "subsystem", |_| text("../../../bus/ap")),
    (Dir::Queue, "driver", |p| {
        let driver = p.queue().and_then(|queue| queue.driver);
        driver.map(|driver| driver_target("../../../..", p.host, driver))
    }),
    (Dir::Queue, "subsystem", |_| text("../../../../bus/ap")),
    (Dir::Matrix, "driver", |_| {
        text("../../../bus/matrix/drivers/vfio_ap")
    }),
    (Dir::Matrix, "subsystem", |_| text("../../../bus/matrix")),
    (Dir::Mdev, "driver", |_| {
        text("../../../../bus/mdev/drivers/vfio_ap_mdev")
    }),
    (Dir::Mdev, "iommu_group", |p| {
        Some(format!(
            "../../../../kernel/iommu_groups/{}",
            p.mdev()?.1.group
        ))
    }),
    (Dir::Mdev, "mdev_type", |_| {
        text("../mdev_supported_types/vfio_ap-passthrough")
    }),
    (Dir::Mdev, "subsystem", |_| text("../../../../bus/mdev")),
    (Dir::MdevVfioDevice, "device", |p| {
        Some(format!("../../../{}", p.mdev()?.0))
    }),
];

fn text(target: &str) -> Option<String> {
    Some(String::from(target))
}

fn driver_target(up: &str, host: &Host, driver: Driver) -> String {
    format!("{up}/bus/ap/drivers/{}", host.bus().driver_name(driver))
}

/// Whether directories of this kind are numbered.
pub(crate) const fn is_numbered(dir: Dir) -> bool {
    matches!(
        dir,
        Dir::Card
            | Dir::Queue
            | Dir::Mdev
            | Dir::MdevVfio
            | Dir::MdevVfioDevice
            | Dir::IommuGroup
            | Dir::IommuGroupDevices
    )
}

/// Whether a directory is there.
pub(crate) fn directory_exists(place: &Place<'_>, dir: Dir) -> bool {
    match dir {
        Dir::Card => place.id <= 0xff && place.card().is_some(),
        Dir::Queue => place.id <= 0xffff && place.queue().is_some(),
        Dir::Mdev
        | Dir::MdevVfio
        | Dir::MdevVfioDevice
        | Dir::IommuGroup
        | Dir::IommuGroupDevices => place.mdev().is_some(),
        Dir::Root => place.id == Node::ROOT.id,
        _ => place.id == 0,
    }
}

/// Directories below `parent` that are named after something: all of them.
pub(crate) fn numbered_subdirs(place: &Place<'_>, parent: Dir) -> Vec<(String, Node)> {
    let host = place.host;
    match parent {
        Dir::Ap => host
            .bus()
            .cards()
            .map(|(apid, _)| {
                let name = Device::Card(apid).to_string();
                (name, Node::directory(Dir::Card, u64::from(apid.0)))
            })
            .collect(),
        Dir::Card => host
            .bus()
            .queues_of(place.apid())
            .map(|(apqn, _)| {
                (
                    apqn.to_string(),
                    Node::directory(Dir::Queue, apqn.to_u16().into()),
                )
            })
            .collect(),
        Dir::Matrix => host
            .matrix()
            .mdevs()
            .map(|(uuid, mdev)| (uuid.to_string(), Node::directory(Dir::Mdev, mdev.serial.0)))
            .collect(),
        Dir::IommuGroups => host
            .matrix()
            .groups()
            .map(|(group, serial)| {
                (
                    group.to_string(),
                    Node::directory(Dir::IommuGroup, serial.0),
                )
            })
            .collect(),
        Dir::MdevVfio => place
            .mdev()
            .map(|(_, mdev)| {
                (
                    format!("vfio{}", mdev.group),
                    Node::directory(Dir::MdevVfioDevice, place.id),
                )
            })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// The directory below `parent` with this name, if it is one that is named after something.
pub(crate) fn numbered_subdir(place: &Place<'_>, parent: Dir, name: &str) -> Option<Node> {
    let host = place.host;
    let node = match parent {
        Dir::Ap => match Device::parse(name)? {
            Device::Card(apid) => Node::directory(Dir::Card, u64::from(apid.0)),
            Device::Queue(_) => return None,
        },
        Dir::Card => match Device::parse(name)? {
            Device::Queue(apqn) if apqn.apid == place.apid() => {
                Node::directory(Dir::Queue, apqn.to_u16().into())
            }
            _ => return None,
        },
        Dir::Matrix => Node::directory(Dir::Mdev, mdev_named(place.host, name)?.0),
        Dir::IommuGroups => {
            let group = Group(name.parse().ok()?);
            let serial = host.matrix().by_group(group)?;
            (group.to_string() == name).then_some(Node::directory(Dir::IommuGroup, serial.0))?
        }
        Dir::MdevVfio => (name == format!("vfio{}", place.mdev()?.1.group))
            .then_some(Node::directory(Dir::MdevVfioDevice, place.id))?,
        _ => return None,
    };
    directory_exists(
        &Place {
            host: place.host,
            id: node.id,
        },
        node.dir,
    )
    .then_some(node)
}

/// Directory names are lower case, unlike what `create` accepts.
fn mdev_named(host: &Host, name: &str) -> Option<Serial> {
    let uuid: MdevUuid = name.parse().ok()?;
    let mdev = host.matrix().mdev(uuid)?;
    (uuid.to_string() == name).then_some(mdev.serial)
}

/// Links named after devices in `dir`: all of them.
pub(crate) fn device_links(place: &Place<'_>, dir: Dir) -> Vec<(String, Node)> {
    let bus = place.host.bus();
    let link = |id| Node {
        dir,
        entry: Entry::DeviceLink,
        id,
    };
    let device_link = |device: Device| (device.to_string(), link(device_id(device)));
    match dir {
        Dir::BusApDevices => {
            let queues = bus
                .queues()
                .map(|(apqn, _)| device_link(Device::Queue(apqn)));
            queues
                .chain(bus.cards().map(|(apid, _)| device_link(Device::Card(apid))))
                .collect()
        }
        Dir::Cex4Card => bus
            .cards()
            .filter(|(_, card)| card.bound)
            .map(|(apid, _)| device_link(Device::Card(apid)))
            .collect(),
        Dir::Cex4Queue | Dir::VfioAp => bus
            .queues()
            .filter(|(_, queue)| queue.driver == queue_driver(dir))
            .map(|(apqn, _)| device_link(Device::Queue(apqn)))
            .collect(),
        Dir::BusMdevDevices | Dir::MdevDriver | Dir::TypeDevices => place
            .host
            .matrix()
            .mdevs()
            .map(|(uuid, mdev)| (uuid.to_string(), link(mdev.serial.0)))
            .collect(),
        Dir::IommuGroupDevices => place
            .mdev()
            .map(|(uuid, mdev)| (uuid.to_string(), link(mdev.serial.0)))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// The link in `dir` named after a device.
pub(crate) fn device_link(place: &Place<'_>, dir: Dir, name: &str) -> Option<Node> {
    let id = match dir {
        Dir::BusApDevices | Dir::Cex4Card | Dir::Cex4Queue | Dir::VfioAp => {
            device_id(Device::parse(name)?)
        }
        Dir::BusMdevDevices | Dir::MdevDriver | Dir::TypeDevices | Dir::IommuGroupDevices => {
            mdev_named(place.host, name)?.0
        }
        _ => return None,
    };
    let numbered = dir == Dir::IommuGroupDevices;
    let node = Node {
        dir,
        entry: Entry::DeviceLink,
        id,
    };
    let here = !numbered || id == place.id;
    (here && device_link_target(place.host, node).is_some()).then_some(node)
}

/// Target of a link named after a device; `None` when the device is not, or no longer, there.
pub(crate) fn device_link_target(host: &Host, node: Node) -> Option<String> {
    let mdev = || {
        host.matrix()
            .by_serial(Node::serial(node.id))
            .map(|(uuid, _)| uuid)
    };
    let holder = |device: Device| match device {
        Device::Card(apid) => host
            .bus()
            .card(apid)
            .map(|card| card.bound.then_some(Driver::Cex4Card)),
        Device::Queue(apqn) => host.bus().queue(apqn).map(|queue| queue.driver),
    };
    let device = device_of(node.id);
    match node.dir {
        Dir::BusApDevices => holder(device).map(|_| format!("../../..{}", device.path())),
        Dir::Cex4Card | Dir::Cex4Queue | Dir::VfioAp => {
            let held = holder(device)??;
            let wanted = queue_driver(node.dir).unwrap_or(Driver::Cex4Card);
            (held == wanted).then(|| format!("../../../..{}", device.path()))
        }
        Dir::BusMdevDevices => Some(format!("../../../devices/vfio_ap/matrix/{}", mdev()?)),
        Dir::MdevDriver | Dir::IommuGroupDevices => {
            Some(format!("../../../../devices/vfio_ap/matrix/{}", mdev()?))
        }
        Dir::TypeDevices => Some(format!("../../../{}", mdev()?)),
        _ => None,
    }
}

const fn queue_driver(dir: Dir) -> Option<Driver> {
    match dir {
        Dir::Cex4Queue => Some(Driver::Cex4Queue),
        Dir::VfioAp => Some(Driver::Plugged),
        _ => None,
    }
}

/// The directory above a directory; the root is above itself.
pub(crate) fn parent(node: Node) -> Node {
    let fixed = SUBDIRS
        .iter()
        .find(|(_, _, dir)| *dir == node.dir)
        .map(|(above, ..)| *above);
    let (dir, id) = match node.dir {
        Dir::Root => return Node::ROOT,
        Dir::Card => (Dir::Ap, 0),
        Dir::Queue => (Dir::Card, u64::from(Node::apqn(node.id).apid.0)),
        Dir::Mdev => (Dir::Matrix, 0),
        Dir::MdevVfioDevice => (Dir::MdevVfio, node.id),
        Dir::IommuGroup => (Dir::IommuGroups, 0),
        _ => (fixed.unwrap_or(Dir::Root), node.id),
    };
    match dir {
        Dir::Root => Node::ROOT,
        _ => Node::directory(dir, id),
    }
}
