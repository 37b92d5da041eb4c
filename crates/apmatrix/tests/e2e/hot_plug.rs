//! Linux notices by itself what the host changes in its matrix.

use std::thread;
use std::time::{Duration, Instant};

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;

use crate::instance::{A, Instance};
use crate::linux_guest::{BOOT, COMMAND, MDEV, launch, run};
use crate::tier::Tier;

/// Plugs and unplugs of one run.
const CHANGES: u64 = 20;
/// What the guest gets to notice one: a few milliseconds are enough for it, this is for test machines
/// with much else to do. Its own scan would come after half a minute.
const TIME: Duration = Duration::from_secs(10);

/// The count of machine checks on all CPUs.
fn machine_checks(guest: &mut GuestConsole) -> u64 {
    let line = run(guest, "grep NMI: /proc/interrupts");
    line.split_whitespace()
        .skip(1)
        .map_while(|word| word.parse::<u64>().ok())
        .sum()
}

/// Waits in the guest until 06.0004 is there or not.
fn notices(guest: &mut GuestConsole, plugged: bool) {
    let test = if plugged { "" } else { "! " };
    let wait = format!("until [ {test}-e /sys/bus/ap/devices/06.0004 ]; do usleep 20000; done");
    run(guest, &wait);
}

/// The kernel complains of nothing.
fn log_is_clean(guest: &mut GuestConsole) {
    let log = run(
        guest,
        "dmesg | grep -E 'Oops|BUG|WARN|panic|Call Trace' || true",
    );
    assert_eq!(log, "");
}

/// Changes the matrix again and again; the guest notices each change at once, by one machine
/// check. `pause` is how long the guest is left alone with it before it is asked.
fn sees_changes(instance: &Instance, guest: &mut GuestConsole, pause: Duration) {
    let before = machine_checks(guest);
    let (start_time, accounted) = times(guest);
    let mut longest = Duration::ZERO;
    for change in 0..CHANGES {
        let plugged = change % 2 == 0;
        let what = if plugged { "assign" } else { "unassign" };
        let start = Instant::now();
        instance.set(&format!("{MDEV}/{A}/{what}_adapter"), "6");
        thread::sleep(pause);
        notices(guest, plugged);
        let took = start.elapsed();
        assert!(took < TIME, "change {change} took {took:?}");
        longest = longest.max(took);
    }
    println!("longest {longest:?}");
    assert_eq!(machine_checks(guest) - before, CHANGES);
    // Machine checks store the CPU timer, by which Linux accounts time: no more than there was. (The
    // sum itself is wrong from boot on with two CPUs under TCG.)
    let (now, accounted_now) = times(guest);
    let cpus: f64 = run(guest, "nproc").trim().parse().expect("a number");
    let accounted_more = accounted_now - accounted;
    assert!(
        accounted_more < (now - start_time + 1.0) * cpus,
        "{accounted_more} s in {} s",
        now - start_time
    );
}

/// Seconds since boot, and seconds that the kernel has accounted to something, of all CPUs.
fn times(guest: &mut GuestConsole) -> (f64, f64) {
    let said = run(guest, "cat /proc/uptime; grep '^cpu ' /proc/stat");
    let mut lines = said.lines().map(|line| {
        let words = line.split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    });
    let mut numbers = || -> Vec<f64> { lines.next().expect("two lines") };
    (numbers()[0], numbers().iter().sum::<f64>() / 100.0)
}

/// Idle, then with more programs than CPUs and requests under way.
fn idle_and_busy(features: &str, cpus: u32) {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4]);
    let mut vectors = VectorFile::new();
    workload::add_class(&mut vectors, 1024, 10).expect("OpenSSL makes keys");
    let mut launch = launch(&instance, A, vec![("v", vectors.to_bytes())]);
    launch.cpus = cpus;
    launch.cpu_features(features);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    sees_changes(&instance, &mut guest, Duration::from_millis(50));
    for _ in 0..=cpus {
        run(&mut guest, "(while :; do :; done &)");
    }
    let load = "( (while :; do apclient run /extra/v; done >/run/load 2>&1) & )";
    run(&mut guest, load);
    sees_changes(&instance, &mut guest, Duration::ZERO);
    let good = "until grep -q 'passed 20 failed 0' /run/load; do usleep 20000; done";
    run(&mut guest, good);
    // A request that a queue has when it goes is lost with it, and no result is wrong.
    let bad = "grep failure /run/load | grep -v 'got ENODEV' || true";
    assert_eq!(run(&mut guest, bad), "");
    log_is_clean(&mut guest);
    assert!(guest.power_off(COMMAND).expect("it ends").success());
}

#[test]
fn linux_sees_every_plug_and_unplug() {
    idle_and_busy("ap+apft+apqci", 1);
}

#[test]
fn linux_with_two_cpus_sees_every_plug_and_unplug() {
    idle_and_busy("ap+apft+apqci", 2);
}

/// The plugin gives the device back when an administrator removes it, so that `remove` returns.
#[test]
fn a_removed_device_leaves_the_guest() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut guest = GuestConsole::boot(&launch(&instance, A, vec![]), BOOT).expect("it boots");
    run(&mut guest, "test -e /sys/bus/ap/devices/05.0004");
    instance.set(&format!("{MDEV}/{A}/remove"), "1");
    assert!(!instance.exists(&format!("{MDEV}/{A}")));
    run(
        &mut guest,
        "while [ -e /sys/bus/ap/devices/card05 ]; do usleep 20000; done",
    );
    log_is_clean(&mut guest);
    // The next guest can have the queue, and this one goes on without.
    instance.mdev(A, &[5], &[4]);
    run(
        &mut guest,
        "echo 1 > /sys/bus/ap/scans; test ! -e /sys/bus/ap/devices/card05",
    );
    assert!(guest.power_off(COMMAND).expect("it ends").success());
}

#[test]
fn linux_with_interrupts_sees_every_plug_and_unplug() {
    idle_and_busy("ap+apft+apqci+apqi", 1);
}

#[test]
fn linux_with_interrupts_and_two_cpus_sees_every_plug_and_unplug() {
    idle_and_busy("ap+apft+apqci+apqi", 2);
}
