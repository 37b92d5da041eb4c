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
const CHANGES: u32 = 20;
/// The longest time between two scans of the bus by itself that Linux can be told, in seconds; a write
/// starts it anew.
const OWN_SCAN: u32 = 120;
/// How long a change is waited for: too short for the guest's own scan, so what is seen is seen by the
/// channel report. It says nothing about speed.
const PATIENCE: Duration = Duration::from_secs(100);
/// How soon a guest sees a change. An idle guest's median is held to it, a tenth of it as a rule; single
/// changes and busy guests are printed alone, because other work of the machine is in their times.
const GOAL: Duration = Duration::from_secs(1);

/// What the guest does on each event of its kernel; it sleeps in between.
const ON_EVENT: &str = r#"case $ACTION.$DEVPATH in
add.*/06.0004 | remove.*/06.0004) echo "SEEN $ACTION." ;;
esac
"#;

/// The count of machine checks on all CPUs.
fn machine_checks(guest: &mut GuestConsole) -> u32 {
    let line = run(guest, "grep NMI: /proc/interrupts");
    line.split_whitespace()
        .skip(1)
        .map_while(|word| word.parse::<u32>().ok())
        .sum()
}

/// The count of the bus's scans.
fn scans(guest: &mut GuestConsole) -> u32 {
    let count = run(guest, "cat /sys/bus/ap/scans");
    count.trim().parse().expect("a number")
}

/// One plug or unplug of 06.0004: how long after the beginning of the write the guest's kernel has told a
/// program of the guest, and that has told us.
fn see(instance: &Instance, guest: &mut GuestConsole, plug: bool, pause: Duration) -> Duration {
    let own_scan = format!("echo {OWN_SCAN} > /sys/bus/ap/config_time");
    run(guest, &own_scan);
    thread::sleep(pause);
    let (write, event) = if plug {
        ("assign_adapter", "SEEN add.")
    } else {
        ("unassign_adapter", "SEEN remove.")
    };
    let start = Instant::now();
    instance.set(&format!("{MDEV}/{A}/{write}"), "6");
    let before = guest.wait_for(event, PATIENCE).expect("an event");
    let took = start.elapsed();
    assert!(!before.contains("SEEN"), "another event: {before}");
    took
}

/// Prints what a run took, and what missed the goal. Returns the median.
fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    let shown: Vec<u128> = times.iter().map(Duration::as_millis).collect();
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:?}, longest {longest:?}, in ms {shown:?}");
    if longest > GOAL {
        println!("ABOVE THE GOAL: {what}: a change was seen after {longest:?}, not {GOAL:?}");
    }
    median
}

/// The kernel complains of nothing.
fn log_is_clean(guest: &mut GuestConsole) {
    let log = run(
        guest,
        "dmesg | grep -E 'Oops|BUG|WARN|panic|Call Trace' || true",
    );
    assert_eq!(log, "");
}

/// Changes the matrix again and again; the guest sees each change by one machine check and a scan of its
/// bus. `pause` is how long it has had nothing to do before. Returns how often it has scanned, and the
/// median of how soon it saw a change.
fn sees_changes(
    instance: &Instance,
    guest: &mut GuestConsole,
    what: &str,
    pause: Duration,
) -> (u32, Duration) {
    let before = (machine_checks(guest), scans(guest));
    let (start_time, accounted) = times(guest);
    let took = (0..CHANGES).map(|change| see(instance, guest, change % 2 == 0, pause));
    let median = report(what, took.collect());
    assert_eq!(machine_checks(guest) - before.0, CHANGES);
    // The last scan told of the change and may not be over yet.
    let over = before.1 + CHANGES;
    let wait = format!("until [ $(cat /sys/bus/ap/scans) -ge {over} ]; do usleep 20000; done");
    run(guest, &wait);
    let scanned = scans(guest) - before.1;
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
    (scanned, median)
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
    let files = vec![("v", vectors.to_bytes()), ("on-event", ON_EVENT.into())];
    let mut launch = launch(&instance, A, files);
    launch.cpus = cpus;
    launch.cpu_features(features);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    run(&mut guest, "(uevent sh /extra/on-event &)");
    // A listener for protocol 15, events of the kernel, that is not the kernel.
    let listens = "until grep -qE ' 15 +[1-9]' /proc/net/netlink; do usleep 20000; done";
    run(&mut guest, listens);
    let what = |how: &str| format!("{features}, {cpus} CPUs, {how}");
    let idle = Duration::from_millis(50);
    let (scanned, median) = sees_changes(&instance, &mut guest, &what("idle"), idle);
    assert_eq!(scanned, CHANGES, "scans");
    assert!(median < GOAL, "{median:?}");
    for _ in 0..=cpus {
        run(&mut guest, "(while :; do :; done &)");
    }
    let load = "( (while :; do apclient run /extra/v; done >/run/load 2>&1) & )";
    run(&mut guest, load);
    // Requests that fail can make Linux scan as well, so there may be more scans than changes.
    let (scanned, _) = sees_changes(&instance, &mut guest, &what("busy"), Duration::ZERO);
    println!("busy: {scanned} scans for {CHANGES} changes");
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
