//! Many mdevs: an operation on one must not cost a walk over all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::time::{Duration, Instant};

use common::{Fake, boot};
use sysfs::Session;

const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

fn name(index: u32) -> String {
    format!("00000000-0000-4000-8000-{index:012x}")
}

fn populate(session: &mut Session<Fake>, from: u32, to: u32) -> Duration {
    let start = Instant::now();
    for index in from..to {
        let mdev = format!("devices/vfio_ap/matrix/{}", name(index));
        session.write(CREATE, name(index).as_bytes()).unwrap();
        let adapter = format!("{}\n", index / 100);
        session
            .write(&format!("{mdev}/assign_adapter"), adapter.as_bytes())
            .unwrap();
        let domain = format!("{}\n", index % 100);
        session
            .write(&format!("{mdev}/assign_domain"), domain.as_bytes())
            .unwrap();
        session.read(&format!("{mdev}/guest_matrix")).unwrap();
    }
    start.elapsed()
}

/// Ten thousand mdevs with a queue each, while a reader holds a snapshot of every state: the last
/// hundred cost about what the first hundred cost.
#[test]
fn ten_thousand_mdevs() {
    let mut session = boot("card 0 14 A; dom 0; dom 1; dom 2");
    for mask in ["bus/ap/apmask", "bus/ap/aqmask"] {
        session.write(mask, b"0x0").unwrap();
    }
    let first = populate(&mut session, 0, 100);
    let middle = populate(&mut session, 100, 9_900);
    let last = populate(&mut session, 9_900, 10_000);
    println!("first 100: {first:?}, 9,800 more: {middle:?}, last 100: {last:?}");
    assert_eq!(session.host.matrix().mdevs().count(), 10_000);
    assert!(
        first + middle + last < Duration::from_secs(60),
        "even unoptimised on a busy machine"
    );
    let busy = session.write("bus/ap/apmask", b"+99").unwrap_err();
    assert_eq!(busy.errno(), arch::Errno::EBUSY);
}
