//! Adapter interruptions in a Linux guest.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::image;
use apmatrix::image::cpio::ExtraFile;
use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;
use arch::{CrycbFormat, Facilities};
use device::{ClientOptions, OpenRequest};
use guest::{Guest, ModExpo};

use crate::instance::{A, Instance};
use crate::linux_guest::{BOOT, COMMAND, MDEV, launch, run};
use crate::tier::{Tier, cache};

const FEATURES: &str = "ap+apft+apqci+apqi";
/// Requests of one run of the vector file, and runs.
const RECORDS: u64 = 2000;
const RUNS: u64 = 10;

/// The program that loops over EXECUTE targets and condition codes.
fn conditions(instance: &Instance) -> ExtraFile {
    let source = instance.run_dir().join("conditions.c");
    let text = include_str!("interrupts/conditions.c");
    fs::write(&source, text).expect("the run directory is writable");
    let program = instance.run_dir().join("conditions");
    let dir = cache().join("image");
    image::compile_bare(&dir, &source, &program, &mut |line| println!("{line}"))
        .expect("it is correct C");
    ExtraFile {
        path: "extra/conditions".into(),
        bytes: fs::read(&program).expect("it was made"),
        mode: 0o755,
    }
}

/// Adapter interruptions that the guest's AP bus has counted on all CPUs.
fn counted(guest: &mut GuestConsole) -> u64 {
    let line = run(guest, "grep APB: /proc/interrupts");
    line.split_whitespace()
        .skip(1)
        .map_while(|word| word.parse::<u64>().ok())
        .sum()
}

/// Each of 20,000 requests, one after the other, is one interruption; a program beside them sees no
/// wrong result.
fn one_interruption_per_request(cpus: u32) {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut vectors = VectorFile::new();
    let count = usize::try_from(RECORDS / 2).expect("small");
    workload::add_class(&mut vectors, 1024, count).expect("OpenSSL makes keys");
    let mut launch = launch(&instance, A, vec![("v", vectors.to_bytes())]);
    launch.extra_files.push(conditions(&instance));
    launch.cpus = cpus;
    launch.cpu_features(FEATURES);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    assert_eq!(run(&mut guest, "cat /sys/bus/ap/ap_interrupts"), "1\n");
    assert_eq!(
        run(&mut guest, "cat /sys/bus/ap/devices/05.0004/interrupt"),
        "Interrupts enabled.\n"
    );
    for _ in 0..cpus {
        run(&mut guest, "(/extra/conditions >>/run/conditions &)");
    }
    let before = (counted(&mut guest), instance.requests());
    for _ in 0..RUNS {
        let said = run(&mut guest, "apclient run /extra/v");
        assert!(
            said.contains(&format!("passed {RECORDS} failed 0")),
            "{said}"
        );
    }
    assert_eq!(instance.requests() - before.1, RUNS * RECORDS, "requests");
    // The reply of the last one may have been found before its interruption came.
    let deadline = Instant::now() + Duration::from_secs(30);
    while counted(&mut guest) - before.0 < RUNS * RECORDS && Instant::now() < deadline {
        thread::yield_now();
    }
    let interruptions = counted(&mut guest) - before.0;
    assert_eq!(interruptions, RUNS * RECORDS, "interruptions");
    let ended = format!(
        "touch /run/stop; until [ $(wc -l </run/conditions) = {cpus} ]; do sleep 0.1; done"
    );
    run(&mut guest, &ended);
    for line in run(&mut guest, "cat /run/conditions").lines() {
        let (rounds, wrong) = line.split_once(' ').expect("two numbers");
        assert_ne!(rounds, "0");
        assert_eq!(wrong, "0", "of {rounds} rounds");
    }
    let log = run(
        &mut guest,
        "dmesg | grep -E 'Oops|BUG|WARN|panic|Call Trace' || true",
    );
    assert_eq!(log, "");
    assert!(guest.power_off(COMMAND).expect("it ends").success());
}

/// The embedded guest waits for interruptions too, and follows a change of its matrix.
#[test]
fn the_embedded_guest_is_interrupted() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4]);
    let request = OpenRequest {
        vm: "embedded".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI | Facilities::APQI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let guest = Guest::connect(&socket, request, ClientOptions::default());
    let mut guest = guest.expect("it opens");
    let operands = ModExpo {
        message: &[2],
        exponent: &[5],
        modulus: &[35],
    };
    for _ in 0..50 {
        assert_eq!(guest.mod_expo(&operands), Ok(vec![32]));
    }
    let taken = guest.interrupts();
    assert!((1..=50).contains(&taken), "{taken} interruptions");
    // Its own queue goes, another comes.
    let path = format!("{MDEV}/{A}");
    instance.set(&format!("{path}/assign_adapter"), "6");
    instance.set(&format!("{path}/unassign_adapter"), "5");
    while !guest.follow_changes() || guest.devices() != ["06.0004", "card06"] {
        thread::yield_now();
    }
    assert_eq!(guest.mod_expo(&operands), Ok(vec![32]));
    assert!(guest.bus().queues().all(|(_, queue)| queue.interrupts));
}

#[test]
fn each_request_is_one_interruption() {
    one_interruption_per_request(1);
}

#[test]
fn each_request_is_one_interruption_with_two_cpus() {
    one_interruption_per_request(2);
}
