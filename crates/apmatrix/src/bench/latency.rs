//! One request after the other in a Linux guest: by polling, and by adapter interruptions.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest_rsa::number_behind;
use crate::demo::{MDEVS, Stage};
use crate::image::{self, Image, cpio::ExtraFile};
use crate::launch::{GuestConsole, Launch, find_plugin};
use crate::verbs::plugin_for;
use crate::workload;

const BOOT: Duration = Duration::from_secs(120);
const COMMAND: Duration = Duration::from_secs(120);
const SECONDS: u32 = 5;

/// Boots a guest twice and prints how long a request takes in each, and the ratio.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(super) fn run(out: &mut dyn Write) -> Result<()> {
    let image = image::ensure(&image::default_dir(), &mut |line| {
        drop(writeln!(out, "{line}"));
    })?;
    let mut stage = Stage::open(out)?;
    stage.give_each_guest_an_adapter()?;
    let polling = microseconds(&mut stage, &image, "ap+apft+apqci")?;
    let interrupts = microseconds(&mut stage, &image, "ap+apft+apqci+apqi")?;
    stage.say(&format!(
        "polling         {polling:>8.0} us for a request (RSA-1024 CRT, one requester)"
    ))?;
    stage.say(&format!(
        "interruptions   {interrupts:>8.0} us for a request"
    ))?;
    stage.say(&format!("ratio           {:>8.2}", interrupts / polling))
}

/// What a request takes in a guest with these features.
fn microseconds(stage: &mut Stage<'_>, image: &Image, features: &str) -> Result<f64> {
    let mut launch = Launch::new(image);
    launch.terminal = false;
    let socket = stage.socket(MDEVS[0]);
    launch.plugin = Some(plugin_for(find_plugin(None)?, &socket, features));
    launch.extra_files = vec![ExtraFile {
        path: "extra/crt".into(),
        bytes: workload::one_crt(1024)?.to_bytes(),
        mode: 0o644,
    }];
    let mut guest = GuestConsole::boot(&launch, BOOT)?;
    let command = format!("apclient bench /extra/crt --seconds {SECONDS}");
    let said = guest.run(&command, COMMAND)?.success()?;
    guest.power_off(COMMAND)?;
    let rate = number_behind(&said, "per-second").context("apclient printed no rate")?;
    Ok(1e6 / rate)
}
