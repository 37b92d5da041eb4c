//! Unmodified Linux guests in stock QEMU.

use std::time::Duration;

use apmatrix::image::{self, Image, cpio::ExtraFile};
use apmatrix::launch::vectors::VectorFile;
use apmatrix::launch::{GuestConsole, Launch, Plugin, find_plugin};
use apmatrix::workload;

use crate::instance::{A, B, Instance};
use crate::tier::{Tier, cache};

pub(crate) const BOOT: Duration = Duration::from_secs(180);
pub(crate) const COMMAND: Duration = Duration::from_secs(300);
pub(crate) const MDEV: &str = "devices/vfio_ap/matrix";

fn image() -> Image {
    image::ensure(&cache().join("image"), &mut |line| println!("{line}")).expect("it was fetched")
}

/// A guest of `mdev` with files for the test.
pub(crate) fn launch(instance: &Instance, mdev: &str, files: Vec<(&str, Vec<u8>)>) -> Launch {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_apmatrix"));
    let plugin = program.with_file_name("libapmatrix_qemu.so");
    let socket = instance.run_dir().join(format!("mdev/{mdev}.sock"));
    let mut launch = Launch::new(&image());
    launch.terminal = false;
    launch.plugin = Some(Plugin {
        file: find_plugin(Some(&plugin)).expect("cargo build makes it"),
        arguments: vec![
            ("socket".into(), socket.display().to_string()),
            ("cpu-features".into(), "ap+apft+apqci".into()),
        ],
    });
    launch.extra_files = files
        .into_iter()
        .map(|(name, bytes)| ExtraFile {
            path: format!("extra/{name}"),
            bytes,
            mode: 0o644,
        })
        .collect();
    launch
}

pub(crate) fn run(guest: &mut GuestConsole, command: &str) -> String {
    let reply = guest.run(command, COMMAND).expect("the console answers");
    reply
        .success()
        .unwrap_or_else(|error| panic!("{command}: {error:#}"))
}

/// The guest's queues, one line each.
pub(crate) fn queues(guest: &mut GuestConsole) -> String {
    run(guest, "ls /sys/bus/ap/devices | grep -F .")
}

fn count(guest: &mut GuestConsole) -> u64 {
    run(guest, "apclient count")
        .trim()
        .parse()
        .expect("a number")
}

/// Runs a vector file and checks that exactly its requests were counted in the guest and reached the
/// cards.
fn run_vectors(instance: &Instance, guest: &mut GuestConsole, name: &str, requests: u64) -> String {
    let before = (count(guest), instance.requests());
    let said = run(guest, &format!("apclient run /extra/{name}"));
    let after = (count(guest), instance.requests());
    assert_eq!(
        after.0 - before.0,
        requests,
        "the guest's request_count; {said}"
    );
    assert_eq!(
        after.1 - before.1,
        requests,
        "the daemon's queue counters; {said}"
    );
    said
}

/// The console's driver and the image, without any AP instructions.
#[test]
fn a_guest_without_adapters_runs_commands_and_programs() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut launch = Launch::new(&image());
    launch.terminal = false;
    launch.cpus = 2;
    launch.extra_files = vec![ExtraFile {
        path: "/extra/note".into(),
        bytes: b"from outside".to_vec(),
        mode: 0o644,
    }];
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("the guest boots");
    assert_eq!(run(&mut guest, "cat /extra/note"), "from outside");
    let reply = guest.run("echo one; echo two >&2; (exit 7)", COMMAND);
    assert_eq!(reply.expect("the console answers").code, 7);
    assert_eq!(run(&mut guest, "nproc"), "2\n");
    assert_eq!(
        run(&mut guest, "test -e /sys/bus/ap || echo none"),
        "none\n"
    );
    assert!(
        guest
            .power_off(COMMAND)
            .expect("the guest powers off")
            .success()
    );

    launch.extra_files = vec![ExtraFile {
        path: "/extra/autorun".into(),
        bytes: b"#!/bin/sh\necho it runs\n".to_vec(),
        mode: 0o755,
    }];
    let mut guest = GuestConsole::spawn(&launch).expect("QEMU starts");
    guest
        .wait_for("it runs", BOOT)
        .expect("the program runs by itself");
    assert!(
        guest
            .wait_end(BOOT)
            .expect("the guest powers off")
            .success()
    );
}

/// The whole path, once: an administrator's echo, a guest, one RSA operation equal to OpenSSL's.
#[test]
fn one_rsa_operation_end_to_end() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut vectors = VectorFile::new();
    workload::add_class(&mut vectors, 2048, 1).expect("OpenSSL makes keys");
    let launch = launch(&instance, A, vec![("one", vectors.to_bytes())]);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("the guest boots");
    assert_eq!(queues(&mut guest), "05.0004\n");
    let listed = run(&mut guest, "lszcrypt");
    assert!(
        listed.contains("05.0004") && listed.contains("CEX8A"),
        "{listed}"
    );
    let said = run_vectors(&instance, &mut guest, "one", 2);
    assert!(said.contains("total 2 passed 2 failed 0"), "{said}");
    let status = guest.power_off(COMMAND).expect("the guest powers off");
    assert!(status.success(), "{status}");
}

