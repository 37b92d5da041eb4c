//! Everything at once, at random, for as long as `APMATRIX_SOAK_SECONDS` says: guests that compute, reset
//! themselves and come again; an administrator who takes queues and gives them back; faults; recordings.
//!
//! No answer is wrong, no request is lost without a reason that its guest saw, and the daemon's memory
//! stays what it was after the warm-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::control::{Request, Response, ask};
use apmatrix::record::read;

use crate::instance::Instance;
use crate::record::Recorder;
use crate::tier::Tier;

mod chance;
mod guest;
mod trouble;
use chance::Chance;
use guest::{Soaker, Tally, works};
use trouble::Trouble;

const GUESTS: u8 = 8;
/// Each guest has a domain of its own on both; the second is also taken and given back.
const ADAPTERS: [u8; 2] = [5, 6];
/// What every change runs; a nightly run says more.
const SHORT: Duration = Duration::from_secs(20);
/// Memory is compared with what it was after this time, or after half of a short run.
const WARM_UP: Duration = Duration::from_secs(60);
/// How long a write may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// What the daemon may grow by beside a twentieth: an allocator's rounding, in KiB.
const ROUNDING: u64 = 4 << 10;

/// Faults, each for a time: the queue is written in front.
const FAULTS: [&str; 8] = [
    "slow 40ms for 200ms",
    "drop times 2 for 100ms",
    "rc nqap 02 for 60ms by guest",
    "rc nqap 05 for 60ms by guest",
    "rc dqap 02 for 60ms by guest",
    "rc nqap 04 times 1 for 60ms by guest",
    "reply-code 10 times 3 for 100ms",
    "hang-reset for 150ms",
];
/// The longest of them, with what it is late at most.
const FAULT_TIME: Duration = Duration::from_millis(400);

/// The administrator, and what is not as it was in the beginning.
struct Administrator<'i> {
    instance: &'i Instance,
    chance: Chance,
    /// Guests whose domain, or second adapter, is taken.
    domain_taken: [bool; GUESTS as usize],
    adapter_taken: [bool; GUESTS as usize],
    recorder: Option<Recorder>,
    recordings: u32,
    changes: u32,
    faults: u32,
}

impl<'i> Administrator<'i> {
    fn new(instance: &'i Instance, seed: u64) -> Self {
        Self {
            instance,
            chance: Chance::new(seed),
            domain_taken: [false; GUESTS as usize],
            adapter_taken: [false; GUESTS as usize],
            recorder: None,
            recordings: 0,
            changes: 0,
            faults: 0,
        }
    }

    fn step(&mut self, troubles: &[Trouble]) {
        let number = self.chance.below(GUESTS);
        let trouble = &troubles[usize::from(number)];
        match self.chance.below(20) {
            0 => self.toggle_domain(number, trouble),
            1 => self.toggle_adapter(number, trouble),
            2..=5 => self.give_back(troubles),
            6..=11 => self.inject(number, trouble),
            12 => self.console(&Request::ClearFaults {
                which: "all".into(),
            }),
            13 => self.toggle_recording(number),
            _ => {}
        }
    }

    /// Ends one outage.
    fn give_back(&mut self, troubles: &[Trouble]) {
        for (number, trouble) in (0u8..).zip(troubles) {
            if self.domain_taken[usize::from(number)] {
                return self.toggle_domain(number, trouble);
            }
            if self.adapter_taken[usize::from(number)] {
                return self.toggle_adapter(number, trouble);
            }
        }
    }

    fn toggle_domain(&mut self, number: u8, trouble: &Trouble) {
        let taken = &mut self.domain_taken[usize::from(number)];
        *taken = !*taken;
        let verb = if *taken { "unassign" } else { "assign" };
        self.assign(number, trouble, (verb, "domain", number));
    }

    fn toggle_adapter(&mut self, number: u8, trouble: &Trouble) {
        let taken = &mut self.adapter_taken[usize::from(number)];
        *taken = !*taken;
        let verb = if *taken { "unassign" } else { "assign" };
        self.assign(number, trouble, (verb, "adapter", ADAPTERS[1]));
    }

    fn assign(&mut self, number: u8, trouble: &Trouble, (verb, what, id): (&str, &str, u8)) {
        trouble.begins();
        let path = format!("devices/vfio_ap/matrix/{}/{verb}_{what}", uuid(number));
        self.write(&path, &id.to_string());
        let at = usize::from(number);
        if self.domain_taken[at] || self.adapter_taken[at] {
            return;
        }
        trouble.ends();
        self.changes += 1;
    }

