//! libudev's enumeration, by udevadm under `apmatrix run`.

use std::collections::BTreeMap;

use apmatrix::image::command_in;

use crate::instance::{A, B, Instance};
use crate::tier::{Tier, cache};

/// What udevadm, run by its own root's loader, prints.
fn udevadm(instance: &Instance, arguments: &[&str]) -> String {
    let root = cache().join("roots/libvirt");
    let command = command_in(&root, "usr/bin/udevadm").expect("a known architecture");
    let mut words = vec!["run".to_owned(), "--".to_owned()];
    words.push(command.get_program().to_string_lossy().into_owned());
    let mut after_library_path = false;
    for argument in command.get_args() {
        let mut word = argument.to_string_lossy().into_owned();
        if after_library_path {
            // systemd's programs have a library of their own beside the system's.
            word = format!("{word}:{word}/systemd");
        }
        after_library_path = word == "--library-path";
        words.push(word);
    }
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    let output = instance.command(&words).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Subsystem, type and driver of every device, by path.
fn database(text: &str) -> BTreeMap<String, [String; 3]> {
    let mut devices = BTreeMap::new();
    for device in text.split("\n\n") {
        let property = |name: &str| {
            let line = device.lines().find_map(|line| {
                line.strip_prefix("E: ")?
                    .strip_prefix(name)?
                    .strip_prefix('=')
            });
            line.unwrap_or_default().to_owned()
        };
        let facts = ["SUBSYSTEM", "DEVTYPE", "DRIVER"].map(property);
        devices.insert(property("DEVPATH"), facts);
    }
    devices
}

#[test]
fn libudev_sees_every_device() {
    if !Tier::Libvirt.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 5]);
    instance.mdev(B, &[], &[]);
    let found = database(&udevadm(&instance, &["info", "--export-db"]));
    let expect = |path: &str, facts: [&str; 3]| {
        let found = found.get(path);
        assert_eq!(
            found.map(|facts| facts.each_ref().map(String::as_str)),
            Some(facts),
            "{path}"
        );
    };
    for card in [4, 5, 6] {
        let path = format!("/devices/ap/card{card:02x}");
        expect(&path, ["ap", "ap_card", "cex4card"]);
        let driver = if card == 5 { "vfio_ap" } else { "cex4queue" };
        for domain in [4, 5, 6, 0x47] {
            let queue = format!("{path}/{card:02x}.{domain:04x}");
            expect(&queue, ["ap", "ap_queue", driver]);
        }
    }
    expect("/devices/vfio_ap/matrix", ["matrix", "", "vfio_ap"]);
    for uuid in [A, B] {
        let path = format!("/devices/vfio_ap/matrix/{uuid}");
        expect(&path, ["mdev", "", "vfio_ap_mdev"]);
    }

    let matching = ["ap", "matrix", "mdev"].map(|name| format!("--subsystem-match={name}"));
    let mut words = vec!["trigger", "--dry-run", "--verbose"];
    words.extend(matching.iter().map(String::as_str));
    let listed = udevadm(&instance, &words);
    // Three cards of four queues, the matrix, two mdevs.
    assert_eq!(listed.lines().count(), 3 * 5 + 1 + 2, "{listed}");
}
