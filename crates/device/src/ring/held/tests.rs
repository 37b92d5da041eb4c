//! Requests and replies that go through the ring and over the socket, in every mixture.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::sync::Arc;

use arch::instruction::Dequeued;
use arch::{ApType, Apqn, Facilities, QueueStatus};

use super::super::client::{Rings, Shared};
use super::super::end::RingEnd;
use super::super::server::RingServer;
use super::*;
use crate::message::RingsReply;

const APQN: Apqn = Apqn::new(5, 4);
/// Holds eight messages and is full for Linux with seven.
const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 7);
const FULL: usize = 7;

const NQAP: Instruction<'static> = Instruction::Nqap {
    apqn: APQN,
    psmid: 2,
    special: false,
    message: b"m",
};
const DQAP: Instruction<'static> = Instruction::Dqap { apqn: APQN };
const RAPQ: Instruction<'static> = Instruction::Rapq {
    apqn: APQN,
    force: false,
};
const NORMAL: ResponseCode = ResponseCode::NORMAL;
const NOTHING: ResponseCode = ResponseCode::FULL_OR_NO_REPLY;

fn status(code: ResponseCode) -> Outcome {
    Outcome::Status(QueueStatus::code_only(code))
}

fn dequeued(code: ResponseCode, flags: StatusFlags) -> Outcome {
    Outcome::Dqap(Dequeued::nothing(QueueStatus::new(code, flags)))
}

/// A guest, and the server's ring of its queue.
struct Scene {
    _server: Arc<RingServer>,
    rings: Rings,
    ring: RingEnd,
}

impl Scene {
    /// The ring is closed. The guest knows the queue.
    fn new() -> Self {
        let (server, offer) = RingServer::new(true).unwrap();
        let rings = Rings::new(Facilities::all());
        let shared = Shared::accept(&RingsReply::ours(), offer.descriptors, true).unwrap();
        rings.begin(shared, 65536);
        let ring = server.make(APQN, INFO).unwrap();
        let mut scene = Self {
            _server: server,
            rings,
            ring,
        };
        let tapq = Instruction::Tapq {
            apqn: APQN,
            facilities: true,
        };
        let status = QueueStatus::code_only(NORMAL);
        scene.asks(&tapq, Outcome::Tapq { status, info: INFO });
        scene
    }

    /// An instruction that goes over the socket, where it gets this answer.
    fn asks(&mut self, instruction: &Instruction<'_>, answer: Outcome) -> Outcome {
        let queue = self.rings.execute(instruction, &mut [0; 64], || {});
        let queue = queue.expect_err("the server is asked");
        self.rings.answered(queue, instruction, answer)
    }

    /// An instruction that goes through the ring.
    fn does(&mut self, instruction: &Instruction<'_>) {
        let outcome = self.rings.execute(instruction, &mut [0; 64], || {});
        let code = outcome.ok().and_then(|outcome| outcome.status());
        assert_eq!(code.map(|status| status.code), Some(NORMAL));
    }

    fn sends_over_socket(&mut self, requests: usize) {
        for _ in 0..requests {
            self.asks(&NQAP, status(NORMAL));
        }
    }

    fn gets_over_socket(&mut self, replies: usize) {
        for _ in 0..replies {
            self.asks(&DQAP, dequeued(NORMAL, StatusFlags::empty()));
        }
    }

    fn sends_through_ring(&mut self, requests: usize) {
        (0..requests).for_each(|_| self.does(&NQAP));
    }

    fn gets_through_ring(&mut self, replies: usize) {
        for _ in 0..replies {
            self.ring.take(&mut [0; 64]).unwrap().unwrap();
            assert!(self.ring.post(2, b"r"));
            self.does(&DQAP);
        }
    }

    /// The connection is lost. Whether the first DQAP after that gets a reply to nobody.
    fn is_stranded(&mut self) -> bool {
        self.rings.end();
        self.takes_reply_to_nobody()
    }

