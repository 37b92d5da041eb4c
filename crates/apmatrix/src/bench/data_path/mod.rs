//! The way of a request: what it costs beside the cryptography, and what guests cost each other.
//!
//! | file | rows |
//! |---|---|
//! | `in_process` | RSA through a queue without a channel, against OpenSSL on the same core |
//! | `round_trip` | a request without cryptography between two processes |
//! | `shares` | a guest beside a flood, 32 guests beside one |
//! | `attached` | the daemon's memory for each guest |
//! | `linux` | a Linux guest: RSA against its own software, boot, virtio-crypto |
//!
//! Both sides of a ratio are measured in turns, and the median of the turns' ratios counts.

mod attached;
mod embedded;
mod in_process;
mod linux;
mod round_trip;
mod shares;

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::openssl::OpensslProgram;
use super::rounds::load;
use super::scoreboard::{Judging, Scoreboard};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Turns of what is compared.
    rounds: usize,
    /// CPU time of one rate of one thread.
    rate: Duration,
    /// The same for `openssl speed`, which counts whole seconds.
    openssl_seconds: u32,
    /// Keys that are used one after the other where every request has a key of its own.
    fresh_keys: usize,
    /// Size of keys that only have to keep an engine busy.
    bits: u32,
    /// Round trips, and requests of the guest beside a flood, in one turn.
    requests: usize,
    /// Guests that share a card.
    guests: usize,
    /// How long shares are counted.
    shares: Duration,
    /// Whether Linux guests are booted.
    linux: bool,
}

const FULL: Sizes = Sizes {
    rounds: 5,
    rate: Duration::from_secs(1),
    openssl_seconds: 1,
    fresh_keys: 64,
    bits: 2048,
    requests: 1_000,
    guests: 32,
    shares: Duration::from_secs(5),
    linux: true,
};
const SMOKE: Sizes = Sizes {
    rounds: 1,
    rate: Duration::from_millis(20),
    openssl_seconds: 1,
    fresh_keys: 2,
    bits: 1024,
    requests: 20,
    guests: 3,
    shares: Duration::from_millis(300),
    linux: false,
};

/// Measures everything. A smoke run is small, and its goals are not judged.
///
/// # Errors
/// What went otherwise than it should. What is missing is a skipped row.
pub(super) fn run(out: &mut dyn Write, smoke: bool) -> Result<ExitCode> {
    let (sizes, judging) = if smoke {
        (SMOKE, Judging::Off)
    } else {
        (FULL, Judging::Strict)
    };
    let mut board = Scoreboard::new(out, judging);
    let openssl = OpensslProgram::find();
    describe(&mut board, openssl.as_ref())?;
    let engine = in_process::run(&mut board, sizes, openssl.as_ref())?;
    if has_fuse() {
        round_trip::run(&mut board, sizes)?;
        shares::run(&mut board, sizes)?;
        attached::run(&mut board, sizes)?;
    } else {
        let reason = "there is no /dev/fuse, by which a daemon of its own is administered";
        for rows in [round_trip::ROWS, shares::ROWS, attached::ROWS] {
            board.skip(rows, reason)?;
        }
    }
    linux::run(&mut board, sizes, engine)?;
    say_load(&mut board, "at the end")?;
    board.finish()
}

fn has_fuse() -> bool {
    fs::metadata("/dev/fuse").is_ok()
}

/// The machine, and the versions of what is measured.
fn describe(board: &mut Scoreboard<'_>, openssl: Option<&OpensslProgram>) -> Result<()> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown CPU", |(_, model)| model.trim());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    board.say(&format!(
        "{cores} cores of {model}, {} {}",
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy()
    ))?;
    let program = match openssl {
        Some(openssl) => openssl.version()?,
        None => "not there".to_owned(),
    };
    board.say(&format!(
        "apmatrix {} with {}; openssl of the host: {program}",
        env!("CARGO_PKG_VERSION"),
        cex::reference::version()
    ))?;
    say_load(board, "at the start")
}

/// A busy machine is a reason to look at absolute times twice.
fn say_load(board: &mut Scoreboard<'_>, when: &str) -> Result<()> {
    let load = load();
    let note = if when == "at the start" && load > 0.5 {
        ": the machine is busy with something else"
    } else {
        ""
    };
    board.say(&format!("load {when}: {load:.2}{note}"))
}
