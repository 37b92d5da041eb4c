//! Open sessions that ask too much, or stop in the middle.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use device::message::{Command, HeaderFlags};

use super::administration::Scene;
use super::vmm::{Ends, PATIENCE, Vmm, message, socket};
use crate::instance::A;
use crate::tier::Tier;

#[test]
fn a_guest_that_never_reads_loses_its_session() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    let mut vmm = Vmm::open(&socket, "deaf");
    let memory = scene.status("VmRSS");
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let command = message(Command::ApGetApcb, &[]).repeat(256);
            // Full in both directions at first; then the session gives up.
            while vmm.stream.write_all(&command).is_ok() {}
        });
        scene.goes_on("commands whose answers nobody reads");
        flood.join().expect("it ends");
    });
    let grown = scene.status("VmRSS").saturating_sub(memory);
    assert!(grown < 16 << 10, "the daemon grew by {grown} KiB");
    drop(Vmm::open(&socket, "later"));
}

#[test]
fn resets_without_end_cost_others_nothing() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "resets");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            let mut command = message(Command::DeviceReset, &[]);
            let [low, ..] = HeaderFlags::NO_REPLY.bits().to_le_bytes();
            command[8] = low;
            let commands = command.repeat(64);
            while !stop.load(Ordering::Relaxed) {
                vmm.send(&commands);
            }
        });
        scene.goes_on("resets without end");
        drop(ends);
    });
}

#[test]
fn guests_that_die_in_a_message_leave_nothing() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            let command = message(Command::DmaMap, &[0xff; 32]);
            for cut in (1..command.len()).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut vmm = Vmm::open(&socket, "dies");
                vmm.send(&command[..cut]);
            }
        });
        scene.goes_on("guests that die in a message");
        drop(ends);
    });
    drop(Vmm::open(&socket, "later"));
    scene.remove();
}

/// The process that [`a_stopped_guest_is_waited_for_by_nobody`] stops: a guest that asks and reads.
#[test]
fn as_a_guest() {
    let Some(socket) = std::env::var_os("APMATRIX_TEST_PEER") else {
        return;
    };
    let mut vmm = Vmm::open(std::path::Path::new(&socket), "stopped");
    let commands = message(Command::ApGetApcb, &[]).repeat(512);
    loop {
        vmm.send(&commands);
        for _ in 0..512 {
            vmm.receive().expect("it answers");
        }
    }
}

#[test]
fn a_stopped_guest_is_waited_for_by_nobody() {
    use nix::sys::signal::{Signal, kill};
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    let this = std::env::current_exe().expect("it runs");
    let mut guest = std::process::Command::new(this)
        .args(["--exact", "hostile::commands::as_a_guest"])
        .env("APMATRIX_TEST_PEER", &socket)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(guest.id()).expect("a process id"));
    let status = "devices/ap/card05/05.0004/status";
    let deadline = std::time::Instant::now() + PATIENCE;
    while scene.instance.read(status) != "in use\n" {
        assert!(
            std::time::Instant::now() < deadline,
            "the guest does not open"
        );
    }
    for _ in 0..3 {
        kill(pid, Signal::SIGSTOP).expect("it is ours");
        scene.goes_on("a guest that is stopped");
        kill(pid, Signal::SIGCONT).expect("it is ours");
    }
    kill(pid, Signal::SIGSTOP).expect("it is ours");
    guest.kill().expect("it is ours");
    guest.wait().expect("it is ours");
    scene.remove();
}
