//! What guests of one card cost each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::Sizes;
use super::embedded::{Worker, daemon, uuid};
use super::gate::{EndOf, Gate, STARVED};
use crate::bench::child::ChildDaemon;
use crate::bench::rounds::{Rounds, p99};
use crate::bench::rsa::KnownCrt;
use crate::bench::scoreboard::Scoreboard;

/// p99 of a guest beside a flood, to alone.
const BESIDE_A_FLOOD: f64 = 2.5;
/// What many guests get together, to what one gets.
const MANY: f64 = 0.95;
/// How far a guest's share may be from the mean, in percent.
const UNEQUAL: f64 = 5.0;

/// What is measured here.
pub(super) const ROWS: &[&str] = &[
    "p99 of a guest alone",
    "p99 of a guest beside a flood of the same card",
    "p99 beside a flood to alone",
    "RSA of 1 guest",
    "RSA of many guests on one card",
    "RSA of many guests to 1 guest",
    "share that is farthest from the mean",
];

/// Prints its rows.
pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let known = KnownCrt::generate(sizes.bits)?;
    let many = daemon_of(sizes.guests)?;
    latencies(board, sizes, &many, &known)?;
    throughput(board, sizes, [&daemon_of(1)?, &many], &known)
}

/// A daemon with one card and a mediated device with a queue for each of its guests.
fn daemon_of(guests: usize) -> Result<ChildDaemon> {
    let domains = u8::try_from(guests)?;
    let daemon = daemon(1, domains)?;
    for domain in 0..domains {
        daemon.mdev(&uuid(domain.into()), &[0], &[domain])?;
    }
    Ok(daemon)
}

fn latencies(
    board: &mut Scoreboard<'_>,
    sizes: Sizes,
    daemon: &ChildDaemon,
    known: &KnownCrt,
) -> Result<()> {
    let mut guest = Worker::open(&daemon.socket(&uuid(0)), 0, known)?;
    // Warms up, and is forgotten.
    p99_of(&mut guest, sizes.requests / 10)?;
    let mut rounds = Rounds::default();
    for _ in 0..sizes.rounds {
        let alone = p99_of(&mut guest, sizes.requests)?;
        let flood = Flood::open(daemon, 1..2, known)?;
        let beside = flood.during(|guests| {
            guests.gate.open();
            p99_of(&mut guest, sizes.requests)
        })?;
        rounds.add([alone, beside]);
    }
    let [alone, beside] = rounds.medians();
    board.report(ROWS[0], alone, "us")?;
    board.report(ROWS[1], beside, "us")?;
    let ratio = rounds.of(|[alone, beside]| beside / alone);
    board.judge(ROWS[2], ratio, "x", BESIDE_A_FLOOD)
}

/// Requests one after the other, in microseconds.
fn p99_of(guest: &mut Worker<'_>, count: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        guest.once()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(p99(times))
}

/// The guest of one daemon and the guests of another stay connected and work in turns, which are short: this
/// machine is fast and slow for seconds.
fn throughput(
    board: &mut Scoreboard<'_>,
    sizes: Sizes,
    [one, many]: [&ChildDaemon; 2],
    known: &KnownCrt,
) -> Result<()> {
    let (one, many) = (
        Flood::open(one, 0..1, known)?,
        Flood::open(many, 0..sizes.guests, known)?,
    );
    let rounds = one.during(|one| many.during(|many| measured(sizes, [&one, &many])))?;
    let [one, many, unequal] = rounds.medians();
    board.report(ROWS[3], one, "/s")?;
    board.report(ROWS[4], many, "/s")?;
    let ratio = rounds.of(|[one, many, _]| many / one);
    board.judge_from(ROWS[5], ratio, "x", MANY)?;
    board.judge(ROWS[6], unequal, "%", UNEQUAL)
}

