//! Revoking a queue while a guest and an engine use it, in every order in which three threads can do so:
//! the machine's own code, with the locks of a model checker (loom).
//!
//! ```text
//!   cargo test -p machine --features loom,cex/vendored --test interleavings
//! ```
//! All orders are tried, about thirty thousand; `LOOM_MAX_PREEMPTIONS` would bound how often a thread is
//! interrupted where it could go on.
#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::sync::Arc;

use arch::{
    ApInstructions, ApType, Apcb, Apid, Apqi, Apqn, CardMode, CrycbFormat, Facilities, ResponseCode,
};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use machine::{GuestId, Machine, PartitionConfig, Ran, Scratch};

const APQN: Apqn = Apqn::new(3, 6);
const FIRST: GuestId = GuestId(1);
const SECOND: GuestId = GuestId(2);
/// Every card answers it at once, without any computation.
const MALFORMED: [u8; 8] = [0, 0x50, 0, 8, 0, 0, 0, 0];

fn masks() -> Apcb {
    Apcb {
        apm: [Apid(3)].into_iter().collect(),
        aqm: [Apqi(6)].into_iter().collect(),
        ..Apcb::EMPTY
    }
}

/// One queue, which the first of two guests has.
fn machine() -> Arc<Machine> {
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6").unwrap();
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    for id in [FIRST, SECOND] {
        let attached = machine.attach_guest(id, CrycbFormat::Format2, Facilities::all());
        attached.unwrap();
    }
    machine.set_masks(FIRST, &masks()).unwrap();
    Arc::new(machine)
}

fn submit(machine: &Machine, id: GuestId) -> ResponseCode {
    machine.guest(id).nqap(APQN, id.0, false, &MALFORMED).code
}

/// The sender of the reply that this guest gets now.
fn reply_of(machine: &Machine, id: GuestId) -> Option<GuestId> {
    let mut buffer = [0; 16];
    let got = machine.guest(id).dqap(APQN, &mut buffer);
    (got.stored > 0).then_some(GuestId(got.psmid))
}

fn run(machine: &Machine) -> Ran {
    machine.run_one(APQN, &mut Scratch::new())
}

/// After `set_masks` has returned, no request reaches the card and no reply reaches the guest, whether
/// the guest was enqueueing and an engine computing meanwhile or not.
#[test]
fn nothing_passes_after_a_revoke() {
    loom::model(|| {
        let machine = machine();
        let revoked = Arc::new(AtomicBool::new(false));
        let engine = thread::spawn({
            let machine = Arc::clone(&machine);
            move || run(&machine)
        });
        let guest = thread::spawn({
            let (machine, revoked) = (Arc::clone(&machine), Arc::clone(&revoked));
            move || {
                submit(&machine, FIRST);
                let late = revoked.load(Ordering::Acquire);
                let reply = reply_of(&machine, FIRST);
                assert!(!late || reply.is_none(), "a reply left after the revoke");
            }
        });
        machine.set_masks(FIRST, &Apcb::EMPTY).unwrap();
        revoked.store(true, Ordering::Release);
        let reached = machine.counters(APQN).reached;
        engine.join().unwrap();
        guest.join().unwrap();
        // Whatever was enqueued in between is gone: another engine finds nothing.
        assert_eq!(run(&machine), Ran::Idle);
        let now = machine.counters(APQN);
        assert_eq!(
            now.reached, reached,
            "a request got through after the revoke"
        );
        assert_eq!(now.load, machine::QueueLoad::default());
        assert_eq!(submit(&machine, FIRST), ResponseCode::NOT_AVAILABLE);
    });
}

/// A queue changes hands while an engine computes for its old owner: the new one never sees that reply,
/// and gets its own.
#[test]
fn a_queue_that_changes_hands_keeps_nothing() {
    loom::model(|| {
        let machine = machine();
        assert_eq!(submit(&machine, FIRST), ResponseCode::NORMAL);
        let engine = thread::spawn({
            let machine = Arc::clone(&machine);
            move || run(&machine)
        });
        let second = thread::spawn({
            let machine = Arc::clone(&machine);
            move || {
                let accepted = submit(&machine, SECOND) == ResponseCode::NORMAL;
                let reply = reply_of(&machine, SECOND);
                assert!(reply.is_none_or(|sender| sender == SECOND), "{reply:?}");
                (accepted, reply.is_some())
            }
        });
        machine.clear_masks(FIRST);
        machine.set_masks(SECOND, &masks()).unwrap();
        engine.join().unwrap();
        let (accepted, read) = second.join().unwrap();
        while run(&machine) != Ran::Idle {}
        assert_eq!(reply_of(&machine, FIRST), None);
        let expected = (accepted && !read).then_some(SECOND);
        assert_eq!(reply_of(&machine, SECOND), expected);
    });
}

/// A reset while an engine computes: the reply to what was before it never comes.
#[test]
fn a_reset_outruns_the_engine() {
    loom::model(|| {
        let machine = machine();
        assert_eq!(submit(&machine, FIRST), ResponseCode::NORMAL);
        let engine = thread::spawn({
            let machine = Arc::clone(&machine);
            move || run(&machine)
        });
        machine.guest(FIRST).rapq(APQN);
        assert_eq!(reply_of(&machine, FIRST), None);
        engine.join().unwrap();
        assert_eq!(reply_of(&machine, FIRST), None);
        assert_eq!(machine.counters(APQN).load, machine::QueueLoad::default());
    });
}

/// An adapter goes while a guest enqueues and an engine computes: what returns to its place later has
/// nothing of it, and the card that is gone is not reached any more.
#[test]
fn an_adapter_that_goes_takes_everything_along() {
    loom::model(|| {
        let machine = machine();
        let engine = thread::spawn({
            let machine = Arc::clone(&machine);
            move || run(&machine)
        });
        let guest = thread::spawn({
            let machine = Arc::clone(&machine);
            move || submit(&machine, FIRST)
        });
        machine.remove_adapter(Apid(3)).unwrap();
        let reached = machine.counters(APQN).reached;
        engine.join().unwrap();
        guest.join().unwrap();
        assert_eq!(run(&machine), Ran::Idle);
        assert_eq!(machine.counters(APQN).reached, reached);
        assert_eq!(submit(&machine, FIRST), ResponseCode::NOT_AVAILABLE);
        machine
            .add_adapter(Apid(3), ApType::CEX8, CardMode::Accelerator)
            .unwrap();
        assert_eq!(machine.counters(APQN).load, machine::QueueLoad::default());
        assert_eq!(reply_of(&machine, FIRST), None);
    });
}
