//! When a session is watched and when it has to ring. The guest's end is written from docs/protocol.md: a file
//! that is written to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::{self, JoinHandle};

use arch::{ApType, HwInfo};
use device::RingEnd;

use super::*;

const QUEUE: Apqn = Apqn::new(5, 4);
const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 7);
/// Of the area in bytes: what was submitted in all rings; in the first ring.
const ACTIVITY: u64 = 0;
const SUBMITTED: u64 = 4096;
/// Generous: what is waited for comes by itself.
const LONG_WAIT: Duration = Duration::from_secs(20);

/// A session with one queue, and its guest's memory.
struct Session {
    rings: Arc<RingServer>,
    _end: RingEnd,
    area: File,
    submitted: u64,
}

impl Session {
    fn new() -> Self {
        let (rings, area) = RingServer::detached().unwrap();
        let mut end = rings.make(QUEUE, INFO).unwrap();
        end.open(false);
        Self {
            rings,
            _end: end,
            area: File::from(area),
            submitted: 0,
        }
    }

    fn put(&self, at: u64, word: u64) {
        self.area.write_all_at(&word.to_ne_bytes(), at).unwrap();
    }

    /// The guest submits a request in the ring's first epoch.
    fn submit(&mut self) {
        self.submitted += 1;
        self.put(SUBMITTED, 1 << 32 | self.submitted);
        self.put(ACTIVITY, self.submitted);
    }

    /// The same, and it rings if it has to, as its session thread sees.
    fn submit_and_ring(&mut self, polling: &Polling) {
        self.submit();
        if self.rings.is_asleep() {
            polling.rung(&self.rings);
        }
    }
}

fn nobody(_: Apqn) -> Option<GuestId> {
    None
}

/// One engine's turn, which costs nothing.
fn turn(polling: &Polling, lookout: &mut Lookout) {
    let turn = lookout.next(&nobody);
    assert_eq!(turn.apqn(), QUEUE);
    polling.0.ready.done(&turn, Duration::ZERO);
}

/// An engine of so many that has two turns and ends.
fn two_turns(polling: &Polling, engines: usize) -> JoinHandle<()> {
    let polling = polling.clone();
    thread::spawn(move || {
        let mut lookout = polling.lookout(engines);
        for _ in 0..2 {
            turn(&polling, &mut lookout);
        }
    })
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG_WAIT, "{what}");
        thread::yield_now();
    }
}

#[test]
fn who_has_rung_once_need_not_ring_for_what_follows() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    let mut lookout = polling.lookout(2);
    lookout.pressure = Pressure::never_high();
    assert!(session.rings.is_asleep(), "nobody knows of it yet");
    session.submit_and_ring(&polling);
    turn(&polling, &mut lookout);
    assert!(!session.rings.is_asleep());
    for _ in 0..1000 {
        session.submit();
        turn(&polling, &mut lookout);
        assert!(!session.rings.is_asleep());
    }
}

#[test]
fn who_submits_nothing_for_a_while_has_to_ring_again() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    session.submit_and_ring(&polling);
    let engine = two_turns(&polling, 2);
    // Awake while the engine works, and asleep when it has waited; it must not end without work.
    wait_until("nobody sends it to sleep", || {
        let watch = polling.0.watch.try_lock();
        session.rings.is_asleep()
            && watch.is_ok_and(|watch| watch.sessions.is_empty())
            && !polling.0.any_rung.load(Ordering::Acquire)
    });
    assert!(!engine.is_finished());
    session.submit_and_ring(&polling);
    engine.join().unwrap();
}

#[test]
fn an_engine_alone_leaves_the_processor_to_the_guest() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    session.submit_and_ring(&polling);
    let engine = two_turns(&polling, 1);
    wait_until("it goes on looking", || polling.0.ready.has_idle());
    assert!(session.rings.is_asleep());
    session.submit_and_ring(&polling);
    engine.join().unwrap();
}

#[test]
fn nobody_rings_for_what_no_engine_could_begin() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    let mut lookout = polling.lookout(1);
    session.submit_and_ring(&polling);
    turn(&polling, &mut lookout);
    for _ in 0..100 {
        lookout.computed(LONG);
        assert!(!session.rings.is_asleep());
        session.submit();
        turn(&polling, &mut lookout);
    }
    polling.0.ready.pretend_idle();
    session.submit();
    turn(&polling, &mut lookout);
    assert!(session.rings.is_asleep(), "the other one can begin it");
}

#[test]
fn an_engine_that_had_to_wait_for_a_processor_does_not_poll() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    polling.0.ready.pretend_idle();
    let mut lookout = polling.lookout(2);
    session.submit_and_ring(&polling);
    turn(&polling, &mut lookout);
    // Asleep while it should have run is what the others' need looks like.
    thread::sleep(Duration::from_millis(50));
    session.submit();
    turn(&polling, &mut lookout);
    assert!(session.rings.is_asleep());
    let paused = polling.0.watch.lock().unwrap().not_before;
    assert!(paused.is_some());
    // As long as that lasts it is rung for; afterwards it is tried again.
    session.submit_and_ring(&polling);
    turn(&polling, &mut lookout);
    assert!(session.rings.is_asleep() || paused < Some(Instant::now()));
    polling.0.watch.lock().unwrap().not_before = Some(Instant::now());
    session.submit_and_ring(&polling);
    turn(&polling, &mut lookout);
    assert!(!session.rings.is_asleep());
}

#[test]
fn long_computations_are_no_time_to_wait_for_an_engine_to_look() {
    let (polling, mut session) = (Polling::new(Ready::default()), Session::new());
    polling.0.ready.pretend_idle();
    let mut lookout = polling.lookout(2);
    let start = Instant::now();
    loop {
        session.submit_and_ring(&polling);
        // What is long is remembered for a while, which may be over before the turn on a busy machine.
        lookout.computed(LONG);
        turn(&polling, &mut lookout);
        if session.rings.is_asleep() {
            break;
        }
        assert!(start.elapsed() < LONG_WAIT);
    }
    let other = Polling::new(Ready::default()).lookout(2);
    other.computed(LONG - Duration::from_nanos(1));
    assert!(!other.polling.is_long_likely(Instant::now()));
}

#[test]
fn a_session_that_has_ended_is_not_watched() {
    let (polling, mut gone) = (Polling::new(Ready::default()), Session::new());
    gone.submit_and_ring(&polling);
    drop(gone);
    let mut session = Session::new();
    session.submit_and_ring(&polling);
    turn(&polling, &mut polling.lookout(2));
    assert_eq!(polling.0.watch.lock().unwrap().sessions.len(), 1);
}
