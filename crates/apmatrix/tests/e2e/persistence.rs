//! What survives the death of the daemon: everything that was answered, and nothing else.

mod kills;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Command;

use arch::Errno;

use crate::instance::{A, B, Instance, TYPE};
use crate::tier::Tier;

/// Every file and link of the tree with what it reads.
fn tree(instance: &Instance) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![instance.sys("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("it exists");
            let content = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a link").display())
            } else if kind.is_dir() {
                folders.push(path.clone());
                "directory".to_owned()
            } else {
                // What cannot be read says why.
                fs::read_to_string(&path).unwrap_or_else(|error| error.kind().to_string())
            };
            tree.insert(path.display().to_string(), content);
        }
    }
    tree
}

fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    for path in before.keys().chain(after.keys()) {
        assert_eq!(before.get(path), after.get(path), "{path}");
    }
}

fn of(uuid: &str, name: &str) -> String {
    format!("devices/vfio_ap/matrix/{uuid}/{name}")
}

fn hmc(instance: &Instance, words: &[&str]) {
    let output = instance.verb(&[&["hmc"], words].concat());
    assert!(output.status.success(), "hmc {words:?}: {output:?}");
}

/// A bit of everything that a tree can hold.
fn furnish(instance: &Instance) {
    // Overrides first: they need both masks full. Then the bindings that they cause.
    for (path, text) in [
        ("devices/ap/card06/06.0047/driver_override", "vfio_ap\n"),
        ("bus/ap/drivers/cex4queue/unbind", "06.0047"),
        ("bus/ap/drivers_probe", "06.0047"),
        ("devices/ap/card06/06.0047/driver_override", "\n"),
        ("bus/ap/apmask", "-5"),
        ("bus/ap/aqmask", "-0x47"),
        ("bus/ap/ap_domain", "5"),
        ("bus/ap/config_time", "77"),
        ("bus/ap/poll_timeout", "123456"),
        ("bus/ap/scans", "x"),
        ("devices/ap/card04/online", "0"),
        ("devices/ap/card06/06.0004/online", "0"),
        ("bus/ap/drivers/cex4queue/unbind", "04.0005"),
    ] {
        instance.set(path, text);
    }
    // C is created and removed, so that numbers and groups have a gap.
    let c = "83c32df7-d052-4b21-9a0f-1d2c3e4f5a6b";
    instance.set(&format!("{TYPE}/create"), c);
    instance.mdev(B, &[5], &[0x47]);
    instance.set(&of(c, "remove"), "1");
    instance.mdev(A, &[4, 6, 0x20], &[0x47]);
    instance.set(&of(A, "assign_control_domain"), "4");
    // Quirk K2: adapter 4 is hidden because of domain 71, and stays hidden without it.
    instance.set("bus/ap/drivers/vfio_ap/unbind", "04.0047");
    instance.set(&of(A, "unassign_domain"), "0x47");
    // The hardware changes while it is in use.
    hmc(
        instance,
        &["add-adapter", "9", "--type", "13", "--mode", "P"],
    );
    hmc(instance, &["add-domain", "8"]);
    hmc(instance, &["deconfigure", "4"]);
    hmc(instance, &["checkstop", "6"]);
    instance.set("devices/ap/card09/config", "0");
    instance.set("bus/ap/drivers_autoprobe", "0");
    hmc(instance, &["add-domain", "9"]);
}

#[test]
fn the_same_tree_after_a_kill() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::start();
    furnish(&instance);
    let hardware = instance.verb(&["hmc", "show"]).stdout;
    let before = tree(&instance);
    assert!(before.len() > 400, "{} entries", before.len());
    for round in 0..3 {
        if round == 2 {
            // An orderly end leaves a snapshot, a kill entries: both lead to the same tree.
            instance.stop();
        } else {
            instance.kill();
        }
        instance.restart();
        assert_same(&before, &tree(&instance));
        assert_eq!(instance.verb(&["hmc", "show"]).stdout, hardware);
        assert!(instance.run_dir().join(format!("mdev/{A}.sock")).exists());
    }
    // Life goes on: the next device gets a number of its own.
    instance.mdev("00000000-0000-0000-0000-000000000001", &[5], &[5]);
    hmc(&instance, &["recover", "6"]);
    let before = tree(&instance);
    instance.kill();
    instance.restart();
    assert_same(&before, &tree(&instance));
}

