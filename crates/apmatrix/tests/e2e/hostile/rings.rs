//! A VMM that breaks every rule of the rings, by writing into the memory as `docs/protocol.md` lays it out.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use arch::{ApInstructions, Apqn, Instruction};
use device::message::{Command, HEADER_LEN};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::administration::Scene;
use super::honest::{MALFORMED, connect, is_answered};
use super::vmm::{Ends, PATIENCE, Vmm, exec, message, request, socket};
use crate::instance::{A, B};
use crate::tier::Tier;

const MINE: Apqn = Apqn::new(5, 4);
const OTHERS: Apqn = Apqn::new(6, 4);
/// Requests that a queue takes.
const DEPTH: u64 = 8;

/// Where the fields are.
const ACTIVITY: u64 = 0;
const SUBMITTED: u64 = 4096;
const CONSUMED: u64 = 4104;
const OFFSET: u64 = 4112;
const STATE: u64 = 4096;
const PUBLISHED: u64 = 4112;
const SLOTS: u64 = 8192;
const SECOND: u64 = SLOTS + 4096;
const SIZE: u64 = 2_105_344;

/// The memory of a session. Its queue is the only one, so ring 0 is the queue's.
struct Rings {
    area: OwnedFd,
    window: OwnedFd,
    doorbell: OwnedFd,
}

impl Rings {
    fn set_up(vmm: &mut Vmm) -> Self {
        vmm.send(&message(Command::ApSetupRings, &[]));
        let mut reply = [0; HEADER_LEN + 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut reply)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
        let received = recvmsg(&vmm.stream, &mut slices, &mut control, flags).expect("it answers");
        assert_eq!(received.bytes, HEADER_LEN + 16);
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        let descriptors: [OwnedFd; 3] = descriptors.try_into().expect("three descriptors");
        let [area, window, doorbell] = descriptors;
        Self {
            area,
            window,
            doorbell,
        }
    }

    fn write(&self, at: u64, word: u64) {
        rustix::io::pwrite(&self.area, &word.to_ne_bytes(), at).expect("the area can be written");
    }

    fn told(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        rustix::io::pread(&self.window, &mut word, at).expect("the window can be read");
        u64::from_ne_bytes(word)
    }

    fn epoch(&self) -> u64 {
        self.told(STATE) >> 32
    }

    fn is_open(&self) -> bool {
        self.told(STATE) & 3 == 1
    }

    fn ring(&self) {
        // A full pipe has been rung often enough.
        rustix::io::write(&self.doorbell, &[1]).ok();
    }

    /// Puts request `number` of the epoch into its slot, as an honest client would.
    fn submit(&self, epoch: u64, number: u64) {
        let slot = SLOTS + 4096 * (number % DEPTH);
        self.write(slot, number);
        self.write(slot + 8, MALFORMED.len() as u64);
        rustix::io::pwrite(&self.area, &MALFORMED, slot + 16).expect("it can be written");
        self.write(SUBMITTED, epoch << 32 | (number + 1));
        self.write(ACTIVITY, number + 1);
        self.ring();
    }
}

fn tapq(vmm: &mut Vmm) -> u32 {
    let test = Instruction::Tapq {
        apqn: MINE,
        facilities: false,
    };
    vmm.send(&exec(&test, 0));
    let (_, reply) = vmm.receive().expect("it answers");
    u32::from_le_bytes(reply[4..8].try_into().expect("a status word"))
}

