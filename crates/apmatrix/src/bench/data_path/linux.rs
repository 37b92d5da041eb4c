//! Rows of a Linux guest under QEMU.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Sizes;
use crate::bench::guest_rsa::REQUESTERS;
use crate::bench::linux::Bench;
use crate::bench::rounds::Rounds;
use crate::bench::rsa::{KnownCrt, OneEngine};
use crate::bench::scoreboard::Scoreboard;

/// The accelerator to the guest's own software.
const TO_SOFTWARE: f64 = 20.0;
/// The accelerator to an engine of its own on the host.
const TO_ENGINE: f64 = 0.7;
/// Features of a guest that polls, and of one with adapter interruptions.
const POLLING: &str = "ap+apft+apqci";
const INTERRUPTS: &str = "ap+apft+apqci+apqi";
/// Turns of rates, and of boots, which take half a minute.
const RATES: usize = 5;
const BOOTS: usize = 3;
/// How often Linux looks at its queues by itself, in nanoseconds, and how often where a look is dear: Linux takes
/// about as long when it runs under z/VM. One requester is better off with the former, several with the latter.
const USUAL_POLL: u32 = 250_000;
const SELDOM_POLL: u32 = 1_000_000;

/// What is measured here.
const ROWS: &[&str] = &[
    "Linux guest, RSA-2048 CRT by the accelerator",
    "Linux guest, RSA-2048 CRT by its own software",
    "Linux guest, accelerator to software",
    "Linux guest, accelerator to one engine on the host",
    "the same, polling as often as Linux usually does",
    "the same, with adapter interruptions",
    "Linux guest, boot without the plugin",
    "Linux guest, boot with the plugin to without",
    "Linux guest, boot with interruptions to without",
    "Linux guest, RSA-2048 by virtio-crypto",
];

/// Prints its rows.
pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    if !sizes.linux {
        return board.skip(ROWS, "a smoke run boots no guest");
    }
    let mut quiet = io::sink();
    let bench = match Bench::open(&mut quiet) {
        Ok(bench) => bench,
        Err(reason) => return board.skip(ROWS, &format!("no guest image: {reason:#}")),
    };
    board.say(&format!("QEMU of the Linux guests: {}", bench.qemu()))?;
    let measured = rsa(board, sizes, &bench);
    go_on(board, &ROWS[..5], measured)?;
    let measured = rsa_with_interruptions(board, sizes, &bench);
    go_on(board, &ROWS[5..6], measured)?;
    let measured = boot(board, &bench);
    go_on(board, &ROWS[6..9], measured)?;
    let measured = virtio_crypto(board, &bench);
    go_on(board, &ROWS[9..], measured)
}

/// A guest that did not do what it should is a miss, and no reason not to measure the rest.
fn go_on(board: &mut Scoreboard<'_>, rows: &[&str], measured: Result<()>) -> Result<()> {
    measured.or_else(|error| {
        // What the guest's console said is behind the first line.
        let reason = format!("{error:#}");
        board.fail(rows, reason.lines().next().unwrap_or_default())
    })
}

fn rsa(board: &mut Scoreboard<'_>, sizes: Sizes, bench: &Bench<'_>) -> Result<()> {
    let mut on_host = OneEngine::new()?;
    let known = [KnownCrt::generate(2048)?];
    let mut guest = bench.boot(POLLING, 2048)?;
    let mut rounds = Rounds::default();
    for _ in 0..RATES {
        rounds.add([
            guest.poll_every(SELDOM_POLL)?.rate(REQUESTERS)?,
            on_host.rate(&known, sizes.rate)?,
            guest.poll_every(USUAL_POLL)?.rate(REQUESTERS)?,
            guest.software_rate()?,
        ]);
    }
    guest.power_off()?;
    let [accelerated, alone, _, software] = rounds.medians();
    board.report(ROWS[0], accelerated, "/s")?;
    board.report(ROWS[1], software, "/s")?;
    board.say(&format!(
        "one engine on the host: {alone:.2} /s between the guest's turns"
    ))?;
    let ratio = rounds.of(|[accelerated, _, _, software]| accelerated / software);
    board.judge_from(ROWS[2], ratio, "x", TO_SOFTWARE)?;
    let ratio = rounds.of(|[accelerated, alone, ..]| accelerated / alone);
    board.judge_from(ROWS[3], ratio, "x", TO_ENGINE)?;
    let ratio = rounds.of(|[_, alone, usual, _]| usual / alone);
    board.report(ROWS[4], ratio, "x")
}

fn rsa_with_interruptions(
    board: &mut Scoreboard<'_>,
    sizes: Sizes,
    bench: &Bench<'_>,
) -> Result<()> {
    let mut on_host = OneEngine::new()?;
    let known = [KnownCrt::generate(2048)?];
    let mut guest = bench.boot(INTERRUPTS, 2048)?;
    let mut rounds = Rounds::default();
    for _ in 0..RATES {
        rounds.add([guest.rate(REQUESTERS)?, on_host.rate(&known, sizes.rate)?]);
    }
    guest.power_off()?;
    let ratio = rounds.of(|[interrupted, alone]| interrupted / alone);
    board.report(ROWS[5], ratio, "x")
}

fn boot(board: &mut Scoreboard<'_>, bench: &Bench<'_>) -> Result<()> {
    let seconds = |features| -> Result<f64> {
        let start = Instant::now();
        let guest = bench.boot_with(features, 1024, &[])?;
        let booted: Duration = start.elapsed();
        guest.power_off()?;
        Ok(booted.as_secs_f64())
    };
    let mut rounds = Rounds::default();
    for _ in 0..BOOTS {
        rounds.add([
            seconds(None)?,
            seconds(Some(POLLING))?,
            seconds(Some(INTERRUPTS))?,
        ]);
    }
    let [without, ..] = rounds.medians();
    board.report(ROWS[6], without, "s")?;
    let ratio = rounds.of(|[without, with, _]| with / without);
    board.report(ROWS[7], ratio, "x")?;
    let ratio = rounds.of(|[without, _, interrupts]| interrupts / without);
    board.report(ROWS[8], ratio, "x")
}

/// QEMU's own crypto device beside ours: whether this guest could compute by it at all.
fn virtio_crypto(board: &mut Scoreboard<'_>, bench: &Bench<'_>) -> Result<()> {
    let row = ROWS[9];
    let device = [
        "-object",
        "cryptodev-backend-builtin,id=crypto0",
        "-device",
        "virtio-crypto-ccw,cryptodev=crypto0",
    ];
    let mut guest = match bench.boot_with(Some(POLLING), 1024, &device) {
        Ok(guest) => guest,
        Err(reason) => return board.say(&format!("{row}: not measured, {reason:#}")),
    };
    // A virtio device of type 20 is a crypto device.
    let devices =
        guest.run("cat /sys/bus/virtio/devices/*/device 2>/dev/null | grep -c 0x0014 || true")?;
    let drivers = guest.run("ls /sys/bus/virtio/drivers 2>/dev/null || true")?;
    let algorithms = guest.run("grep -c '^driver.*: virtio' /proc/crypto || true")?;
    guest.power_off()?;
    let drivers: Vec<&str> = drivers.split_whitespace().collect();
    board.say(&format!(
        "{row}: not measured, the guest sees {} crypto device(s), its kernel has drivers for {} and {} \
         algorithm(s) of virtio; programs reach no asymmetric one anyway, AF_ALG has none",
        devices.trim(),
        drivers.join(", "),
        algorithms.trim()
    ))
}
