//! What administrators notice of an attack: nothing.

use std::time::{Duration, Instant};

use apmatrix::control::{Request, ask};
use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions};

use super::vmm::{request, socket};
use crate::instance::{A, B, Instance};

/// What half of all writes must be faster than while others attack. The machine may be busy, so it is not
/// asked of each.
const GOAL: Duration = Duration::from_millis(10);
/// Writes that are measured.
const WRITES: usize = 300;

/// A daemon with two devices: [`A`] is the attacker's, with queue 05.0004, [`B`] is another guest's, with
/// queue 06.0004.
pub(super) fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4]);
    instance.mdev(B, &[6], &[4]);
    instance
}

/// Writes to the other device and to the bus, opens the other device and asks the console: administration
/// goes on as if there were no attack.
pub(super) fn goes_on(instance: &Instance, attack: &str) {
    let (assign, unassign) = (
        format!("devices/vfio_ap/matrix/{B}/assign_domain"),
        format!("devices/vfio_ap/matrix/{B}/unassign_domain"),
    );
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
    let (median, p99) = (times[WRITES / 2], times[WRITES * 99 / 100]);
    println!("{attack}: {WRITES} writes, median {median:?}, p99 {p99:?}");
    assert!(median < GOAL, "{attack}: the median write took {median:?}");

    let mut client = Client::connect(
        &socket(instance, B),
        request("bystander"),
        ClientOptions::default(),
    )
    .expect("the other device opens");
    let (status, _) = client.tapq(Apqn::new(6, 4), true);
    assert_eq!(status.code, ResponseCode::NORMAL, "{attack}");
    let control = instance.run_dir().join("control.sock");
    assert!(ask(&control, &Request::Show).is_ok(), "{attack}");
}
