//! What guests of one card cost each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::Sizes;
use super::embedded::{StopAtEnd, Worker, daemon, uuid};
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
    let domains = u8::try_from(sizes.guests)?;
    let daemon = daemon(1, domains)?;
    for domain in 0..domains {
        daemon.mdev(&uuid(domain.into()), &[0], &[domain])?;
    }
    let known = KnownCrt::generate(sizes.bits)?;
    latencies(board, sizes, &daemon, &known)?;
    throughput(board, sizes, &daemon, &known)
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
        let flood = Flood::of(daemon, 1..2, known);
        let beside = flood.during(|_| p99_of(&mut guest, sizes.requests))?;
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

fn throughput(
    board: &mut Scoreboard<'_>,
    sizes: Sizes,
    daemon: &ChildDaemon,
    known: &KnownCrt,
) -> Result<()> {
    let mut rounds = Rounds::default();
    for _ in 0..sizes.share_rounds {
        let alone = Flood::of(daemon, 0..1, known).during(|done| counted(done, sizes.shares))?;
        let many = Flood::of(daemon, 0..sizes.guests, known);
        let many = many.during(|done| counted(done, sizes.shares))?;
        let sum: f64 = many.iter().sum();
        let mean = sum / many.len() as f64;
        let farthest = many.iter().map(|share| (share / mean - 1.0).abs());
        rounds.add([alone[0], sum, 100.0 * farthest.fold(0.0, f64::max)]);
    }
    let [one, many, unequal] = rounds.medians();
    board.report(ROWS[3], one, "/s")?;
    board.report(ROWS[4], many, "/s")?;
    let ratio = rounds.of(|[one, many, _]| many / one);
    board.judge_from(ROWS[5], ratio, "x", MANY)?;
    board.judge(ROWS[6], unequal, "%", UNEQUAL)
}

/// Answers that a guest has got before it counts: its key is prepared for repeated use by then.
const WARM: u64 = 32;

/// What each guest gets in a second, over `time`, after a warm-up.
fn counted(done: &[AtomicU64], time: Duration) -> Result<Vec<f64>> {
    let read = || done.iter().map(|count| count.load(Ordering::Relaxed));
    let start = Instant::now();
    while read().any(|count| count < WARM) {
        ensure!(start.elapsed() < Duration::from_secs(60), "a guest starves");
        thread::sleep(Duration::from_millis(5));
    }
    let (before, start): (Vec<u64>, _) = (read().collect(), Instant::now());
    thread::sleep(time);
    let (after, elapsed) = (read(), start.elapsed().as_secs_f64());
    let grown = after.zip(before).map(|(after, before)| after - before);
    Ok(grown.map(|count| count as f64 / elapsed).collect())
}

/// Guests that keep their queues full.
struct Flood<'d> {
    daemon: &'d ChildDaemon,
    guests: std::ops::Range<usize>,
    known: &'d KnownCrt,
}

impl<'d> Flood<'d> {
    const fn of(
        daemon: &'d ChildDaemon,
        guests: std::ops::Range<usize>,
        known: &'d KnownCrt,
    ) -> Self {
        Self {
            daemon,
            guests,
            known,
        }
    }

    /// Does something while they run; it is given how many answers each has got.
    fn during<R>(&self, work: impl FnOnce(&[AtomicU64]) -> Result<R>) -> Result<R> {
        let stop = AtomicBool::new(false);
        let done: Vec<AtomicU64> = self.guests.clone().map(|_| AtomicU64::new(0)).collect();
        let mut workers = Vec::new();
        for number in self.guests.clone() {
            let socket = self.daemon.socket(&uuid(number));
            workers.push(Worker::open(&socket, number, self.known)?);
        }
        thread::scope(|scope| {
            let ends = StopAtEnd(&stop);
            let stop = &stop;
            let started: Vec<_> = workers
                .into_iter()
                .zip(&done)
                .map(|(mut worker, done)| scope.spawn(move || worker.flood(stop, done)))
                .collect();
            let result = work(&done);
            drop(ends);
            for flood in started {
                flood.join().map_err(|_| anyhow!("a guest failed"))??;
            }
            result
        })
    }
}