    fn takes_reply_to_nobody(&mut self) -> bool {
        match self.rings.execute(&DQAP, &mut [0; 64], || {}) {
            Ok(outcome) => {
                assert_eq!(outcome, reply_to_nobody());
                true
            }
            Err(queue) => {
                let nothing = dequeued(NOTHING, StatusFlags::EMPTY);
                let told = self.rings.answered(queue, &DQAP, nothing);
                assert_eq!(told, nothing);
                false
            }
        }
    }
}

#[test]
fn what_was_sent_over_the_socket_is_over_when_the_ring_opens() {
    let mut scene = Scene::new();
    scene.sends_over_socket(FULL);
    // The queue has changed hands and back, which the guest has not noticed.
    scene.ring.open(false);
    scene.sends_through_ring(1);
    assert!(!scene.is_stranded(), "it held one request");

    let mut scene = Scene::new();
    scene.sends_over_socket(FULL);
    scene.ring.open(false);
    scene.sends_through_ring(FULL);
    scene.gets_through_ring(1);
    assert!(!scene.is_stranded());
}

#[test]
fn what_was_in_a_closing_ring_is_got_over_the_socket() {
    for (replies, expected) in [(0, true), (1, false), (FULL, false)] {
        let mut scene = Scene::new();
        scene.ring.open(false);
        scene.sends_through_ring(FULL);
        scene.ring.begin_closing();
        scene.gets_over_socket(replies);
        assert_eq!(scene.is_stranded(), expected, "{replies}");
    }
}

#[test]
fn both_ways_together_make_a_queue_full() {
    for (through_ring, over_socket, expected) in [(4, 3, true), (4, 2, false), (0, 7, true)] {
        let mut scene = Scene::new();
        scene.ring.open(false);
        scene.sends_through_ring(through_ring);
        scene.ring.begin_closing();
        scene.sends_over_socket(over_socket);
        assert_eq!(scene.is_stranded(), expected);
        assert!(!scene.takes_reply_to_nobody(), "once");
    }
}

#[test]
fn a_loss_that_comes_to_light_in_an_instruction_counts_for_it() {
    let mut scene = Scene::new();
    scene.sends_over_socket(FULL);
    let queue = scene.rings.execute(&DQAP, &mut [0; 64], || {});
    scene.rings.end();
    let nothing = dequeued(NOTHING, StatusFlags::EMPTY);
    let queue = queue.unwrap_err();
    let told = scene.rings.answered(queue, &DQAP, nothing);
    assert_eq!(told, reply_to_nobody());
    assert!(!scene.is_stranded());
}

#[test]
fn replies_and_resets_make_room() {
    let gone = ResponseCode::NOT_AVAILABLE;
    for (instruction, outcome, expected) in [
        (DQAP, dequeued(NORMAL, StatusFlags::empty()), false),
        (DQAP, dequeued(NOTHING, StatusFlags::empty()), true),
        (DQAP, dequeued(NOTHING, StatusFlags::EMPTY), false),
        (NQAP, status(NOTHING), true),
        (NQAP, status(gone), false),
        (RAPQ, status(NORMAL), false),
    ] {
        let mut scene = Scene::new();
        scene.sends_over_socket(FULL);
        scene.asks(&instruction, outcome);
        let what = format!("{instruction:?} {outcome:?}");
        assert_eq!(scene.is_stranded(), expected, "{what}");
    }
}

#[test]
fn a_guest_that_resets_the_queue_itself_does_not_wait_for_it() {
    let mut scene = Scene::new();
    scene.sends_over_socket(FULL);
    scene.rings.end();
    scene.asks(&RAPQ, status(ResponseCode::RESET_IN_PROGRESS));
    assert!(!scene.takes_reply_to_nobody());
    for reset_first in [true, false] {
        let mut scene = Scene::new();
        scene.sends_over_socket(FULL);
        if reset_first {
            scene.rings.reset();
        }
        scene.rings.end();
        if !reset_first {
            scene.rings.reset();
        }
        assert!(!scene.takes_reply_to_nobody());
    }
}
