//! What the architecture says about single instructions, on a CPU of QEMU with our plugin.

mod exceptions;
mod messages;
mod queries;
mod restart;

use crate::bare::{After, Step};
use crate::instance::{A, Instance};

const PQAP: [u8; 4] = [0xb2, 0xaf, 0, 0];
/// NQAP and DQAP with the register pairs 4 (identifier) and 6 (message or buffer).
const NQAP: [u8; 4] = nqap(4, 6);
const DQAP: [u8; 4] = dqap(4, 6);

/// GR0 of the queue that the guest has, and of one that it has not.
const QUEUE: u64 = 0x0504;
const FOREIGN: u64 = 0x0604;
/// Functions of PQAP in GR0.
const TAPQ: u64 = 0;
const TAPQ_T: u64 = 0x0080_0000;
const RAPQ: u64 = 0x0100_0000;
const ZAPQ: u64 = 0x0200_0000;
const QCI: u64 = 0x0400_0000;
/// GR0 of NQAP: last part of the message; of DQAP: first invocation for this reply.
const LAST_PART: u64 = 0x4000_0000;
const FIRST: u64 = 0x8000_0000;

const EMPTY: u64 = 0x8000_0000;
const NOT_AVAILABLE: u64 = 0x0001_0000;
const PSMID: (u64, u64) = (0xcafe_0001, 0x8000_0002);

/// The condition code in a PSW mask.
const CC: u64 = 3 << 44;

const ALL: &str = "ap+apft+apqci";

const fn nqap(r1: u8, r2: u8) -> [u8; 4] {
    [0xb2, 0xad, 0, r1 << 4 | r2]
}

const fn dqap(r1: u8, r2: u8) -> [u8; 4] {
    [0xb2, 0xae, 0, r1 << 4 | r2]
}

/// A daemon whose device has adapter 5 with the domains 4 and 0x47.
fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 0x47]);
    let device = format!("devices/vfio_ap/matrix/{A}");
    instance.set(&format!("{device}/assign_control_domain"), "0x47");
    instance
}

/// PQAP with this GR0.
fn pqap(gr0: u64) -> Step {
    Step::new(&PQAP).r(0, gr0)
}

/// NQAP of `length` bytes at `address` to the guest's queue.
fn enqueue(address: u64, length: u64) -> Step {
    let step = Step::new(&NQAP).r(0, LAST_PART | QUEUE).r(4, PSMID.0);
    step.r(5, PSMID.1).r(6, address).r(7, length)
}

/// DQAP to `length` bytes at `address` from the guest's queue.
fn dequeue(address: u64, length: u64) -> Step {
    let step = Step::new(&DQAP).r(0, FIRST | QUEUE).r(2, 0);
    step.r(6, address).r(7, length)
}

/// Asserts which registers differ from what the step started with.
fn assert_changed(step: &Step, after: &After, changed: &[usize], name: &str) {
    for number in 0..16 {
        if !changed.contains(&number) {
            let (before, now) = (step.before(number), after.r[number]);
            assert_eq!(now, before, "{name}: register {number} is {now:#x}");
        }
    }
}

/// The numbers in a mask.
fn numbers(mask: &[u8]) -> Vec<usize> {
    (0..8 * mask.len())
        .filter(|number| mask[number / 8] & 0x80 >> (number % 8) != 0)
        .collect()
}
