//! After a revoke returned, nothing of the guest reaches a card: with real engine threads and guests
//! that never stop asking.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arch::{ApInstructions, Apcb, Apid, Apqi, Apqn, CrycbFormat, Facilities, ResponseCode};
use cex::type50::{RsaRequest, SizeClass};
use machine::{GuestId, Machine, PartitionConfig, Scratch};

const ROUNDS: usize = 1000;
const QUEUES: [Apqn; 2] = [Apqn::new(3, 6), Apqn::new(3, 7)];

fn masks(apqis: &[u8]) -> Apcb {
    Apcb {
        apm: [Apid(3)].into_iter().collect(),
        aqm: apqis.iter().copied().map(Apqi).collect(),
        ..Apcb::EMPTY
    }
}

/// A request whose result tells whose it is: `owner ^ 1`.
fn request(owner: u8) -> Vec<u8> {
    RsaRequest::ModExpo {
        size: SizeClass::Bits1024,
        exponent: &[1],
        modulus: &[0xff; 128],
        message: &[owner],
    }
    .encode()
}

fn machine() -> Machine {
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6; dom 7").unwrap();
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    for id in [GuestId(1), GuestId(2)] {
        machine
            .attach_guest(id, CrycbFormat::Format2, Facilities::all())
            .unwrap();
    }
    machine
}

/// A guest that enqueues and dequeues without pause, and knows its own replies.
fn hostile(machine: &Machine, id: GuestId, stop: &AtomicBool) -> u64 {
    let owner = u8::try_from(id.0).unwrap();
    let message = request(owner);
    let mut cpu = machine.guest(id);
    let mut buffer = [0; 144];
    let mut replies = 0;
    while !stop.load(Ordering::Relaxed) {
        for apqn in QUEUES {
            let status = cpu.nqap(apqn, id.0, false, &message);
            if status.code == ResponseCode::NOT_AVAILABLE {
                // Revoked: let the others have the processor, then try again.
                thread::yield_now();
            }
            let got = cpu.dqap(apqn, &mut buffer);
            if got.stored > 0 {
                assert_eq!((got.psmid, got.stored), (id.0, 144), "a foreign reply");
                assert_eq!((buffer[1], buffer[143]), (0x80, owner), "a foreign reply");
                replies += 1;
            }
        }
    }
    replies
}

#[test]
fn the_card_counter_never_rises_after_a_revoke() {
    let machine = machine();
    let stop = AtomicBool::new(false);
    let id = GuestId(1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut scratch = Scratch::new();
                while !stop.load(Ordering::Relaxed) {
                    if machine.run_all(&mut scratch) == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        let guests: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| hostile(&machine, id, &stop)))
            .collect();
        let mut busy = 0;
        for round in 0..ROUNDS {
            let before = machine.card_requests(Apid(3));
            machine.set_masks(id, &masks(&[6, 7])).unwrap();
            // Let the guest get something through in some rounds, and revoke at once in others.
            let quota = u64::from(round % 4 != 0);
            while machine.card_requests(Apid(3)) < before + quota {
                thread::yield_now();
            }
            if round % 2 == 0 {
                machine.clear_masks(id);
            } else {
                machine.set_masks(id, &Apcb::EMPTY).unwrap();
            }
            let revoked = machine.card_requests(Apid(3));
            busy += u64::from(revoked > before);
            for _ in 0..5 {
                thread::yield_now();
                assert_eq!(machine.card_requests(Apid(3)), revoked, "round {round}");
            }
            for apqn in QUEUES {
                let load = machine.counters(apqn).load;
                assert_eq!(load, machine::QueueLoad::default());
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(busy > 500);
        for guest in guests {
            guest.join().unwrap();
        }
    });
}

#[test]
fn two_guests_that_trade_a_queue_never_see_each_other() {
    let machine = machine();
    let stop = AtomicBool::new(false);
    let [a, b] = [GuestId(1), GuestId(2)];
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut scratch = Scratch::new();
            while !stop.load(Ordering::Relaxed) {
                if machine.run_all(&mut scratch) == 0 {
                    thread::yield_now();
                }
            }
        });
        let guests = [a, b].map(|id| {
            let (machine, stop) = (&machine, &stop);
            scope.spawn(move || hostile(machine, id, stop))
        });
        for round in 0..ROUNDS {
            let (first, second) = if round % 2 == 0 { (a, b) } else { (b, a) };
            machine.set_masks(first, &masks(&[6])).unwrap();
            machine.set_masks(second, &masks(&[7])).unwrap();
            assert!(machine.set_masks(second, &masks(&[6])).is_err());
            let before = machine.card_requests(Apid(3));
            while machine.card_requests(Apid(3)) < before + 4 {
                thread::yield_now();
            }
            machine.clear_masks(first);
            machine.clear_masks(second);
        }
        stop.store(true, Ordering::Relaxed);
        for guest in guests {
            assert!(guest.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_queue_has_the_owner_that_it_was_given_to_last() {
    let machine = machine();
    assert_eq!(machine.owner(QUEUES[0]), None);
    machine.set_masks(GuestId(1), &masks(&[6])).unwrap();
    assert_eq!(machine.owner(QUEUES[0]), Some(GuestId(1)));
    assert_eq!(machine.owner(QUEUES[1]), None);
    machine.clear_masks(GuestId(1));
    machine.set_masks(GuestId(2), &masks(&[6])).unwrap();
    assert_eq!(machine.owner(QUEUES[0]), Some(GuestId(2)));
    // A queue that the partition does not have is nobody's.
    assert_eq!(machine.owner(Apqn::new(9, 9)), None);
}
