//! The tree as a whole: names, nodes, links and inode numbers agree with each other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

mod common;

use std::collections::BTreeSet;

use arch::Errno;
use common::{Fake, boot};
use sysfs::{Kind, Node, Session, Tree};

const HOST: &str = "card 3 14 A; card 4 14 P; card 10 13 C; dom 6; dom 71; cdom 6; decfg 10";
const A: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const B: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

fn populated() -> Session<Fake> {
    let mut session = boot(HOST);
    for (path, text) in [
        ("bus/ap/apmask", "-3"),
        (CREATE, A),
        (CREATE, B),
        (&format!("devices/vfio_ap/matrix/{A}/assign_adapter"), "3"),
        (&format!("devices/vfio_ap/matrix/{A}/assign_domain"), "6"),
        ("bus/ap/drivers/cex4queue/unbind", "04.0006"),
        ("bus/ap/drivers/cex4card/unbind", "card04"),
    ] {
        session.write(path, text.as_bytes()).unwrap();
    }
    session
}

/// Every path of the tree with its node, depth first; links are not followed.
fn walk(tree: &Tree<'_>, path: &str, node: Node, found: &mut Vec<(String, Node)>) {
    found.push((String::from(path), node));
    if tree.kind(node) != Some(Kind::Directory) {
        return;
    }
    for entry in tree.list(node).unwrap() {
        assert_eq!(
            tree.lookup(node, &entry.name),
            Some(entry.node),
            "{path}/{}",
            entry.name
        );
        assert_eq!(
            tree.kind(entry.node),
            Some(entry.kind),
            "{path}/{}",
            entry.name
        );
        assert_eq!(tree.parent(entry.node), node, "{path}/{}", entry.name);
        walk(tree, &format!("{path}/{}", entry.name), entry.node, found);
    }
}

#[test]
fn every_node_is_found_by_name_number_and_path() {
    let session = populated();
    let tree = session.tree();
    let mut found = Vec::new();
    walk(&tree, "", Node::ROOT, &mut found);
    let inodes: BTreeSet<u64> = found.iter().map(|(_, node)| node.ino()).collect();
    assert_eq!(inodes.len(), found.len(), "inode numbers are unique");
    for (path, node) in &found {
        assert_eq!(Node::from_ino(node.ino()), Some(*node), "{path}");
        assert_eq!(tree.resolve(path, false), Ok(*node), "{path}");
    }
    assert!(found.len() > 250, "{}", found.len());
}

#[test]
fn every_link_leads_somewhere() {
    let session = populated();
    let tree = session.tree();
    let mut found = Vec::new();
    walk(&tree, "", Node::ROOT, &mut found);
    let links: Vec<_> = found
        .iter()
        .filter(|(_, node)| tree.kind(*node) == Some(Kind::Link))
        .collect();
    assert!(links.len() > 30, "{}", links.len());
    for (path, node) in links {
        let target = tree
            .resolve(path, true)
            .unwrap_or_else(|errno| panic!("{path} -> {}: {errno}", tree.readlink(*node).unwrap()));
        assert_eq!(tree.kind(target), Some(Kind::Directory), "{path}");
    }
}

#[test]
fn every_readable_file_can_be_read() {
    let mut session = populated();
    let mut found = Vec::new();
    walk(&session.tree(), "", Node::ROOT, &mut found);
    let files = found
        .iter()
        .filter(|(_, node)| session.tree().kind(*node) == Some(Kind::File));
    for (path, node) in files.cloned().collect::<Vec<_>>() {
        let mode = session.tree().mode(node).unwrap();
        match session.read(&path) {
            Ok(text) => assert!(mode & 0o444 != 0 && text.is_ascii(), "{path}"),
            Err(error) => {
                assert!(mode == 0o200 && error.is_open(), "{path}: {error}");
                assert_eq!(error.errno(), Errno::EACCES, "{path}");
            }
        }
    }
}

#[test]
fn nodes_of_removed_devices_name_nothing() {
    let mut session = populated();
    let path = format!("devices/vfio_ap/matrix/{A}");
    let nodes = ["", "/matrix", "/remove", "/driver", "/vfio-dev"].map(|name| {
        session
            .tree()
            .resolve(&format!("{path}{name}"), false)
            .unwrap()
    });
    session.write(&format!("{path}/remove"), b"1").unwrap();
    session.write(CREATE, A.as_bytes()).unwrap();
    for node in nodes {
        assert_eq!(session.tree().kind(node), None, "{node:?}");
        assert_eq!(session.tree().mode(node), None, "{node:?}");
    }
    let [directory, matrix, remove, driver, _] = nodes;
    let tree = session.tree();
    assert_eq!(tree.list(directory), Err(Errno::ENOENT));
    assert_eq!(tree.readlink(driver), Err(Errno::ENOENT));
    assert_eq!(tree.store(remove, b"1").unwrap_err().errno(), Errno::ENODEV);
    let mut live = Fake::new(HOST);
    assert_eq!(tree.show(matrix, &mut live), Err(Errno::ENODEV));
}

