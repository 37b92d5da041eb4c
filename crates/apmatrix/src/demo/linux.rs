//! The demo with two unmodified s390x Linux guests in stock QEMU.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::stage::{MDEVS, Stage};
use crate::image::{self, cpio::ExtraFile};
use crate::launch::vectors::VectorFile;
use crate::launch::{GuestConsole, Launch, find_plugin};
use crate::verbs::plugin_for;
use crate::workload;

/// A guest boots in seconds; a loaded machine may need longer.
const BOOT: Duration = Duration::from_secs(120);
const COMMAND: Duration = Duration::from_secs(120);

/// Two Linux guests at once, RSA in both, and a hot unplug.
///
/// # Errors
/// What is missing, or what went otherwise than it should.
pub(crate) fn linux(out: &mut dyn Write) -> Result<()> {
    let start = Instant::now();
    let image = image::ensure(&image::default_dir(), &mut |line| {
        drop(writeln!(out, "{line}"));
    })?;
    let plugin = find_plugin(None)?;
    let mut vectors = VectorFile::new();
    for bits in [1024, 2048] {
        workload::add_class(&mut vectors, bits, 10)?;
    }
    let mut stage = Stage::open(out)?;
    stage.give_each_guest_an_adapter()?;

    stage.say("Two Linux guests boot in QEMU, each with one of the devices:")?;
    let mut guests = Vec::new();
    for mdev in MDEVS {
        let mut launch = Launch::new(&image);
        launch.terminal = false;
        launch.plugin = Some(plugin_for(
            plugin.clone(),
            &stage.socket(mdev),
            "ap+apft+apqci",
        ));
        launch.extra_files = vec![ExtraFile {
            path: "extra/vectors".into(),
            bytes: vectors.to_bytes(),
            mode: 0o644,
        }];
        guests.push(GuestConsole::spawn(&launch)?);
    }
    for (guest, mdev) in guests.iter_mut().zip(MDEVS) {
        guest.wait_ready(BOOT)?;
        let seen = guest
            .run("echo $(ls /sys/bus/ap/devices | grep -F .)", COMMAND)?
            .success()?;
        let given = stage.read(&format!("devices/vfio_ap/matrix/{mdev}/guest_matrix"))?;
        ensure!(
            seen.trim() == given,
            "the guest sees {} instead of {given}",
            seen.trim()
        );
        stage.say(&format!("  the guest of {mdev} sees {given}"))?;
    }
    for (number, guest) in guests.iter_mut().enumerate() {
        let before = stage.requests()?;
        let said = guest
            .run("apclient run /extra/vectors", COMMAND)?
            .success()?;
        let reached = stage.requests()? - before;
        ensure!(
            reached == u64::from(vectors.count()),
            "{reached} requests reached the card"
        );
        let total = said.lines().last().unwrap_or_default();
        stage.say(&format!(
            "  guest {}: {reached} RSA requests through its card, equal to OpenSSL's: {total}",
            number + 1
        ))?;
    }
    stage.unplug_first()?;
    let before = stage.requests()?;
    let first = guests.first_mut().context("there are two guests")?;
    let failed = first.run("apclient one /extra/vectors 0", COMMAND)?;
    ensure!(
        failed.code != 0,
        "a request succeeded on an unplugged queue"
    );
    ensure!(
        stage.requests()? == before,
        "a request reached the unplugged card"
    );
    stage.say("  its next request fails and never reaches the card")?;
    for guest in guests {
        guest.power_off(COMMAND)?;
    }
    stage.say(&format!("Done in {:.1} s.", start.elapsed().as_secs_f64()))
}
