//! The daemon dies, stands still and comes back under a guest.

use std::fs;

use apmatrix::launch::GuestConsole;
use nix::sys::signal::Signal;

use super::*;
use crate::instance::TYPE;
use crate::linux_guest::{BOOT, queues};
use crate::monitor::Monitor;
use crate::tier::Tier;

const KILLS: usize = 20;
/// The features of a guest that waits for interruptions instead of polling.
const INTERRUPTIONS: &str = "ap+apft+apqci+apqi";

/// Two vCPUs and eight requesters; every kill hits requests in queues, cards and round trips.
#[test]
fn killed_twenty_times_under_load() {
    killed_under_load(None);
}

/// The same for a guest that does not poll: it has to be told to look.
#[test]
fn killed_twenty_times_while_interruptions_are_awaited() {
    killed_under_load(Some(INTERRUPTIONS));
}

fn killed_under_load(features: Option<&str>) {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = instance();
    let mut launch = launch(&instance, vec![("load", requests(1024, 100))]);
    launch.cpus = 2;
    if let Some(features) = features {
        launch.cpu_features(features);
    }
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let load = Load::start(&mut guest, 8);
    load.goes_on(&instance, 50);
    for kill in 0..KILLS {
        instance.kill();
        if kill % 2 == 1 {
            // Also while it is only half there: with sockets and without sessions, and so on.
            instance.restart_and_kill(Duration::from_millis(4 * kill as u64));
        }
        instance.restart();
        load.goes_on(&instance, 50);
        assert_eq!(queues(&mut guest), QUEUES);
    }
    load.end(&mut guest);
    assert_eq!(scan(&mut guest), QUEUES);
    power_off(guest);
}

/// One queue, and so many slow requests that it is full whenever the daemon dies: what was in it is sent
/// again, although everybody who could send something waits already.
#[test]
fn a_full_queue_outlives_the_daemon() {
    full_queue_outlives_the_daemon(None);
}

/// The same for a guest that does not poll.
#[test]
fn a_full_queue_outlives_the_daemon_while_interruptions_are_awaited() {
    full_queue_outlives_the_daemon(Some(INTERRUPTIONS));
}

fn full_queue_outlives_the_daemon(features: Option<&str>) {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut launch = launch(&instance, vec![("load", requests(4096, 4))]);
    launch.cpus = 2;
    if let Some(features) = features {
        launch.cpu_features(features);
    }
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let load = Load::start(&mut guest, 16);
    for _ in 0..8 {
        load.goes_on(&instance, 10);
        instance.kill();
        instance.restart();
    }
    load.goes_on(&instance, 10);
    load.end(&mut guest);
    power_off(guest);
}

/// A guest that does nothing has its device back without asking for it, and one whose daemon stands
/// still runs on, as does QEMU.
#[test]
fn stopped_restarted_and_away() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = instance();
    let launch = launch(
        &instance,
        vec![("load", requests(1024, 100)), ("slow", requests(4096, 4))],
    );
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let mut monitor = Monitor::connect(&monitor_socket(&instance));

    // An orderly restart, and a kill, while the guest is idle: it would look at its bus again in two
    // minutes.
    run(&mut guest, "echo 120 > /sys/bus/ap/config_time");
    for orderly in [true, false] {
        assert!(is_held(&instance));
        if orderly {
            instance.stop();
        } else {
            instance.kill();
        }
        // A scan without a daemon costs no device.
        assert_eq!(scan(&mut guest), QUEUES);
        instance.restart();
        eventually("an idle guest opens its device again", || {
            is_held(&instance)
        });
    }

    // The guest starts again meanwhile: the new kernel finds what the old one had.
    instance.kill();
    guest.send("reboot -f").expect("the console takes it");
    guest.wait_ready(BOOT).expect("it boots again");
    assert_eq!(queues(&mut guest), QUEUES);
    instance.restart();
    assert_works(&mut guest);

    // The same while the daemon stands still, which then still has requests of the old kernel.
    leave_requests(&instance, &mut guest);
    instance.freeze();
    guest.send("reboot -f").expect("the console takes it");
    guest.wait_ready(BOOT).expect("it boots again");
    assert_eq!(queues(&mut guest), QUEUES);
    instance.thaw();
    assert_works(&mut guest);

    let load = Load::start(&mut guest, 4);
    load.goes_on(&instance, 50);
    instance.freeze();
    // Two scans: the first meets the deadline, the second nothing.
    for _ in 0..2 {
        assert_eq!(scan(&mut guest), QUEUES);
        assert_eq!(monitor.status(), "running");
    }
    instance.thaw();
    load.goes_on(&instance, 50);
    // Shorter than any deadline: an instruction that takes long, nothing else.
    instance.freeze();
    std::thread::sleep(Duration::from_millis(200));
    instance.thaw();
    load.goes_on(&instance, 50);

    // Stopped and killed: nothing is left of the old connection.
    instance.freeze();
    assert_eq!(scan(&mut guest), QUEUES);
    instance.kill();
    instance.restart();
    load.goes_on(&instance, 50);
    load.end(&mut guest);
    power_off(guest);
}