/// Numbers without order, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn a_vmm_that_scribbles_and_lies_hurts_itself() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "scribbles");
    let rings = Rings::set_up(&mut vmm);
    assert!(rings.is_open());
    let mut other = connect(&scene, B, &request("other"));
    let memory = scene.status("VmRSS");
    // Each lie by itself: the queue begins a new epoch, in which everything works.
    let lies: [(&str, u64, u64); 5] = [
        ("more requests than slots", SUBMITTED, DEPTH + 1),
        ("far more", SUBMITTED, u32::MAX.into()),
        ("more replies read than there were", CONSUMED, 3),
        ("an empty message", SECOND + 8, 0),
        ("a message longer than its slot", SECOND + 8, 4081),
    ];
    for (lie, at, value) in lies {
        let epoch = rings.epoch();
        if at < SLOTS {
            rings.write(at, epoch << 32 | value);
        }
        if at >= SLOTS {
            rings.write(at, value);
        }
        if at != SUBMITTED {
            // Behind the honest request at the end of the turn before: nobody looks at what is not new.
            rings.write(SUBMITTED, epoch << 32 | 2);
        }
        rings.write(ACTIVITY, value.wrapping_add(epoch));
        rings.ring();
        let start = Instant::now();
        while rings.epoch() == epoch || !rings.is_open() {
            assert!(start.elapsed() < PATIENCE, "{lie}: the queue is not reset");
            thread::yield_now();
        }
        let epoch = rings.epoch();
        for at in [SUBMITTED, CONSUMED, OFFSET] {
            rings.write(at, 0);
        }
        rings.submit(epoch, 0);
        let start = Instant::now();
        while rings.told(PUBLISHED) != epoch << 32 | 1 {
            assert!(start.elapsed() < PATIENCE, "{lie}: no reply afterwards");
            thread::yield_now();
        }
        rings.write(CONSUMED, epoch << 32 | 1);
        is_answered(&mut other, OTHERS, 7);
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
            while !stop.load(Ordering::Relaxed) {
                let epoch = rings.epoch();
                for at in [SUBMITTED, CONSUMED, OFFSET] {
                    let number = noise.next();
                    // Half of them are of the present epoch, and small.
                    let word = if number.is_multiple_of(2) {
                        (epoch << 32) | ((number >> 8) % 12)
                    } else {
                        number
                    };
                    rings.write(at, word);
                }
                for _ in 0..8 {
                    rings.write(noise.next() % (SIZE / 8) * 8, noise.next());
                }
                rings.write(SLOTS + 8, noise.next() % 5000);
                rings.ring();
            }
        });
        for psmid in 0..500 {
            is_answered(&mut other, OTHERS, psmid);
        }
        drop(other);
        scene.goes_on("scribbled rings");
        drop(ends);
    });
    let grown = scene.status("VmRSS").saturating_sub(memory);
    assert!(grown < 16 << 10, "the daemon grew by {grown} KiB");
    assert_eq!(
        tapq(&mut vmm) >> 16 & 0xff,
        0,
        "its own queue is still there"
    );
}

#[test]
fn a_flood_of_rings_costs_the_others_nothing() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "rings");
    let rings = Rings::set_up(&mut vmm);
    let memory = scene.status("VmRSS");
    let before = scene.requests();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            let mut activity = 0;
            while !stop.load(Ordering::Relaxed) {
                activity += 1;
                rings.write(ACTIVITY, activity);
                rings.ring();
            }
        });
        let mut other = connect(&scene, B, &request("other"));
        for psmid in 0..500 {
            is_answered(&mut other, OTHERS, psmid);
        }
        drop(other);
        scene.goes_on("a flood of doorbells");
        drop(ends);
    });
    let count = |rows: std::collections::BTreeMap<String, u64>| rows.get("05.0004").copied();
    assert_eq!(
        count(scene.requests()),
        count(before),
        "nothing was submitted"
    );
    let grown = scene.status("VmRSS").saturating_sub(memory);
    assert!(grown < 16 << 10, "the daemon grew by {grown} KiB");
}

#[test]
fn full_rings_and_death_leave_nothing() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let mut memory = 0;
    for round in 0..40 {
        let mut vmm = Vmm::open(&socket(&scene.instance, A), "dies");
        let rings = Rings::set_up(&mut vmm);
        let epoch = rings.epoch();
        for number in 0..DEPTH {
            rings.submit(epoch, number);
        }
        // In every other round it dies over requests, else over replies that it never takes.
        let start = Instant::now();
        while round % 2 == 0 && rings.told(PUBLISHED) != (epoch << 32 | DEPTH) {
            assert!(start.elapsed() < PATIENCE, "no replies");
            thread::yield_now();
        }
        drop(vmm);
        if round == 4 {
            memory = scene.status("VmRSS");
        }
    }
    let grown = scene.status("VmRSS").saturating_sub(memory);
    assert!(grown < 4 << 10, "the daemon grew by {grown} KiB");
    let mut next = connect(&scene, A, &request("next"));
    let status = next.dqap(MINE, &mut [0; 64]).status;
    assert_eq!(status.to_gr1(), 0x8010_0000, "an empty queue");
    drop(next);
    scene.goes_on("dead guests with full rings");
    scene.remove();
}
