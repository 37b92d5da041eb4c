//! The way of a request: what it costs beside the cryptography, and what guests cost each other.
//!
//! | part | rows |
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
mod gate;
mod in_process;
mod linux;
mod round_trip;
mod shares;

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::measurement::{self, Extent};
use super::scoreboard::Scoreboard;

/// Why a daemon cannot be measured.
const NO_FUSE: &str = "there is no /dev/fuse, by which a daemon of its own is administered";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Turns of what is compared.
    rounds: usize,
    /// How long RSA is computed in a turn.
    rate: Duration,
    /// The same for `openssl speed`, which takes whole seconds.
    openssl_seconds: u32,
    /// Keys that are used one after the other where every request has a key of its own.
    fresh_keys: usize,
    /// Size of keys that only have to keep an engine busy.
    bits: u32,
    /// Round trips, and requests of the guest beside a flood, in one turn.
    requests: usize,
    /// Requests through a ring in one turn, which take as long as the round trips.
    through_ring: usize,
    /// Guests that share a card.
    guests: usize,
    /// Rounds of 1 guest and of many.
    share_rounds: usize,
    /// Turns of each in one round.
    share_turns: usize,
    /// How long answers are counted in a turn.
    share_turn: Duration,
    /// Whether Linux guests are booted.
    linux: bool,
}

const EXTENT: Extent<Sizes> = Extent {
    full: Sizes {
        rounds: 5,
        rate: Duration::from_secs(4),
        openssl_seconds: 4,
        fresh_keys: 64,
        bits: 2048,
        requests: 1_000,
        through_ring: 20_000,
        guests: 32,
        share_rounds: 9,
        share_turns: 12,
        share_turn: Duration::from_millis(300),
        linux: true,
    },
    smoke: Sizes {
        rounds: 1,
        rate: Duration::from_millis(20),
        openssl_seconds: 1,
        fresh_keys: 2,
        bits: 1024,
        requests: 20,
        through_ring: 100,
        guests: 3,
        share_rounds: 1,
        share_turns: 2,
        share_turn: Duration::from_millis(150),
        linux: false,
    },
};

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Part {
    /// RSA in this process, against OpenSSL on the same core
    InProcess,
    /// A request without cryptography between two processes
    RoundTrip,
    /// A guest beside a flood, many guests beside one
    Shares,
    /// The daemon's memory for each guest
    Attached,
    /// Linux guests
    Linux,
}

/// Measures these parts, or all if there are none. A smoke run is small, and its goals are not judged.
///
/// # Errors
/// What went otherwise than it should. What is missing is a skipped row.
pub(super) fn run(out: &mut dyn Write, smoke: bool, only: &[Part]) -> Result<ExitCode> {
    let parts = match only {
        [] => Part::value_variants(),
        only => only,
    };
    measurement::run(out, EXTENT, smoke, |board, sizes| rows(board, sizes, parts))
}

fn rows(board: &mut Scoreboard<'_>, sizes: Sizes, parts: &[Part]) -> Result<()> {
    let has_fuse = has_fuse();
    for part in Part::value_variants() {
        if !parts.contains(part) {
            continue;
        }
        match part {
            Part::InProcess => in_process::run(board, sizes)?,
            Part::RoundTrip if has_fuse => round_trip::run(board, sizes)?,
            Part::Shares if has_fuse => shares::run(board, sizes)?,
            Part::Attached if has_fuse => attached::run(board, sizes)?,
            Part::RoundTrip => board.skip(round_trip::ROWS, NO_FUSE)?,
            Part::Shares => board.skip(shares::ROWS, NO_FUSE)?,
            Part::Attached => board.skip(attached::ROWS, NO_FUSE)?,
            Part::Linux => linux::run(board, sizes)?,
        }
    }
    Ok(())
}

fn has_fuse() -> bool {
    fs::metadata("/dev/fuse").is_ok()
}
