//! Both ends of rings, without a machine and without a socket.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

use std::os::fd::AsFd;
use std::sync::Arc;

use arch::status::StatusFlags;
use arch::{
    AdapterMask, ApType, Apid, Apqn, Facilities, HwInfo, Instruction, Outcome, QciBlock,
    ResponseCode,
};
use proptest::prelude::*;

use super::client::{KnownAlerts, Rings, Shared};
use super::end::{Lie, RingEnd};
use super::layout::{RINGS, SLOT_BYTES, SLOTS, consumed, count_word, offset, slot, submitted};
use super::server::{Offer, RingServer};
use super::sync::Ordering;
use crate::message::RingsReply;

const APQN: Apqn = Apqn::new(5, 4);
/// Holds eight messages of at most 12 KiB.
const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 7);
const DEPTH: usize = 8;

fn both_ends() -> (Arc<RingServer>, Rings, Offer) {
    let (server, offer) = RingServer::new(true).unwrap();
    let descriptors = offer.descriptors.each_ref();
    let descriptors = descriptors.map(|fd| fd.try_clone().unwrap());
    let rings = Rings::new(Facilities::all());
    rings.begin(
        Shared::accept(&RingsReply::ours(), descriptors, true).unwrap(),
        65536,
    );
    (server, rings, offer)
}

fn execute(rings: &Rings, instruction: &Instruction<'_>, reply: &mut [u8]) -> Option<Outcome> {
    rings.execute(instruction, reply, || {}).ok()
}

fn nqap(rings: &Rings, apqn: Apqn, psmid: u64, message: &[u8]) -> Option<(u8, StatusFlags)> {
    let special = psmid % 2 == 1;
    let instruction = Instruction::Nqap {
        apqn,
        psmid,
        special,
        message,
    };
    let status = execute(rings, &instruction, &mut [])?.status()?;
    Some((status.code.0, status.flags))
}

fn dqap(rings: &Rings, buffer: &mut [u8]) -> Option<(u8, u64, usize, usize)> {
    match execute(rings, &Instruction::Dqap { apqn: APQN }, buffer)? {
        Outcome::Dqap(got) => Some((got.status.code.0, got.psmid, got.stored, got.residual)),
        other => panic!("{other:?}"),
    }
}

fn take(end: &mut RingEnd) -> Option<(u64, bool, Vec<u8>)> {
    let mut buffer = vec![0; 12288];
    let taken = end.take(&mut buffer).expect("no lie")?;
    buffer.truncate(taken.length);
    Some((taken.psmid, taken.special, buffer))
}