#[test]
fn overrides_come_back() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::start();
    let file = "devices/ap/card06/06.0047/driver_override";
    instance.set(file, "a \"strange\"\tname");
    instance.set("devices/ap/card05/05.0004/driver_override", "vfio_ap");
    instance.set("bus/ap/drivers/cex4queue/unbind", "05.0004");
    instance.set("bus/ap/drivers_probe", "05.0004");
    instance.mdev(A, &[5], &[4]);
    let before = tree(&instance);
    instance.kill();
    instance.restart();
    assert_same(&before, &tree(&instance));
    assert_eq!(instance.read(file), "a \"strange\"\tname\n");
    assert_eq!(instance.read(&of(A, "guest_matrix")), "05.0004\n");
    // The rule that goes with overrides is back too.
    assert_eq!(instance.write("bus/ap/apmask", "-1"), Errno::EINVAL.raw());
    // A boot makes new devices without overrides.
    hmc(&instance, &["ipl"]);
    assert_eq!(instance.read(file), "\n");
    assert_eq!(instance.write("bus/ap/apmask", "-1"), 0);
}

/// The files are the owner's alone, and one daemon has them.
#[test]
fn the_state_directory_is_private_and_locked() {
    use std::os::unix::fs::PermissionsExt;
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    for name in ["journal", "lock"] {
        let mode = fs::metadata(instance.state(name))
            .expect("it exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let refused = instance.serve_elsewhere(&[]);
    assert!(
        refused.contains("another apmatrix daemon keeps its state in"),
        "{refused}"
    );
}

/// A state that cannot be what a daemon wrote is refused with its reason, and stays as it is.
#[test]
fn damaged_foreign_and_newer_states_are_refused_and_kept() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 5]);
    instance.kill();
    let path = instance.state("journal");
    let good = fs::read(&path).expect("the journal is there");
    let text = String::from_utf8(good.clone()).expect("it is text");
    let snapshot = text.find("{\"end\":").expect("a snapshot has an end");
    let changed = |from: &str, to: &str| text.replacen(from, to, 1).into_bytes();
    let cases: [(&str, Vec<u8>); 9] = [
        ("is not a state of apmatrix", b"#!/bin/sh\n".to_vec()),
        ("is not a state of apmatrix", Vec::new()),
        (
            "of format 2",
            changed("apmatrix-state 1", "apmatrix-state 2"),
        ),
        ("the snapshot is cut off", good[..snapshot - 30].to_vec()),
        ("the snapshot is cut off", good[..20].to_vec()),
        ("damaged at byte", changed("\"create\"", "\"crXate\"")),
        ("damaged at byte", changed("\"assign\"", "\"assign")),
        ("damaged at byte", [&good[..], b"\n"].concat()),
        (
            "damaged at byte",
            [&good[..snapshot], &good[snapshot + 64..]].concat(),
        ),
    ];
    for (reason, bytes) in cases {
        fs::write(&path, &bytes).expect("writable");
        let said = instance.refused(&[]);
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(
            said.contains("left as it is") && said.contains("--fresh"),
            "{said}"
        );
        assert_eq!(fs::read(&path).expect("still there"), bytes, "{reason}");
    }
    // What a kill in the middle of a write leaves is dropped.
    for end in [good.len() - 1, good.len() - 20, good.len() - 40] {
        fs::write(&path, &good[..end]).expect("writable");
        instance.restart();
        let lost_last = instance.read(&of(A, "matrix"));
        assert_eq!(lost_last, "05.0004\n");
        instance.kill();
    }
    fs::write(&path, &good).expect("writable");
    instance.restart();
    assert_eq!(instance.read(&of(A, "matrix")), "05.0004\n05.0005\n");
}

