//! QEMU stands still or dies, seen from the host.

use apmatrix::launch::GuestConsole;
use nix::sys::signal::Signal;

use super::*;
use crate::linux_guest::{BOOT, queues};
use crate::tier::Tier;

/// A stopped QEMU keeps its device and holds nobody up; a killed one leaves a free device with empty
/// queues.
#[test]
fn a_vmm_that_is_stopped_and_killed() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let of_mdev = |file: &str| format!("devices/vfio_ap/matrix/{A}/{file}");
    let files = vec![("load", requests(1024, 50)), ("slow", requests(4096, 4))];
    let launch = launch(&instance, files);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let load = Load::start(&mut guest, 4);
    load.goes_on(&instance, 20);
    signal(&mut guest, Signal::SIGSTOP);
    // Plug and unplug under a guest that cannot answer.
    for _ in 0..3 {
        instance.set(&of_mdev("unassign_adapter"), "6");
        instance.set(&of_mdev("assign_adapter"), "6");
    }
    assert!(is_held(&instance));
    assert!(open(&instance).is_err(), "the device is busy");
    signal(&mut guest, Signal::SIGCONT);
    load.goes_on(&instance, 20);
    load.end(&mut guest);
    assert_eq!(queues(&mut guest), QUEUES);

    // Two ways to die with requests in the queues.
    for (stopped, number) in [(false, 1), (true, 2)] {
        leave_requests(&instance, &mut guest);
        if stopped {
            signal(&mut guest, Signal::SIGSTOP);
        }
        signal(&mut guest, Signal::SIGKILL);
        drop(guest);
        assert_free(&instance);
        let _removed = std::fs::remove_file(monitor_socket(&instance));
        guest = GuestConsole::boot(&launch, BOOT).expect("the device is free");
        assert_eq!(queues(&mut guest), QUEUES, "guest {number}");
    }
    assert_works(&mut guest);
    power_off(guest);
}

#[test]
fn no_guest_starts_without_a_daemon() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = instance();
    let launch = launch(&instance, Vec::new());
    for orderly in [true, false] {
        if orderly {
            instance.stop();
        } else {
            instance.kill();
        }
        let refused = GuestConsole::boot(&launch, BOOT).expect_err("no daemon");
        assert!(
            refused.to_string().contains("cannot connect"),
            "{refused:#}"
        );
        instance.restart();
    }
    assert_free(&instance);
}