#[test]
fn requests_and_replies_pass() {
    let (server, rings, offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    assert_eq!(nqap(&rings, APQN, 1, b"x"), None, "a closed ring");
    end.open(false);
    // More than the ring has slots: each is used again and again.
    for number in 0..50u8 {
        let (round, size) = (u64::from(number), usize::from(number) * 80);
        let message = vec![number; 1 + size];
        let (code, flags) = nqap(&rings, APQN, round, &message).unwrap();
        assert_eq!((code, flags), (0, StatusFlags::empty()));
        assert_eq!(dqap(&rings, &mut [0; 8]), Some((0x10, 0, 0, 0)));
        assert_eq!(take(&mut end), Some((round, round % 2 == 1, message)));
        let reply = vec![!number; 10 + size];
        assert!(end.post(round, &reply));
        assert_eq!(end.load(DEPTH, 0).unwrap().replies, 1);
        let mut buffer = vec![0; 5000];
        let (first, rest) = (7, reply.len() - 7);
        assert_eq!(dqap(&rings, &mut buffer[..7]), Some((0, 0, first, rest)));
        let (_, after) = buffer.split_at_mut(7);
        assert_eq!(dqap(&rings, after), Some((0, round, rest, 0)));
        assert_eq!(buffer[..reply.len()], reply);
    }
    let mut rung = [0; 100];
    assert_eq!(rustix::io::read(&offer.doorbell, &mut rung).unwrap(), 50);
}

/// New alerts of rings, and whether there may be others.
fn alerts(rings: &Rings, known: &mut KnownAlerts) -> (Vec<(Apqn, u64)>, bool) {
    let mut told = Vec::new();
    let elsewhere = rings.alerts(known, |apqn, new| told.push((apqn, new)));
    (told, elsewhere)
}

#[test]
fn replies_with_interruptions_are_told_once_by_their_ring() {
    let (server, rings, _offer) = both_ends();
    let mut known = KnownAlerts::default();
    let mut end = server.make(APQN, INFO).unwrap();
    assert_eq!(alerts(&rings, &mut known), (vec![], true), "the first look");
    end.open(false);
    assert!(end.post(1, b"silent"));
    assert_eq!(alerts(&rings, &mut known), (vec![], false));
    end.set_interrupts(true);
    assert!(end.post(2, b"two") && end.post(3, b"three"));
    assert_eq!(alerts(&rings, &mut known), (vec![(APQN, 2)], false));
    assert_eq!(alerts(&rings, &mut known), (vec![], false));
    // Also when the reply has left the ring meanwhile, or the ring its queue.
    assert!(end.post(4, b"four"));
    end.begin_closing();
    assert!(end.post(5, b"five"));
    end.close();
    assert_eq!(alerts(&rings, &mut known), (vec![(APQN, 2)], false));
    drop(end);
    let other = Apqn::new(5, 5);
    let mut end = server.make(other, INFO).unwrap();
    assert_eq!(alerts(&rings, &mut known), (vec![], false));
    end.open(true);
    assert!(end.post(6, b"six"));
    assert_eq!(alerts(&rings, &mut known), (vec![(other, 1)], false));
}

#[test]
fn a_queue_without_interruptions_forgets_its_alerts_alone() {
    let (server, rings, _offer) = both_ends();
    let (mut known, other) = (KnownAlerts::default(), Apqn::new(5, 5));
    let _ends = [APQN, other].map(|apqn| {
        let mut end = server.make(apqn, INFO).unwrap();
        end.open(true);
        assert!(end.post(1, b"one"));
        end
    });
    rings.forget_alerts(&mut known, APQN);
    assert_eq!(alerts(&rings, &mut known).0, [(other, 1)]);
}

#[test]
fn alerts_elsewhere_are_asked_for() {
    let (server, rings, _offer) = both_ends();
    let mut known = KnownAlerts::default();
    assert!(alerts(&rings, &mut known).1 && !alerts(&rings, &mut known).1);
    server.alert_elsewhere();
    assert!(alerts(&rings, &mut known).1 && !alerts(&rings, &mut known).1);
    // A server that counts none in rings is always asked.
    let (_server, offer) = RingServer::new(false).unwrap();
    let shared = Shared::accept(&RingsReply::ours(), offer.descriptors, false);
    rings.begin(shared.unwrap(), 65536);
    assert!(alerts(&rings, &mut known).1 && alerts(&rings, &mut known).1);
    rings.end();
    assert!(alerts(&rings, &mut known).1);
}

#[test]
fn the_doorbell_is_rung_for_sleepers_only() {
    let (server, rings, offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(false);
    let before = server.activity();
    server.wake();
    nqap(&rings, APQN, 1, b"one").unwrap();
    assert_ne!(server.activity(), before);
    assert!(rustix::io::read(&offer.doorbell, &mut [0; 8]).is_err());
    let found = || {
        let mut found = Vec::new();
        server.scan(|apqn| found.push(apqn));
        found
    };
    assert_eq!(found(), [APQN]);
    assert!(found().is_empty());
    server.sleep();
    nqap(&rings, APQN, 2, b"two").unwrap();
    assert_eq!(rustix::io::read(&offer.doorbell, &mut [0; 8]).unwrap(), 1);
    assert_eq!(found(), [APQN]);
}

#[test]
fn a_full_queue_and_long_messages() {
    let (server, rings, _offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(true);
    for psmid in 0..8 {
        let (code, flags) = nqap(&rings, APQN, psmid, &[1; SLOT_BYTES]).unwrap();
        assert_eq!(code, 0);
        assert_eq!(flags.contains(StatusFlags::FULL), psmid == 7);
        assert!(flags.contains(StatusFlags::INTERRUPTS));
    }
    let full = StatusFlags::FULL | StatusFlags::INTERRUPTS;
    assert_eq!(nqap(&rings, APQN, 8, b"x"), Some((0x10, full)));
    assert_eq!(
        nqap(&rings, APQN, 8, &[1; SLOT_BYTES + 1]),
        None,
        "too long for a slot"
    );
    assert_eq!(end.load(DEPTH, 0).unwrap().waiting, 8);
    assert_eq!(end.load(DEPTH, 1), Err(Lie));
    assert!(!end.post(9, &[0; SLOT_BYTES + 1]));
    assert_eq!(take(&mut end).unwrap().2.len(), SLOT_BYTES);
    assert!(end.post(9, &[7; SLOT_BYTES]));
    let mut buffer = vec![0; 1 << 16];
    assert_eq!(dqap(&rings, &mut buffer), Some((0, 9, SLOT_BYTES, 0)));
}

#[test]
fn a_reset_ends_the_epoch_for_both() {
    let (server, rings, _offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(false);
    nqap(&rings, APQN, 1, b"before").unwrap();
    take(&mut end).unwrap();
    nqap(&rings, APQN, 2, b"before").unwrap();
    end.post(1, b"reply before");
    end.close();
    assert_eq!(dqap(&rings, &mut [0; 64]), None, "ask the server");
    end.open(false);
    assert_eq!(end.load(DEPTH, 0).unwrap().waiting, 0);
    assert_eq!(dqap(&rings, &mut [0; 64]), Some((0x10, 0, 0, 0)));
    let marks: [&[u8]; 2] = [b"before", b"reply before"];
    for words in [&server.area, &server.window] {
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .collect();
        for mark in marks {
            assert!(!bytes.windows(mark.len()).any(|part| part == mark));
        }
    }
    nqap(&rings, APQN, 3, b"after").unwrap();
    assert_eq!(take(&mut end).unwrap().0, 3);
}

#[test]
fn what_is_closing_moves_to_the_server() {
    let (server, rings, _offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(false);
    for psmid in 1..=3 {
        nqap(&rings, APQN, psmid, b"request").unwrap();
    }
    for psmid in 1..=2 {
        take(&mut end).unwrap();
        end.post(psmid, b"a reply");
    }
    assert_eq!(dqap(&rings, &mut [0; 2]), Some((0, 0, 2, 5)));
    end.begin_closing();
    assert_eq!(dqap(&rings, &mut [0; 2]), None);
    assert_eq!(nqap(&rings, APQN, 4, b"request"), None);
    let mut buffer = [0; 64];
    let first = end.unread(0, &mut buffer).unwrap();
    assert_eq!((first.psmid, first.length, first.read), (1, 7, 2));
    let second = end.unread(1, &mut buffer).unwrap();
    assert_eq!(
        (second.psmid, second.read, &buffer[..7]),
        (2, 0, &b"a reply"[..])
    );
    assert_eq!(end.unread(2, &mut buffer), Err(Lie));
    assert_eq!(take(&mut end).unwrap().0, 3);
}

#[test]
fn rings_are_used_again_by_other_queues() {
    let (server, rings, _offer) = both_ends();
    let last = u8::try_from(RINGS).unwrap();
    let apqns: Vec<Apqn> = (0..=last).map(|n| Apqn::new(9, n)).collect();
    let mut ends: Vec<_> = apqns.iter().map(|apqn| server.make(*apqn, INFO)).collect();
    assert!(ends.pop().unwrap().is_none(), "all rings are in use");
    let deep = HwInfo::new(0, ApType::CEX8, 0, 0, 8);
    for (apqn, end) in apqns.iter().zip(&mut ends) {
        end.as_mut().unwrap().open(false);
        assert_eq!(nqap(&rings, *apqn, 1, b"mine").unwrap().0, 0);
    }
    ends[0] = None;
    assert!(server.make(APQN, deep).is_none(), "deeper than a ring");
    assert_eq!(nqap(&rings, apqns[0], 1, b"late"), None);
    let mut other = server.make(APQN, INFO).unwrap();
    other.open(false);
    assert_eq!(nqap(&rings, apqns[0], 1, b"late"), None);
    assert_eq!(take(&mut other), None);
    nqap(&rings, APQN, 5, b"other's").unwrap();
    assert_eq!(take(&mut other).unwrap().0, 5);
}

#[test]
fn tapq_and_qci_are_answered_once_the_server_has_told() {
    let (server, rings, _offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(false);
    let facilities = true;
    let tapq = Instruction::Tapq {
        apqn: APQN,
        facilities,
    };
    assert_eq!(execute(&rings, &tapq, &mut []), None);
    let answered = execute(&rings, &tapq, &mut []);
    let Some(Outcome::Tapq { status, info }) = answered else {
        panic!("{answered:?}");
    };
    assert_eq!((status.code, info), (ResponseCode::NORMAL, INFO));
    assert_eq!(
        execute(&rings, &Instruction::Qci, &mut []),
        None,
        "not told yet"
    );
    let block = QciBlock {
        na: 7,
        apm: AdapterMask::from_iter([Apid(5)]),
        ..QciBlock::EMPTY
    };
    server.configured(Some(&block));
    assert_eq!(
        execute(&rings, &Instruction::Qci, &mut []),
        Some(Outcome::Qci(block))
    );
    server.configured(None);
    assert_eq!(
        execute(&rings, &Instruction::Qci, &mut []),
        None,
        "the server wants to be asked"
    );
    server.configured(Some(&block));
    assert_eq!(
        execute(&rings, &Instruction::Qci, &mut []),
        Some(Outcome::Qci(block))
    );
    assert_eq!(rings.end(), Some(block), "what the guest was told");
    assert_eq!(execute(&rings, &Instruction::Qci, &mut []), None);
    assert_eq!(execute(&rings, &tapq, &mut []), None);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let offer = RingServer::new(true).unwrap().1;
    let copies = || {
        offer
            .descriptors
            .each_ref()
            .map(|fd| fd.try_clone().unwrap())
    };
    let mut strange = RingsReply::ours();
    strange.slots = 16.into();
    assert!(Shared::accept(&strange, copies(), true).is_none());
    let [area, window, bell] = copies();
    assert!(Shared::accept(&RingsReply::ours(), [window, area, bell], true).is_none());
    assert!(offer.doorbell.as_fd().try_clone_to_owned().is_ok());
}

/// What a hostile client writes into the words that it owns.
fn lie(server: &RingServer, word: usize, value: u64) {
    server.area.store(word, value, Ordering::Relaxed);
}

#[test]
fn lies_are_told_from_what_can_be() {
    let count = |epoch, count| count_word(epoch, count);
    type Words = &'static [(fn(usize) -> usize, u32, u32)];
    let cases: [(&str, Words); 4] = [
        ("more requests than slots", &[(submitted, 1, 9)]),
        ("fewer than were taken", &[(submitted, 1, u32::MAX)]),
        ("more replies read than there were", &[(consumed, 1, 1)]),
        (
            "far more",
            &[(submitted, 1, 0x8000_0000), (consumed, 1, 0x8000_0000)],
        ),
    ];
    for (name, words) in cases {
        let (server, _rings, _offer) = both_ends();
        let mut end = server.make(APQN, INFO).unwrap();
        end.open(false);
        for (word, epoch, number) in words {
            lie(&server, word(0), count(*epoch, *number));
        }
        assert_eq!(end.load(DEPTH, 0), Err(Lie), "{name}");
        // Whoever does not ask first is answered as well.
        let mut buffer = [0; 64];
        let _taken = end.take(&mut buffer);
        end.close();
        end.open(false);
        assert!(end.load(DEPTH, 0).is_ok(), "{name}: over with the epoch");
    }
    for length in [0, SLOT_BYTES as u64 + 1, u64::from(u32::MAX)] {
        let (server, rings, _offer) = both_ends();
        let mut end = server.make(APQN, INFO).unwrap();
        end.open(false);
        nqap(&rings, APQN, 1, b"honest").unwrap();
        lie(&server, slot(0, 0) + 1, length);
        assert_eq!(
            end.take(&mut [0; 12288]),
            Err(Lie),
            "a message of {length} bytes"
        );
    }
    let (server, rings, _offer) = both_ends();
    let mut end = server.make(APQN, INFO).unwrap();
    end.open(false);
    nqap(&rings, APQN, 1, b"honest").unwrap();
    take(&mut end).unwrap();
    end.post(1, b"reply");
    lie(&server, offset(0), count(1, 5));
    assert_eq!(
        end.unread(0, &mut [0; 64]),
        Err(Lie),
        "all of it read, and not consumed"
    );
}

proptest! {
    /// Whatever is in the area, the server's end neither panics nor copies more than there is.
    #[test]
    fn any_area_is_survived(words in proptest::collection::vec((0usize..3, any::<u32>(), 0u32..12), 1..40)) {
        let (server, rings, _offer) = both_ends();
        let mut end = server.make(APQN, INFO).unwrap();
        end.open(false);
        for (word, noise, number) in words {
            let epoch = 1 + noise % 2;
            lie(&server, submitted(0) + word, count_word(epoch, number));
            lie(&server, slot(0, number) + 1, u64::from(noise));
            let mut buffer = [0; 12288];
            if end.load(DEPTH, 0).is_ok() {
                if let Ok(Some(taken)) = end.take(&mut buffer) {
                    prop_assert!(taken.length <= SLOT_BYTES);
                    end.post(taken.psmid, &buffer[..taken.length]);
                }
                for nth in 0..SLOTS {
                    let _unread = end.unread(nth, &mut buffer);
                }
            }
            let _sent = nqap(&rings, APQN, 1, &[1; 9]);
            let _got = dqap(&rings, &mut buffer);
        }
    }
}
