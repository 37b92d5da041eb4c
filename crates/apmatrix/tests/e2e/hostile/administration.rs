//! What administrators notice of an attack: nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::control::{Request, Response, ask};
use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions};

use super::vmm::{PATIENCE, request, socket};
use crate::instance::{A, B, Instance};

/// What half of all writes must be faster than while others attack.
const GOAL: Duration = Duration::from_millis(10);
/// How much slower than without an attack it may be where the machine is too busy for the goal.
const SLOWER: u32 = 5;
/// Writes that are measured.
const WRITES: usize = 300;

/// A daemon with two devices: [`A`] is the attacker's, with queue 05.0004, [`B`] is another guest's, with
/// queue 06.0004.
pub(super) struct Scene {
    pub(super) instance: Instance,
    /// The median write before any attack.
    quiet: Duration,
}

impl Scene {
    pub(super) fn new() -> Self {
        let instance = Instance::start();
        instance.set("bus/ap/apmask", "-5,-6");
        instance.mdev(A, &[5], &[4]);
        instance.mdev(B, &[6], &[4]);
        let (quiet, _) = writes(&instance);
        Self { instance, quiet }
    }

    /// Writes to the other device and to the bus, opens the other device and asks the console: all go on
    /// as if there were no attack.
    pub(super) fn goes_on(&self, attack: &str) {
        let instance = &self.instance;
        let (median, p99) = writes(instance);
        let quiet = self.quiet;
        println!("{attack}: {WRITES} writes, median {median:?} (before: {quiet:?}), p99 {p99:?}");
        let goal = GOAL.max(quiet * SLOWER);
        assert!(median < goal, "{attack}: the median write took {median:?}");

        let socket = socket(instance, B);
        let mut client = Client::connect(&socket, request("bystander"), ClientOptions::default())
            .unwrap_or_else(|error| panic!("{attack}: the other device does not open: {error}"));
        let (status, _) = client.tapq(Apqn::new(6, 4), true);
        assert_eq!(status.code, ResponseCode::NORMAL, "{attack}");
    }

    /// Requests that reached a card, by queue, from the hardware console.
    pub(super) fn requests(&self) -> std::collections::BTreeMap<String, u64> {
        let control = self.instance.run_dir().join("control.sock");
        match ask(&control, &Request::Show).expect("it answers") {
            Response::Hardware(view) => {
                let rows = view.requests.into_iter();
                rows.map(|row| (row.queue, row.count)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Removes the attacker's device, whose guest has gone.
    pub(super) fn remove(&self) {
        let path = format!("devices/vfio_ap/matrix/{A}/remove");
        let path = self.instance.sys(&path);
        let (done, wait) = channel();
        // A thread of its own: one that waits for ever must not keep the test from failing.
        thread::spawn(move || {
            let mut file = OpenOptions::new().write(true).open(path)?;
            let removed = file.write_all(b"1");
            done.send(()).ok();
            removed
        });
        let removed = wait.recv_timeout(PATIENCE);
        assert!(removed.is_ok(), "the device of a dead guest is not removed");
        assert!(!self.instance.exists(&format!("devices/vfio_ap/matrix/{A}")));
    }

    /// A number from /proc/PID/status of the daemon, in its own unit.
    pub(super) fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.instance.pid());
        let status = std::fs::read_to_string(path).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        number.expect("a field").parse().expect("a number")
    }
}

/// Median and 99th percentile of the time that administrators' writes take.
fn writes(instance: &Instance) -> (Duration, Duration) {
    let file = |name: &str| format!("devices/vfio_ap/matrix/{B}/{name}");
    let (assign, unassign) = (file("assign_domain"), file("unassign_domain"));
    let mut times: Vec<Duration> = (0..WRITES)
        .map(|number| {
            let (path, text) = match number % 3 {
                0 => (assign.as_str(), "5"),
                1 => (unassign.as_str(), "5"),
                _ => ("bus/ap/config_time", "60"),
            };
            let start = Instant::now();
            instance.set(path, text);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[WRITES / 2], times[WRITES * 99 / 100])
}
