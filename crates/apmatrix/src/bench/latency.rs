//! One request after the other in a Linux guest: by polling, and by adapter interruptions.

use std::io::Write;

use anyhow::Result;

use super::linux::Bench;

/// Boots a guest twice and prints how long a request takes in each, and the ratio.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(super) fn run(out: &mut dyn Write) -> Result<()> {
    let mut bench = Bench::open(out)?;
    let polling = microseconds(&bench, "ap+apft+apqci")?;
    let interrupts = microseconds(&bench, "ap+apft+apqci+apqi")?;
    bench.say(&format!(
        "polling         {polling:>8.0} us for a request (RSA-1024 CRT, one requester)"
    ))?;
    bench.say(&format!(
        "interruptions   {interrupts:>8.0} us for a request"
    ))?;
    bench.say(&format!("ratio           {:>8.2}", interrupts / polling))
}

/// What a request takes in a guest with these features.
fn microseconds(bench: &Bench<'_>, features: &str) -> Result<f64> {
    let mut guest = bench.boot(features, 1024)?;
    let rate = guest.rate(1)?;
    guest.power_off()?;
    Ok(1e6 / rate)
}
