//! The guest starts anew or panics, with requests of the old kernel in its queues.

use std::fs;

use apmatrix::launch::GuestConsole;

use super::*;
use crate::linux_guest::{BOOT, queues};
use crate::monitor::Monitor;
use crate::tier::Tier;

/// Has the guest's kernel panic.
const CRASH: &str = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger";

#[test]
fn a_reset_and_a_panic_that_reboots() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let files = vec![("load", requests(1024, 50)), ("slow", requests(4096, 4))];
    let launch = launch(&instance, files);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let mut monitor = Monitor::connect(&monitor_socket(&instance));
    let starts_again = |guest: &mut GuestConsole, how: &str| {
        guest.wait_ready(SOON).expect(how);
        assert_eq!(queues(guest), QUEUES, "{how}");
        assert_works(guest);
    };

    leave_requests(&instance, &mut guest);
    monitor.execute("system_reset");
    starts_again(&mut guest, "system_reset");

    // A kernel that has orders to load itself anew when it panics; its default is to stop.
    run(
        &mut guest,
        "echo reipl > /sys/firmware/shutdown_actions/on_panic",
    );
    leave_requests(&instance, &mut guest);
    guest.send(CRASH).expect("the console takes it");
    starts_again(&mut guest, "panic");

    // The guest's own reboot is `linux_guest::a_reboot_leaves_no_stale_reply`.
    assert!(is_held(&instance));
    power_off(guest);
}

/// A guest that panics and has no orders for it stops; QEMU does what its own orders are.
#[test]
fn a_panic_that_ends_in_a_stop() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let files = || vec![("load", requests(1024, 50)), ("slow", requests(4096, 4))];

    // QEMU pauses the machine: the device stays the guest's, and a reset starts it anew.
    let mut paused = launch(&instance, files());
    paused
        .extra_arguments
        .extend(["-action", "panic=pause"].map(Into::into));
    let mut guest = GuestConsole::boot(&paused, BOOT).expect("it boots");
    let mut monitor = Monitor::connect(&monitor_socket(&instance));
    leave_requests(&instance, &mut guest);
    guest.send(CRASH).expect("the console takes it");
    eventually("QEMU notices", || monitor.status() == "guest-panicked");
    assert!(is_held(&instance));
    assert!(open(&instance).is_err(), "the device is busy");
    monitor.execute("system_reset");
    monitor.execute("cont");
    guest.wait_ready(BOOT).expect("it boots again");
    assert_eq!(queues(&mut guest), QUEUES);
    assert_works(&mut guest);
    drop(guest);
    drop(fs::remove_file(monitor_socket(&instance)));

    // QEMU ends, as `apmatrix guest` asks it to: the device is free and its queues are empty.
    let launch = launch(&instance, files());
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("the device is free");
    leave_requests(&instance, &mut guest);
    guest.send(CRASH).expect("the console takes it");
    let ended = guest.wait_end(SOON).expect("QEMU ends");
    assert!(!ended.success(), "{ended}");
    assert_free(&instance);
}