/// Everything else that a guest does, on two guests at once.
#[test]
fn two_guests_with_matrices_of_their_own() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4, 0x47]);
    instance.mdev(B, &[6], &[4, 5]);
    let mut all = VectorFile::new();
    for bits in workload::SIZES {
        workload::add_class(&mut all, bits, 200).expect("OpenSSL makes keys");
    }
    let mut bad = VectorFile::new();
    workload::add_bad_operands(&mut bad, 1024).expect("OpenSSL makes keys");
    let boot = |mdev| {
        let files = vec![("all", all.to_bytes()), ("bad", bad.to_bytes())];
        GuestConsole::spawn(&launch(&instance, mdev, files)).expect("QEMU starts")
    };
    let mut guests = [(A, boot(A)), (B, boot(B))];
    for (mdev, guest) in &mut guests {
        guest.wait_ready(BOOT).expect("the guest boots");
        assert_eq!(
            queues(guest),
            instance.read(&format!("{MDEV}/{mdev}/guest_matrix"))
        );
        let bad_operands = u64::from(bad.count());
        let said = run_vectors(&instance, guest, "bad", bad_operands);
        assert!(said.contains("failed 0"), "{said}");
    }
    let requests = u64::from(all.count());
    for (_, guest) in &mut guests {
        let said = run_vectors(&instance, guest, "all", requests);
        assert!(
            said.contains(&format!("total {requests} passed {requests} failed 0")),
            "{said}"
        );
        for bits in workload::SIZES {
            assert!(said.contains(&format!("modexpo {bits} ok 200")), "{said}");
            assert!(said.contains(&format!("crt {bits} ok 200")), "{said}");
        }
    }
    let [(_, mut first), (_, second)] = guests;
    unplug_and_plug(&instance, &mut first);
    for guest in [first, second] {
        assert!(
            guest
                .power_off(COMMAND)
                .expect("the guest powers off")
                .success()
        );
    }
}

/// After unassign requests fail and never reach the card; after assign they work.
fn unplug_and_plug(instance: &Instance, guest: &mut GuestConsole) {
    instance.set(&format!("{MDEV}/{A}/unassign_adapter"), "5");
    let before = instance.requests();
    let reply = guest
        .run("apclient one /extra/all 0", COMMAND)
        .expect("the console answers");
    assert_ne!(reply.code, 0, "{}", reply.output);
    assert_eq!(
        instance.requests(),
        before,
        "a request reached the card after unassign"
    );
    instance.set(&format!("{MDEV}/{A}/assign_adapter"), "5");
    run(
        guest,
        "until grep -q complete /sys/bus/ap/bindings; do sleep 0.1; done",
    );
    run(
        guest,
        "for i in 1 2 3 4 5 6 7 8 9 10; do apclient one /extra/all 0 && break; sleep 0.2; done",
    );
    assert!(instance.requests() > before);
}

/// Requests are outstanding when the guest reboots: the new kernel sees only its own replies.
#[test]
fn a_reboot_leaves_no_stale_reply() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 0x47]);
    let mut slow = VectorFile::new();
    workload::add_class(&mut slow, 4096, 4).expect("OpenSSL makes keys");
    let mut quick = VectorFile::new();
    workload::add_class(&mut quick, 1024, 100).expect("OpenSSL makes keys");
    let files = vec![("slow", slow.to_bytes()), ("quick", quick.to_bytes())];
    let mut guest = GuestConsole::boot(&launch(&instance, A, files), BOOT).expect("it boots");
    for _ in 0..3 {
        let before = instance.requests();
        run(
            &mut guest,
            "(apclient hold /extra/slow 8 > /dev/null 2>&1 &)",
        );
        while instance.requests() == before {
            std::thread::yield_now();
        }
        guest.send("reboot -f").expect("the console takes it");
        guest.wait_ready(BOOT).expect("the guest boots again");
        assert_eq!(
            queues(&mut guest),
            instance.read(&format!("{MDEV}/{A}/guest_matrix"))
        );
        // A stale reply would be logged and dropped by its identifier, or answer a wrong request.
        let said = run(&mut guest, "apclient run /extra/quick --requesters 4");
        assert!(said.contains("total 200 passed 200 failed 0"), "{said}");
        let log = run(&mut guest, "dmesg | grep -ci psmid || true");
        assert_eq!(log.trim(), "0", "the guest's kernel complains");
    }
    assert!(
        guest
            .power_off(COMMAND)
            .expect("the guest powers off")
            .success()
    );
}
