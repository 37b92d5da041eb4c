//! RSA-2048 in a Linux guest: the accelerator against the guest's own OpenSSL.

use std::io::Write;

use anyhow::{Context, Result};

use super::linux::{Bench, SECONDS};

/// Requests at once: what it takes to keep an engine busy while the guest is emulated.
const REQUESTERS: u32 = 4;

/// Boots a guest and prints both rates and their ratio.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(super) fn run(out: &mut dyn Write) -> Result<()> {
    let mut bench = Bench::open(out)?;
    let mut guest = bench.boot("ap+apft+apqci", 2048)?;
    let accelerated = guest.rate(REQUESTERS)?;
    // Without nocex the guest's OpenSSL finds the card by itself.
    let said = guest.run(&format!(
        "OPENSSL_s390xcap=nocex openssl speed -elapsed -seconds {SECONDS} rsa2048 2>/dev/null"
    ))?;
    let software = signatures_per_second(&said).context("openssl speed printed no rate")?;
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

/// `rsa 2048 bits 0.007353s 0.000190s    136.0   5263.2`: the last number but one (OpenSSL 3.0 and
/// 3.1), or the first rate of the four that newer ones print.
fn signatures_per_second(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.starts_with("rsa") && line.contains("2048"))?;
    line.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_found_in_what_openssl_prints() {
        let old = "                  sign    verify    sign/s verify/s\n\
                   rsa 2048 bits 0.007353s 0.000190s    136.0   5263.2\n";
        assert_eq!(signatures_per_second(old), Some(136.0));
        let new = "                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s\n\
                   rsa  2048 bits 0.007246s 0.000207s 0.000227s 0.007519s    138.0   4821.0   4411.2    133.0\n";
        assert_eq!(signatures_per_second(new), Some(138.0));
    }
}
