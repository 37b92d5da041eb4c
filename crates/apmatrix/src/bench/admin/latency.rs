//! Medians of one attribute write and one attribute read, with one mediated device and with many.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::files::{Admin, full_machine, read, write};
use super::{SCALING, Sizes};
use crate::bench::rounds::median;
use crate::bench::scoreboard::Scoreboard;

/// The mediated device that is written to and read, others come and go; its queue is 00.0000.
const MEASURED: u32 = 0;
/// A domain that no mediated device has.
const FREE_DOMAIN: &str = "255";

/// How long the calls of one turn took.
#[derive(Default)]
struct Times {
    writes: Vec<Duration>,
    reads: Vec<Duration>,
}

pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let admin = Admin::start(full_machine())?;
    admin.create(MEASURED)?;
    // Warms up, and is forgotten.
    measure(&admin, sizes.calls)?;
    let mut writes = Pairs::default();
    let mut reads = Pairs::default();
    for _ in 0..sizes.rounds {
        let one = measure(&admin, sizes.calls)?;
        for number in 1..sizes.many {
            admin.create(number)?;
        }
        let many = measure(&admin, sizes.calls)?;
        for number in 1..sizes.many {
            write(&admin.file(number, "remove"), "1")?;
        }
        writes.add(one.writes, many.writes);
        reads.add(one.reads, many.reads);
    }
    writes.show(board, "write", sizes.many)?;
    reads.show(board, "read", sizes.many)
}

/// Medians of turns that followed each other, in microseconds.
#[derive(Default)]
struct Pairs {
    one: Vec<f64>,
    many: Vec<f64>,
}

impl Pairs {
    fn add(&mut self, one: Vec<Duration>, many: Vec<Duration>) {
        let micros = |times: Vec<Duration>| {
            let times = times.into_iter().map(|time| time.as_secs_f64() * 1e6);
            median(times.collect())
        };
        self.one.push(micros(one));
        self.many.push(micros(many));
    }

    fn show(self, board: &mut Scoreboard<'_>, what: &str, count: u32) -> Result<()> {
        // Each turn against its own neighbour: what the machine does besides changes slowly.
        let ratios = self.one.iter().zip(&self.many);
        let ratio = median(ratios.map(|(one, many)| many / one).collect());
        let row = format!("attribute {what}, {count} mdevs");
        board.report(&format!("attribute {what}, 1 mdev"), median(self.one), "us")?;
        board.report(&row, median(self.many), "us")?;
        board.judge(&format!("{row} to 1 mdev"), ratio, "x", SCALING)
    }
}

fn measure(admin: &Admin, calls: usize) -> Result<Times> {
    let files = ["assign_domain", "unassign_domain", "matrix"];
    let [assign, unassign, matrix] = files.map(|name| admin.file(MEASURED, name));
    let mut times = Times::default();
    for _ in 0..calls {
        for file in [&assign, &unassign] {
            let start = Instant::now();
            write(file, FREE_DOMAIN)?;
            times.writes.push(start.elapsed());
            let start = Instant::now();
            let text = read(&matrix)?;
            times.reads.push(start.elapsed());
            ensure!(text.starts_with(b"00.0000\n"), "the matrix reads {text:?}");
        }
    }
    Ok(times)
}