/// Answers per second of both floods, and the farthest share of the second in percent, for each round.
fn measured(sizes: Sizes, floods: [&Flooding<'_>; 2]) -> Result<Rounds<3>> {
    for flood in floods {
        flood.warm_up()?;
    }
    let mut rounds = Rounds::default();
    for _ in 0..sizes.share_rounds {
        let mut tallies = [(); 2].map(|()| Tally::default());
        for _ in 0..sizes.share_turns {
            for (flood, tally) in floods.iter().zip(&mut tallies) {
                flood.turn(sizes.share_turn, tally)?;
            }
        }
        let [one, many] = &tallies;
        rounds.add([one.rate(), many.rate(), many.farthest()]);
    }
    Ok(rounds)
}

/// What guests got in their turns.
#[derive(Debug, Default)]
struct Tally {
    answers: Vec<u64>,
    time: Duration,
}

impl Tally {
    fn sum(&self) -> f64 {
        self.answers.iter().sum::<u64>() as f64
    }

    /// Answers of all per second.
    fn rate(&self) -> f64 {
        self.sum() / self.time.as_secs_f64()
    }

    /// How far the guest is from the mean that is farthest from it, in percent.
    fn farthest(&self) -> f64 {
        let mean = self.sum() / self.answers.len() as f64;
        let far = |answers: &u64| (*answers as f64 / mean - 1.0).abs();
        100.0 * self.answers.iter().map(far).fold(0.0, f64::max)
    }
}

/// Answers that a guest has got before it counts: its key is prepared for repeated use by then.
const WARM: u64 = 32;
/// What passes of a turn before it counts: queues are filled, and caches.
const SETTLED: Duration = Duration::from_millis(60);

/// Guests that keep their queues full.
struct Flood<'k> {
    workers: Vec<Worker<'k>>,
}

impl<'k> Flood<'k> {
    /// The guests of a daemon with these numbers.
    fn open(
        daemon: &ChildDaemon,
        guests: std::ops::Range<usize>,
        known: &'k KnownCrt,
    ) -> Result<Self> {
        let open = |number| Worker::open(&daemon.socket(&uuid(number)), number, known);
        let workers = guests.map(open).collect::<Result<_>>()?;
        Ok(Self { workers })
    }

    /// Does something while they are there.
    fn during<R>(self, work: impl FnOnce(Flooding<'_>) -> Result<R>) -> Result<R> {
        let gate = Gate::default();
        let done: Vec<AtomicU64> = self.workers.iter().map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            let ends = EndOf(&gate);
            let gate = &gate;
            let started: Vec<_> = self
                .workers
                .into_iter()
                .zip(&done)
                .map(|(mut worker, done)| scope.spawn(move || worker.flood(gate, done)))
                .collect();
            let result = work(Flooding { gate, done: &done });
            drop(ends);
            for flood in started {
                flood.join().map_err(|_| anyhow!("a guest failed"))??;
            }
            result
        })
    }
}

/// Guests on their threads. They rest at first.
struct Flooding<'f> {
    gate: &'f Gate,
    /// Answers that each has got.
    done: &'f [AtomicU64],
}

impl Flooding<'_> {
    /// Works until each guest has what it needs to be counted.
    fn warm_up(&self) -> Result<()> {
        self.gate.open();
        let start = Instant::now();
        while self.answers().iter().any(|count| *count < WARM) {
            ensure!(start.elapsed() < STARVED, "a guest starves");
            thread::sleep(Duration::from_millis(5));
        }
        self.gate.close(self.done.len())
    }

    /// Works alone for `time` and a little before it.
    fn turn(&self, time: Duration, tally: &mut Tally) -> Result<()> {
        self.gate.open();
        thread::sleep(SETTLED);
        let (before, start) = (self.answers(), Instant::now());
        thread::sleep(time);
        let (after, elapsed) = (self.answers(), start.elapsed());
        self.gate.close(self.done.len())?;
        tally.answers.resize(after.len(), 0);
        for (sum, (after, before)) in tally.answers.iter_mut().zip(after.iter().zip(&before)) {
            *sum += after - before;
        }
        tally.time += elapsed;
        Ok(())
    }

    fn answers(&self) -> Vec<u64> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.done.iter().map(read).collect()
    }
}