const MACHINE: &str = "[domains]\nusage = [1, 2]\n[[adapter]]\nid = 7\ntype = \"CEX8A\"\n";

/// `--machine` beside a state: the same machine goes on, another is refused, `--fresh` begins anew.
#[test]
fn another_machine_file_never_replaces_a_state() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::with_machine(MACHINE);
    instance.mdev(A, &[7], &[]);
    hmc(&instance, &["add-adapter", "8"]);
    instance.kill();
    // The same machine, written in another way; what the console changed since stays.
    instance.machine(&format!(
        "# the same\n{}",
        MACHINE.replace("[1, 2]", "[2, 0x1]")
    ));
    instance.restart();
    assert!(instance.exists("devices/ap/card08") && instance.exists(&of(A, "matrix")));
    instance.kill();
    // No file: the same.
    instance.no_machine();
    instance.restart();
    assert!(instance.exists("devices/ap/card08") && !instance.exists("devices/ap/card05"));
    instance.kill();
    let before = fs::read(instance.state("journal")).expect("there");
    for other in [
        MACHINE.replace("CEX8A", "CEX7A"),
        format!("{MACHINE}[masks]\napmask = \"0xff\"\n"),
        format!("{MACHINE}[qci]\ninstalled = true\nflags = [\"APXA\"]\n"),
    ] {
        instance.machine(&other);
        let said = instance.refused(&[]);
        assert!(said.contains("made with another machine file"), "{said}");
        assert_eq!(fs::read(instance.state("journal")).expect("there"), before);
    }
    instance.restart_with(&["--fresh"]);
    assert!(!instance.exists(&of(A, "matrix")) && !instance.exists("devices/ap/card08"));
    let aside = fs::read(instance.state("journal.old-1")).expect("put aside");
    assert_eq!(aside, before);
}

/// A write that cannot be kept is answered EIO and has not happened; afterwards everything goes on.
#[test]
fn a_full_disk_costs_nothing_that_was_answered() {
    if !Tier::Mount.is_there() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("apmatrix-full-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("writable");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "none"])
        .arg(&dir)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small file system cannot be mounted");
        return;
    }
    let mut instance = Instance::with_state_dir(&dir);
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[], &[4]);
    let ballast = dir.join("ballast");
    let mut file = fs::File::create(&ballast).expect("writable");
    while file.write_all(&[0; 64]).is_ok() {}
    drop(file);
    // The last page of the journal may have room for a few more.
    let mut accepted = tree(&instance);
    let (assign, unassign) = (of(A, "assign_adapter"), of(A, "unassign_adapter"));
    let mut answer = 0;
    for round in 0..200 {
        answer = instance.write(if round % 2 == 0 { &assign } else { &unassign }, "5");
        if answer != 0 {
            break;
        }
        accepted = tree(&instance);
    }
    assert_eq!(answer, Errno::EIO.raw());
    assert_same(&accepted, &tree(&instance));
    // The console is refused as well, and the hardware stays.
    let refused = instance.verb(&["hmc", "remove-adapter", "5"]);
    assert!(!refused.status.success(), "{refused:?}");
    let refused = instance.verb(&["hmc", "ipl"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert_same(&accepted, &tree(&instance));
    let log = String::from_utf8(instance.verb(&["log"]).stdout).expect("text");
    assert!(
        log.contains("EIO") && log.contains("the state cannot be written"),
        "{log}"
    );
    instance.kill();
    instance.restart();
    assert_same(&accepted, &tree(&instance));
    fs::remove_file(&ballast).expect("there");
    hmc(&instance, &["remove-adapter", "6"]);
    let before = tree(&instance);
    instance.kill();
    instance.restart();
    assert_same(&before, &tree(&instance));
    drop(instance);
    drop(Command::new("umount").arg(&dir).status());
    drop(fs::remove_dir(&dir));
}
