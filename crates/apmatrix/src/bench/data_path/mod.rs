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
use std::time::Duration;

use anyhow::Result;

use super::measurement::{self, Extent};
use super::openssl::OpensslProgram;
use super::scoreboard::Scoreboard;

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

const EXTENT: Extent<Sizes> = Extent {
    full: Sizes {
        rounds: 5,
        rate: Duration::from_secs(1),
        openssl_seconds: 1,
        fresh_keys: 64,
        bits: 2048,
        requests: 1_000,
        guests: 32,
        shares: Duration::from_secs(5),
        linux: true,
    },
    smoke: Sizes {
        rounds: 1,
        rate: Duration::from_millis(20),
        openssl_seconds: 1,
        fresh_keys: 2,
        bits: 1024,
        requests: 20,
        guests: 3,
        shares: Duration::from_millis(300),
        linux: false,
    },
};

/// Measures everything. A smoke run is small, and its goals are not judged.
///
/// # Errors
/// What went otherwise than it should. What is missing is a skipped row.
pub(super) fn run(out: &mut dyn Write, smoke: bool) -> Result<ExitCode> {
    measurement::run(out, EXTENT, smoke, rows)
}

fn rows(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let openssl = OpensslProgram::find();
    let program = match &openssl {
        Some(openssl) => openssl.version()?,
        None => "not there".to_owned(),
    };
    board.say(&format!("openssl of the host: {program}"))?;
    let engine = in_process::run(board, sizes, openssl.as_ref())?;
    if has_fuse() {
        round_trip::run(board, sizes)?;
        shares::run(board, sizes)?;
        attached::run(board, sizes)?;
    } else {
        let reason = "there is no /dev/fuse, by which a daemon of its own is administered";
        for rows in [round_trip::ROWS, shares::ROWS, attached::ROWS] {
            board.skip(rows, reason)?;
        }
    }
    linux::run(board, sizes, engine)
}

fn has_fuse() -> bool {
    fs::metadata("/dev/fuse").is_ok()
}