/// What the guest finds when it comes back is not what it left.
#[test]
fn the_matrix_changes_while_the_daemon_is_away() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = instance();
    let launch = launch(&instance, vec![("load", requests(1024, 100))]);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("it boots");
    let load = Load::start(&mut guest, 4);
    load.goes_on(&instance, 20);
    let of_mdev = |file: &str| format!("devices/vfio_ap/matrix/{A}/{file}");

    // QEMU stands still meanwhile, so that an administrator is faster than its reconnect.
    signal(&mut guest, Signal::SIGSTOP);
    instance.kill();
    instance.restart();
    instance.set(&of_mdev("unassign_adapter"), "6");
    signal(&mut guest, Signal::SIGCONT);
    eventually("the guest opens its device", || is_held(&instance));
    assert_eq!(scan(&mut guest), "05.0004\n05.0047\n");
    load.goes_on(&instance, 20);
    instance.set(&of_mdev("assign_adapter"), "6");
    assert_eq!(scan(&mut guest), QUEUES);

    // Another VMM was faster: the guest keeps its devices in reset until that one lets go.
    signal(&mut guest, Signal::SIGSTOP);
    instance.kill();
    instance.restart();
    let mut other = open(&instance).expect("the device is free");
    signal(&mut guest, Signal::SIGCONT);
    assert_eq!(scan(&mut guest), QUEUES);
    assert_empty(&mut other);
    assert_eq!(instance.requests(), 0, "a guest without its device");
    let waiting = guest.run("timeout 1 apclient one /extra/load 0", COMMAND);
    assert_ne!(waiting.expect("a signal ends the wait").code, 0);
    drop(other);
    load.goes_on(&instance, 20);

    // The device is gone, with the folder of its socket: nothing to open until it is made again.
    signal(&mut guest, Signal::SIGSTOP);
    instance.kill();
    fs::remove_dir_all(instance.run_dir().join("mdev")).expect("it was there");
    instance.restart();
    instance.set(&of_mdev("remove"), "1");
    signal(&mut guest, Signal::SIGCONT);
    assert_eq!(scan(&mut guest), QUEUES);
    instance.mdev(A, &[5], &[4]);
    eventually("the guest opens its device", || is_held(&instance));
    assert_eq!(scan(&mut guest), "05.0004\n");
    load.goes_on(&instance, 20);

    // A new state: the same, and what is plugged then is another machine's.
    signal(&mut guest, Signal::SIGSTOP);
    instance.kill();
    instance.restart_with(&["--fresh"]);
    signal(&mut guest, Signal::SIGCONT);
    assert!(!instance.exists(&of_mdev("matrix")));
    assert_eq!(scan(&mut guest), "05.0004\n");
    instance.set("bus/ap/apmask", "-5,-6");
    instance.set(&format!("{TYPE}/create"), A);
    for (file, number) in [
        ("assign_domain", "4"),
        ("assign_domain", "0x47"),
        ("assign_adapter", "5"),
        ("assign_adapter", "6"),
    ] {
        instance.set(&of_mdev(file), number);
    }
    eventually("the guest opens its device", || is_held(&instance));
    assert_eq!(scan(&mut guest), QUEUES);
    load.goes_on(&instance, 20);
    load.end(&mut guest);
    power_off(guest);
}
