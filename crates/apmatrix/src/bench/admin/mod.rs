//! Administration through a real mount: how long an attribute takes, how it scales with the number of
//! mediated devices, and what an idle daemon weighs.
//!
//! Every number is that of system calls on a mounted tree. What is compared is measured in turns, with
//! one mediated device and with many, on the same daemon: whatever else the machine does meets both.

mod files;
mod latency;
mod memory;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::measurement::{self, Extent};
use super::scoreboard::Scoreboard;
pub(super) use files::write;
use files::{Admin, full_machine};

/// Medians with many mediated devices are at most this times those with one.
const SCALING: f64 = 1.3;
/// Creating and assigning [`Sizes::bulk`] mediated devices takes at most this many seconds.
const BULK_SECONDS: f64 = 5.0;
/// An idle daemon with a full machine is resident with at most this many MiB.
const IDLE_MIB: f64 = 40.0;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Mediated devices of the turns that are compared with those that have a single one.
    many: u32,
    /// Mediated devices that are created and assigned against the clock.
    bulk: u32,
    /// How often turns with one and with many follow each other.
    rounds: usize,
    /// Calls in a turn.
    calls: usize,
}

const EXTENT: Extent<Sizes> = Extent {
    full: Sizes {
        many: 1_000,
        bulk: 10_000,
        rounds: 9,
        calls: 200,
    },
    smoke: Sizes {
        many: 20,
        bulk: 30,
        rounds: 2,
        calls: 10,
    },
};

/// Measures everything. A smoke run is small, and its goals are not judged.
///
/// # Errors
/// When a daemon cannot be started or a system call on its tree fails.
pub(super) fn run(out: &mut dyn Write, smoke: bool) -> Result<ExitCode> {
    measurement::run(out, EXTENT, smoke, |board, sizes| {
        latency::run(board, sizes)?;
        bulk(board, sizes.bulk)?;
        memory::run(board)
    })
}

/// Mediated devices one after the other, by one writer: each with one queue that no other has.
fn bulk(board: &mut Scoreboard<'_>, count: u32) -> Result<()> {
    let admin = Admin::start(full_machine())?;
    let start = Instant::now();
    for number in 0..count {
        admin.create(number)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let channels = admin.channels()?;
    let expected = usize::try_from(count)?;
    ensure!(
        channels == expected,
        "{channels} of {count} mdevs have a channel"
    );
    board.judge(
        &format!("{count} mdevs created and assigned"),
        seconds,
        "s",
        BULK_SECONDS,
    )
}