    /// Writes to an attribute. Every write is answered in the end: faults do not last.
    fn write(&self, path: &str, text: &str) {
        let (file, text) = (self.instance.sys(path), text.to_owned());
        let (done, answered) = channel();
        // A thread of its own: one that waits for ever must not keep the test from failing.
        thread::spawn(move || done.send(std::fs::write(file, text)).ok());
        let answer = answered.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|_| panic!("{path} is not answered"));
        answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    fn inject(&mut self, number: u8, trouble: &Trouble) {
        let adapter = ADAPTERS[usize::from(self.chance.below(2))];
        let fault = FAULTS[usize::from(self.chance.below(8))];
        trouble.lasts(FAULT_TIME);
        let order = format!("{adapter:02x}.{number:04x} {fault}");
        self.console(&Request::Inject { order });
        self.faults += 1;
    }

    fn console(&self, request: &Request) {
        let socket = self.instance.run_dir().join("control.sock");
        let answer = ask(&socket, request).expect("the console answers");
        let done = matches!(answer, Response::Done | Response::Injected(_));
        assert!(done, "{request:?}: {answer:?}");
    }

    fn toggle_recording(&mut self, number: u8) {
        match self.recorder.take() {
            None => {
                let recorder = Recorder::of(self.instance, &uuid(number), "soak", &[]);
                self.recorder = Some(recorder);
            }
            Some(recorder) => {
                let (file, bytes) = recorder.stop();
                assert!(read(&bytes).expect("a recording").is_complete);
                std::fs::remove_file(file).expect("it is there");
                self.recordings += 1;
            }
        }
    }

    /// Makes everything as it was in the beginning.
    fn restore(&mut self, troubles: &[Trouble]) {
        self.console(&Request::ClearFaults {
            which: "all".into(),
        });
        for (number, trouble) in (0u8..).zip(troubles) {
            if self.domain_taken[usize::from(number)] {
                self.toggle_domain(number, trouble);
            }
            if self.adapter_taken[usize::from(number)] {
                self.toggle_adapter(number, trouble);
            }
        }
        if self.recorder.is_some() {
            self.toggle_recording(0);
        }
    }

    /// KiB of the daemon.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.instance.pid());
        let status = std::fs::read_to_string(path).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.expect("a field").parse().expect("a number")
    }
}

fn uuid(number: u8) -> String {
    format!("{number:08x}-50a4-4d3c-8b5a-000000000001")
}

fn machine() -> String {
    let domains: Vec<u8> = (0..GUESTS).collect();
    let mut text = format!("[domains]\nusage = {domains:?}\ncontrol = {domains:?}\n");
    for id in ADAPTERS {
        text.push_str(&format!("[[adapter]]\nid = {id}\ntype = \"CEX8A\"\n"));
    }
    text
}

fn duration() -> Duration {
    std::env::var("APMATRIX_SOAK_SECONDS").map_or(SHORT, |seconds| {
        Duration::from_secs(seconds.parse().expect("a number of seconds"))
    })
}

/// Ends the guests, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_wrong_or_leaked() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::with_machine(&machine());
    instance.set("bus/ap/apmask", "-5,-6");
    for number in 0..GUESTS {
        instance.mdev(&uuid(number), &ADAPTERS, &[number]);
    }
    let seed = std::process::id().into();
    println!("seed {seed}");
    let (start, duration) = (Instant::now(), duration());
    let (works, stop) = (works(), AtomicBool::new(false));
    let troubles: Vec<Trouble> = (0..GUESTS).map(|_| Trouble::new(start)).collect();
    let mut administrator = Administrator::new(&instance, seed);
    let (mut warm, mut tally) = (None, Tally::default());
    thread::scope(|scope| {
        let ends = Ends(&stop);
        let (works, stop) = (&works, &stop);
        let guests: Vec<_> = (0u8..)
            .zip(&troubles)
            .map(|(number, trouble)| {
                let socket = instance
                    .run_dir()
                    .join(format!("mdev/{}.sock", uuid(number)));
                let soaker = Soaker::new(socket, number, works, trouble, seed);
                scope.spawn(move || soaker.run(stop))
            })
            .collect();
        while start.elapsed() < duration
            && !guests.iter().any(thread::ScopedJoinHandle::is_finished)
        {
            administrator.step(&troubles);
            thread::sleep(PAUSE);
            if warm.is_none() && start.elapsed() >= WARM_UP.min(duration / 2) {
                warm = Some(administrator.memory());
            }
        }
        administrator.restore(&troubles);
        drop(ends);
        for guest in guests {
            tally.add(&guest.join().expect("its guest is content"));
        }
    });
    let (warm, end) = (warm.expect("it was warm"), administrator.memory());
    println!(
        "{:?}: {tally:?}, {} changes of the matrix, {} faults, {} recordings, memory {warm} to {end} KiB",
        start.elapsed(),
        administrator.changes,
        administrator.faults,
        administrator.recordings
    );
    assert!(administrator.changes > 0 && administrator.faults > 0);
    // Trouble is the exception.
    assert!(tally.right > 5 * tally.explained, "{tally:?}");
    assert!(
        end <= warm + warm / 20 + ROUNDING,
        "{warm} KiB became {end}"
    );
}
