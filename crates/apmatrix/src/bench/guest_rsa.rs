//! RSA-2048 in a Linux guest: the accelerator against the guest's own OpenSSL.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::demo::{MDEVS, Stage};
use crate::image::{self, cpio::ExtraFile};
use crate::launch::{GuestConsole, Launch, find_plugin};
use crate::verbs::plugin_for;
use crate::workload;

const BOOT: Duration = Duration::from_secs(120);
const COMMAND: Duration = Duration::from_secs(120);
/// Requests at once: what it takes to keep an engine busy while the guest is emulated.
const REQUESTERS: u32 = 4;
const SECONDS: u32 = 5;

/// Boots a guest and prints both rates and their ratio.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(super) fn run(out: &mut dyn Write) -> Result<()> {
    let image = image::ensure(&image::default_dir(), &mut |line| {
        drop(writeln!(out, "{line}"));
    })?;
    let mut stage = Stage::open(out)?;
    stage.give_each_guest_an_adapter()?;
    let mut launch = Launch::new(&image);
    launch.terminal = false;
    launch.plugin = Some(plugin_for(
        find_plugin(None)?,
        &stage.socket(MDEVS[0]),
        "ap+apft+apqci",
    ));
    let bytes = workload::one_crt(2048)?.to_bytes();
    launch.extra_files = vec![ExtraFile {
        path: "extra/crt".into(),
        bytes,
        mode: 0o644,
    }];
    let mut guest = GuestConsole::boot(&launch, BOOT)?;

    let command =
        format!("apclient bench /extra/crt --seconds {SECONDS} --requesters {REQUESTERS}");
    let said = guest.run(&command, COMMAND)?.success()?;
    let accelerated = number_behind(&said, "per-second").context("apclient printed no rate")?;
    // Without nocex the guest's OpenSSL finds the card by itself.
    let command = format!(
        "OPENSSL_s390xcap=nocex openssl speed -elapsed -seconds {SECONDS} rsa2048 2>/dev/null"
    );
    let said = guest.run(&command, COMMAND)?.success()?;
    let software = signatures_per_second(&said).context("openssl speed printed no rate")?;
    guest.power_off(COMMAND)?;

    stage.say(&format!(
        "guest, accelerator  {accelerated:>8.1} RSA-2048 CRT/s ({REQUESTERS} requesters)"
    ))?;
    stage.say(&format!(
        "guest, software     {software:>8.1} RSA-2048 CRT/s (openssl speed)"
    ))?;
    stage.say(&format!(
        "ratio               {:>8.1}",
        accelerated / software
    ))
}

pub(super) fn number_behind(text: &str, word: &str) -> Option<f64> {
    text.split_whitespace()
        .skip_while(|found| *found != word)
        .nth(1)?
        .parse()
        .ok()
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
    fn rates_are_found_in_what_the_tools_print() {
        assert_eq!(
            number_behind("ops 500 seconds 5.0 per-second 100.5\n", "per-second"),
            Some(100.5)
        );
        let old = "                  sign    verify    sign/s verify/s\n\
                   rsa 2048 bits 0.007353s 0.000190s    136.0   5263.2\n";
        assert_eq!(signatures_per_second(old), Some(136.0));
        let new = "                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s\n\
                   rsa  2048 bits 0.007246s 0.000207s 0.000227s 0.007519s    138.0   4821.0   4411.2    133.0\n";
        assert_eq!(signatures_per_second(new), Some(138.0));
    }
}
