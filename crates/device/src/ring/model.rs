//! A ring in the orders in which its users' accesses can happen (loom): client, server, whoever revokes.
//!
//! ```text
//!   cargo test -p device --features loom --lib ring::model
//! ```
//! The server's side is what a machine does with a queue: a lock around the ring's end, and a request is
//! taken, computed without the lock and posted unless the queue was revoked meanwhile.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::sync::Arc;

use arch::{ApType, Apqn, HwInfo, Outcome, ResponseCode};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::client::Shared;
use super::end::RingEnd;
use super::layout::WORDS;
use super::memory::Memory;
use super::queue::QueueEnd;
use super::server::RingServer;

const APQN: Apqn = Apqn::new(5, 4);
/// A queue that holds two messages.
const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 1);
const REQUEST: [u8; 8] = *b"request.";
const REPLY: [u8; 8] = *b"reply...";

/// Every order in which a thread is interrupted at most twice where it could go on: with three threads
/// all orders are too many.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

struct Scene {
    rings: Arc<RingServer>,
    queue: Mutex<Queue>,
    /// The doorbell was rung.
    rung: Arc<AtomicBool>,
}

struct Queue {
    end: RingEnd,
    generation: u32,
    open: bool,
    reached: u32,
}

impl Scene {
    fn new() -> (Arc<Self>, QueueEnd) {
        let [area, window] = [0; 2].map(|_| Memory::private(WORDS).unwrap());
        let rings = RingServer::over(area.clone().into(), window.clone().into(), true);
        let mut end = rings.make(APQN, INFO).unwrap();
        end.open(false);
        let rung = Arc::new(AtomicBool::new(false));
        let mut client = QueueEnd::default();
        let shared = Shared::modelled(area.into(), window.into(), Arc::clone(&rung));
        client.change(Some(Arc::new(shared)));
        let queue = Mutex::new(Queue {
            end,
            generation: 0,
            open: true,
            reached: 0,
        });
        (Arc::new(Self { rings, queue, rung }), client)
    }

    /// What an engine does: one request, if there is one.
    fn run(&self) -> bool {
        let mut buffer = [0; 8];
        let generation = {
            let mut queue = self.queue.lock().unwrap();
            if !queue.open {
                return false;
            }
            let Some(taken) = queue
                .end
                .take(&mut buffer)
                .expect("the client does not lie")
            else {
                return false;
            };
            assert_eq!((taken.psmid, buffer), (7, REQUEST));
            queue.reached += 1;
            queue.generation
        };
        let mut queue = self.queue.lock().unwrap();
        if queue.generation == generation {
            assert!(queue.end.post(7, &REPLY), "there is room");
        }
        true
    }

    /// A reset that leaves the queue usable, or a revoke.
    fn drop_contents(&self, revoke: bool) {
        let mut queue = self.queue.lock().unwrap();
        queue.generation += 1;
        queue.end.close();
        queue.open = !revoke;
        if !revoke {
            queue.end.open(false);
        }
    }

    fn reached(&self) -> u32 {
        self.queue.lock().unwrap().reached
    }
}

fn submit(client: &mut QueueEnd) -> bool {
    match client.nqap(APQN, 7, false, &REQUEST) {
        Some(Outcome::Status(status)) => {
            assert_eq!(status.code, ResponseCode::NORMAL);
            true
        }
        _ => false,
    }
}

/// Whether there was a reply: then it is whole and the right one.
fn reply(client: &mut QueueEnd) -> bool {
    let mut buffer = [0; 8];
    match client.dqap(APQN, &mut buffer) {
        Some(Outcome::Dqap(got)) if got.status.code == ResponseCode::NORMAL => {
            assert_eq!((got.psmid, got.stored, buffer), (7, 8, REPLY));
            true
        }
        _ => {
            assert!(buffer.iter().all(|byte| *byte == 0), "nothing was told");
            false
        }
    }
}

/// Nothing that is submitted while the server falls asleep stays unseen: it sees the request in its last
/// look, or the client rings.
#[test]
fn no_request_is_slept_over() {
    loom::model(|| {
        let (scene, mut client) = Scene::new();
        scene.rings.wake();
        let server = thread::spawn({
            let scene = Arc::clone(&scene);
            move || {
                scene.rings.sleep();
                let mut found = false;
                scene.rings.scan(|apqn| {
                    assert_eq!(apqn, APQN);
                    found = true;
                });
                found
            }
        });
        assert!(submit(&mut client));
        let found = server.join().unwrap();
        assert!(found || scene.rung.load(Ordering::Relaxed), "slept over");
        assert!(scene.run());
        assert!(reply(&mut client));
    });
}

/// A request and its reply are whole whenever they are seen.
#[test]
fn messages_are_never_torn() {
    loom::model(|| {
        let (scene, mut client) = Scene::new();
        let engine = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.run()
        });
        assert!(submit(&mut client));
        let early = reply(&mut client);
        let ran = engine.join().unwrap();
        assert!(ran || !early);
        assert_eq!(scene.run(), !ran);
        assert_eq!(reply(&mut client), !early);
    });
}

/// After a revoke no request reaches the card, and a client that begins to look then sees no reply.
#[test]
fn nothing_passes_after_a_revoke() {
    bounded(|| {
        let (scene, mut client) = Scene::new();
        let revoked = Arc::new(AtomicBool::new(false));
        assert!(submit(&mut client));
        let engine = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.run()
        });
        let revoker = thread::spawn({
            let (scene, revoked) = (Arc::clone(&scene), Arc::clone(&revoked));
            move || {
                scene.drop_contents(true);
                revoked.store(true, Ordering::Release);
                scene.reached()
            }
        });
        let late = revoked.load(Ordering::Acquire);
        let got = reply(&mut client);
        assert!(!late || !got, "a reply after the revoke");
        let late = revoked.load(Ordering::Acquire);
        let sent = submit(&mut client);
        assert!(!late || !sent, "accepted after the revoke");
        let reached = revoker.join().unwrap();
        engine.join().unwrap();
        assert!(!scene.run());
        assert_eq!(
            scene.reached(),
            reached,
            "reached the card after the revoke"
        );
        assert!(!reply(&mut client));
    });
}

/// A reply to what was submitted before a reset is not taken for one to what is submitted after it.
#[test]
fn a_reset_leaves_nothing_behind() {
    bounded(|| {
        let (scene, mut client) = Scene::new();
        assert!(submit(&mut client));
        let resetter = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.drop_contents(false)
        });
        scene.run();
        let first = reply(&mut client);
        resetter.join().unwrap();
        let second = reply(&mut client);
        assert!(!(first && second));
        assert!(!second, "a reply from before the reset");
        assert!(submit(&mut client));
        assert!(scene.run());
        assert!(reply(&mut client));
    });
}
