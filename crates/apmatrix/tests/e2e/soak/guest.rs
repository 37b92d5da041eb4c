//! A guest that computes without end, and now and then resets its device or dies.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::workload;
use arch::{CrycbFormat, Facilities};
use cex::reference::{ReferenceKey, mod_exp};
use device::{Client, ClientOptions, OpenRequest};
use guest::type50::Request;
use guest::{Guest, ModExpo, Ticket};

use super::chance::Chance;
use super::trouble::Trouble;

/// How long an answer may take on a busy machine: later it is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests under way.
const DEPTH: usize = 4;
/// What must be right when all trouble is over.
const LAST: usize = 20;

/// A request and its only right answer.
pub(super) struct Work {
    request: Request,
    expected: Vec<u8>,
}

/// Requests of several sizes and both kinds.
pub(super) fn works() -> Vec<Work> {
    let mut works = Vec::new();
    for bits in [512, 1024, 2048] {
        let key = ReferenceKey::generate(bits).expect("OpenSSL makes keys");
        for _ in 0..3 {
            let message = key.random_message().expect("OpenSSL has random numbers");
            let operands = workload::private(&key, &message);
            works.push(Work {
                request: operands.encode().expect("operands of a key"),
                expected: key.private(&message).expect("a message below the modulus"),
            });
            let operands = ModExpo {
                message: &message,
                exponent: &key.e,
                modulus: &key.n,
            };
            works.push(Work {
                request: operands.encode().expect("operands of a key"),
                expected: mod_exp(&message, &key.e, &key.n).expect("a modulus"),
            });
        }
    }
    works
}

/// What became of a guest's requests.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    pub(super) right: u64,
    /// They failed, and there was a reason.
    pub(super) explained: u64,
    /// They died with the guest.
    pub(super) died: u64,
    pub(super) resets: u64,
}

impl Tally {
    pub(super) const fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.explained += other.explained;
        self.died += other.died;
        self.resets += other.resets;
    }
}

/// A guest.
pub(super) struct Soaker<'s> {
    socket: PathBuf,
    number: u8,
    works: &'s [Work],
    trouble: &'s Trouble,
    chance: Chance,
    tally: Tally,
}

/// A request that is under way, and when it was made.
struct UnderWay<'s> {
    ticket: Ticket,
    work: &'s Work,
    made: u64,
}

impl<'s> Soaker<'s> {
    pub(super) const fn new(
        socket: PathBuf,
        number: u8,
        works: &'s [Work],
        trouble: &'s Trouble,
        seed: u64,
    ) -> Self {
        Self {
            socket,
            number,
            works,
            trouble,
            chance: Chance::new(seed + 1 + number as u64),
            tally: Tally {
                right: 0,
                explained: 0,
                died: 0,
                resets: 0,
            },
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) -> Tally {
        let mut guest = self.open();
        let mut under_way = VecDeque::new();
        while !stop.load(Ordering::Relaxed) {
            match self.chance.below(250) {
                0 => self.reset(&mut guest),
                1 => {
                    drop(guest);
                    self.tally.died += u64::try_from(under_way.len()).expect("a few");
                    under_way.clear();
                    guest = self.open();
                }
                _ => {}
            }
            guest.follow_changes();
            while under_way.len() < DEPTH {
                under_way.push_back(self.submit(&mut guest));
            }
            let oldest = under_way.pop_front().expect("there are some");
            if !self.finish(&mut guest, &oldest) {
                self.wait_for_a_queue(&mut guest);
            }
        }
        for request in &under_way {
            self.finish(&mut guest, request);
        }
        self.all_is_well_again(&mut guest);
        self.tally
    }

    /// Every request of a guest that nothing disturbs any more is answered.
    fn all_is_well_again(&mut self, guest: &mut Guest<Client>) {
        self.wait_for_a_queue(guest);
        // A queue that was given back may still be in its first reset.
        let start = Instant::now();
        loop {
            let request = self.submit(guest);
            match guest.wait(request.ticket, PATIENCE) {
                Ok(answer) => {
                    assert_eq!(answer, request.work.expected);
                    break;
                }
                Err(error) => assert!(start.elapsed() < PATIENCE, "no end of trouble: {error}"),
            }
            guest.scan();
        }
        for _ in 0..LAST {
            let request = self.submit(guest);
            let answer = guest.wait(request.ticket, PATIENCE);
            assert_eq!(answer.as_ref(), Ok(&request.work.expected));
            self.tally.right += 1;
        }
    }

    /// Opens the device, as soon as the resets after the last close are over.
    fn open(&self) -> Guest<Client> {
        let start = Instant::now();
        loop {
            let request = OpenRequest {
                vm: format!("soak-{}", self.number)
                    .parse()
                    .expect("an identity"),
                crycb_format: CrycbFormat::Format2,
                facilities: Facilities::APFT | Facilities::APQCI,
            };
            match Guest::connect(&self.socket, request, ClientOptions::default()) {
                Ok(guest) => return guest,
                Err(error) => assert!(start.elapsed() < PATIENCE, "it does not open: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// As a guest that is started again, but its requests stay: they have to be sent again.
    fn reset(&mut self, guest: &mut Guest<Client>) {
        self.trouble.lasts(Duration::from_millis(1));
        // A fault may keep the reset from ending well, or in time; the requests are answered anyway.
        if guest.instructions().reset().is_ok() {
            self.tally.resets += 1;
        }
        self.trouble.lasts(Duration::from_millis(1));
    }

    fn submit(&mut self, guest: &mut Guest<Client>) -> UnderWay<'s> {
        let count = u8::try_from(self.works.len()).expect("a few");
        let work = &self.works[usize::from(self.chance.below(count))];
        let made = self.trouble.now();
        let ticket = guest.submit(work.request.clone());
        UnderWay { ticket, work, made }
    }

    /// Whether it was answered; if not there must be a reason.
    fn finish(&mut self, guest: &mut Guest<Client>, request: &UnderWay<'_>) -> bool {
        match guest.wait(request.ticket, PATIENCE) {
            Ok(answer) => {
                assert_eq!(answer, request.work.expected, "a wrong answer");
                self.tally.right += 1;
                true
            }
            Err(error) => {
                assert_ne!(error, guest::RequestError::TimedOut, "a request is lost");
                assert!(
                    self.trouble.explains(request.made),
                    "guest {}: {error} at {} without a reason",
                    self.number,
                    request.made
                );
                self.tally.explained += 1;
                false
            }
        }
    }

    /// Looks for its queues as long as it has none.
    fn wait_for_a_queue(&self, guest: &mut Guest<Client>) {
        let start = Instant::now();
        loop {
            guest.follow_changes();
            guest.scan();
            let has_one = guest
                .bus()
                .queues()
                .any(|(_, queue)| queue.driver.is_some() && queue.is_online());
            if has_one {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "its queues do not come back");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
