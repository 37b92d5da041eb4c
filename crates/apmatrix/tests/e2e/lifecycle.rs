//! What a Linux guest sees of its queues while the daemon dies, stops and comes back.

use std::time::{Duration, Instant};

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;

use crate::instance::{A, Instance};
use crate::linux_guest::{BOOT, COMMAND, launch, queues, run};
use crate::tier::Tier;

const KILLS: usize = 20;
/// Far more than a guest needs to find its queues again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Devices of two adapters and two domains, for a guest.
fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5, 6], &[4, 0x47]);
    instance
}

/// Requests of many sizes with their answers.
fn requests() -> Vec<u8> {
    let mut file = VectorFile::new();
    for bits in [1024, 2048] {
        workload::add_class(&mut file, bits, 40).expect("OpenSSL makes keys");
    }
    file.to_bytes()
}

/// A load in the guest: processes that send requests one after the other, and end at the first one that
/// is refused or answered wrongly.
struct Load;

impl Load {
    fn start(guest: &mut GuestConsole, requesters: u32) -> Self {
        run(
            guest,
            &format!(
                "( (apclient bench /extra/load --until /tmp/end --requesters {requesters} \
                 > /tmp/load 2>&1; echo $? > /tmp/code) & )"
            ),
        );
        Self
    }

    /// Ends it; all requests must have been answered, and rightly.
    fn end(self, guest: &mut GuestConsole) {
        let said = run(
            guest,
            "touch /tmp/end; until [ -s /tmp/code ]; do sleep 0.1; done; cat /tmp/load /tmp/code",
        );
        assert!(said.ends_with("\n0\n"), "{said}");
        println!("{said}");
    }
}

/// Waits until cards have computed `more` requests beyond `before`.
fn requests_go_on(instance: &Instance, before: u64, more: u64) -> Duration {
    let start = Instant::now();
    while instance.requests() < before + more {
        assert!(start.elapsed() < RECOVERY, "the guest sends no requests");
    }
    start.elapsed()
}

#[test]
fn the_daemon_is_killed_twenty_times_under_load() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut instance = instance();
    let files = vec![("load", requests())];
    let mut guest = GuestConsole::boot(&launch(&instance, A, files), BOOT).expect("it boots");
    let devices = queues(&mut guest);
    let load = Load::start(&mut guest, 8);
    requests_go_on(&instance, 0, 50);
    let mut longest = Duration::ZERO;
    for _ in 0..KILLS {
        instance.kill();
        instance.restart();
        // The counters are the new daemon's.
        longest = longest.max(requests_go_on(&instance, 0, 50));
        assert_eq!(queues(&mut guest), devices);
    }
    println!("longest {longest:?}");
    load.end(&mut guest);
    assert_eq!(queues(&mut guest), devices);
    assert!(
        guest
            .power_off(COMMAND)
            .expect("the guest powers off")
            .success()
    );
}