#[test]
fn groups_are_used_again_and_serial_numbers_are_not() {
    let mut session = populated();
    let group = |session: &Session<Fake>, uuid: &str| {
        session
            .readlink(&format!("devices/vfio_ap/matrix/{uuid}/iommu_group"))
            .unwrap()
    };
    assert_eq!(group(&session, A), "../../../../kernel/iommu_groups/0");
    assert_eq!(group(&session, B), "../../../../kernel/iommu_groups/1");
    session
        .write(&format!("devices/vfio_ap/matrix/{A}/remove"), b"1")
        .unwrap();
    assert_eq!(
        session.list("kernel/iommu_groups"),
        Ok(vec![String::from("1/")])
    );
    session.write(CREATE, A.as_bytes()).unwrap();
    assert_eq!(group(&session, A), "../../../../kernel/iommu_groups/0");
    assert_eq!(
        session.list(&format!("devices/vfio_ap/matrix/{A}/vfio-dev")),
        Ok(vec![String::from("vfio0/")])
    );
    assert_eq!(
        session
            .readlink(&format!("kernel/iommu_groups/0/devices/{A}"))
            .unwrap(),
        format!("../../../../devices/vfio_ap/matrix/{A}")
    );
}

#[test]
fn calls_that_do_not_fit_a_file_get_the_kernels_errno() {
    let mut session = populated();
    let failed = |error: sysfs::FileError| (error.is_open(), error.errno());
    for (path, errno) in [
        ("bus/ap/nothing", Errno::ENOENT),
        ("bus/ap/apmask/x", Errno::ENOTDIR),
        ("devices/vfio_ap/matrix/nobody/matrix", Errno::ENOENT),
        ("bus/ap/devices", Errno::EISDIR),
        ("bus/ap/bindings", Errno::EACCES),
    ] {
        let error = session.write(path, b"1").unwrap_err();
        assert_eq!(failed(error), (true, errno), "{path}");
    }
    assert_eq!(
        failed(session.read("bus/ap").unwrap_err()),
        (false, Errno::EISDIR)
    );
    assert_eq!(
        failed(session.read("bus/ap/uevent").unwrap_err()),
        (true, Errno::EACCES)
    );
    assert_eq!(session.list("bus/ap/apmask"), Err(Errno::ENOTDIR));
    assert_eq!(session.readlink("bus/ap"), Err(Errno::EINVAL));
    assert_eq!(
        session.read("bus/ap/devices/card03/type").unwrap(),
        b"CEX8A\n"
    );
    assert_eq!(
        session
            .read("bus/ap/devices/03.0006/driver/../../features")
            .unwrap(),
        b"APSC APXA QACT RC8A APSB\n"
    );
}

#[test]
fn a_write_counts_up_to_one_page() {
    let mut session = populated();
    let config = format!("devices/vfio_ap/matrix/{A}/ap_config");
    let mut text = b"0x10,0x02,0x0,".to_vec();
    text.resize(5000, b'j');
    assert_eq!(session.write(&config, &text).unwrap().0, 4096);
    let digits = "+1".repeat(2500);
    assert_eq!(
        session.write("bus/ap/apmask", digits.as_bytes()).unwrap().0,
        4096
    );
    // An empty write never reaches the attribute, not even one that refuses everything.
    for path in [
        "bus/ap/scans",
        "bus/ap/config_time",
        "bus/ap/drivers_probe",
        CREATE,
    ] {
        assert_eq!(session.write(path, b"").unwrap().0, 0, "{path}");
    }
}

#[test]
fn matrix_files_end_with_the_page() {
    let mut session = boot("card 3 14 A; dom 6");
    for (path, text) in [("bus/ap/apmask", "0x"), (CREATE, A)] {
        session.write(path, text.as_bytes()).unwrap();
    }
    let full = format!("0x{}", "f".repeat(64));
    let config = format!("devices/vfio_ap/matrix/{A}/ap_config");
    session
        .write(&config, format!("{full},{full},{full}\n").as_bytes())
        .unwrap();
    let text = session
        .read(&format!("devices/vfio_ap/matrix/{A}/matrix"))
        .unwrap();
    assert_eq!(text.len(), 4095);
    assert!(text.ends_with(b"01.00fe\n01.00ff"));
}
