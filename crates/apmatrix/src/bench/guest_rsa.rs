//! RSA-2048 in a Linux guest: the accelerator against the guest's own OpenSSL.

use std::io::Write;

use anyhow::Result;

use super::linux::Bench;

/// Requests at once: as many as its queue holds, which keeps engines busy while the guest is emulated.
pub(super) const REQUESTERS: u32 = 8;

/// Boots a guest and prints both rates and their ratio.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(super) fn run(out: &mut dyn Write) -> Result<()> {
    let mut bench = Bench::open(out)?;
    let mut guest = bench.boot("ap+apft+apqci", 2048)?;
    let accelerated = guest.rate(REQUESTERS)?;
    let software = guest.software_rate()?;
    guest.power_off()?;

    bench.say(&format!(
        "guest, accelerator  {accelerated:>8.1} RSA-2048 CRT/s ({REQUESTERS} requesters)"
    ))?;
    bench.say(&format!(
        "guest, software     {software:>8.1} RSA-2048 CRT/s (openssl speed)"
    ))?;
    bench.say(&format!(
        "ratio               {:>8.1}",
        accelerated / software
    ))
}
