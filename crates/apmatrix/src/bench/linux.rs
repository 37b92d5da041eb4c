//! A Linux guest with one queue and a CRT request to measure with.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::openssl::private_rate;
use crate::demo::{MDEVS, Stage};
use crate::image::{self, Image, cpio::ExtraFile};
use crate::launch::{GuestConsole, Launch, find_plugin};
use crate::verbs::plugin_for;
use crate::workload;

const BOOT: Duration = Duration::from_secs(120);
const COMMAND: Duration = Duration::from_secs(120);
/// How long one rate is measured.
pub(super) const SECONDS: u32 = 5;

/// A daemon whose first mediated device has an adapter, and the image of its guests.
pub(super) struct Bench<'a> {
    stage: Stage<'a>,
    image: Image,
}

impl<'a> Bench<'a> {
    /// # Errors
    /// What is missing for a guest, or what went otherwise than it should.
    pub(super) fn open(out: &'a mut dyn Write) -> Result<Self> {
        let image = image::ensure(&image::default_dir(), &mut |line| {
            drop(writeln!(out, "{line}"));
        })?;
        let mut stage = Stage::open(out)?;
        stage.give_each_guest_an_adapter()?;
        Ok(Self { stage, image })
    }

    /// Boots a guest with these CPU features and an RSA CRT request of `bits`.
    ///
    /// # Errors
    /// What is missing, or what went otherwise than it should.
    pub(super) fn boot(&self, features: &str, bits: u32) -> Result<BenchGuest> {
        self.boot_with(Some(features), bits, &[])
    }

    /// As [`boot`](Self::boot), but without features also without the plugin, and with more arguments for
    /// QEMU.
    ///
    /// # Errors
    /// What is missing, or what went otherwise than it should.
    pub(super) fn boot_with(
        &self,
        features: Option<&str>,
        bits: u32,
        arguments: &[&str],
    ) -> Result<BenchGuest> {
        let mut launch = Launch::new(&self.image);
        launch.terminal = false;
        launch.extra_arguments = arguments.iter().map(Into::into).collect();
        let socket = self.stage.socket(MDEVS[0]);
        if let Some(features) = features {
            launch.plugin = Some(plugin_for(find_plugin(None)?, &socket, features));
        }
        launch.extra_files = vec![ExtraFile {
            path: "extra/crt".into(),
            bytes: workload::one_crt(bits)?.to_bytes(),
            mode: 0o644,
        }];
        Ok(BenchGuest(GuestConsole::boot(&launch, BOOT)?))
    }

    /// The release of the guests' QEMU.
    pub(super) fn qemu(&self) -> String {
        self.image.qemu.version().to_string()
    }

    /// One line of the result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        self.stage.say(line)
    }
}

/// A guest that has booted.
pub(super) struct BenchGuest(GuestConsole);

impl BenchGuest {
    /// Requests per second through the queue, `requesters` at a time.
    ///
    /// # Errors
    /// When the guest does not do it.
    pub(super) fn rate(&mut self, requesters: u32) -> Result<f64> {
        let said = self.run(&format!(
            "apclient bench /extra/crt --seconds {SECONDS} --requesters {requesters}"
        ))?;
        number_behind(&said, "per-second").context("apclient printed no rate")
    }

    /// Has the guest look at its queues every so many nanoseconds, when it has no adapter interruptions.
    ///
    /// # Errors
    /// When the guest does not do it.
    pub(super) fn poll_every(&mut self, nanoseconds: u32) -> Result<&mut Self> {
        self.run(&format!("echo {nanoseconds} > /sys/bus/ap/poll_timeout"))?;
        Ok(self)
    }

    /// RSA-2048 CRT operations per second of the guest's own software.
    ///
    /// # Errors
    /// When the guest does not do it.
    pub(super) fn software_rate(&mut self) -> Result<f64> {
        // Without nocex the guest's OpenSSL finds the card by itself.
        let said = self.run(&format!(
            "OPENSSL_s390xcap=nocex openssl speed -elapsed -seconds {SECONDS} rsa2048 2>/dev/null"
        ))?;
        private_rate(&said, 2048).context("openssl speed printed no rate")
    }

    /// What a command prints that ends well.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn run(&mut self, command: &str) -> Result<String> {
        self.0.run(command, COMMAND)?.success()
    }

    /// Ends the guest.
    ///
    /// # Errors
    /// When it does not end by itself.
    pub(super) fn power_off(self) -> Result<()> {
        self.0.power_off(COMMAND)?;
        Ok(())
    }
}

fn number_behind(text: &str, word: &str) -> Option<f64> {
    text.split_whitespace()
        .skip_while(|found| *found != word)
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_stands_behind_its_name() {
        let said = "ops 1047 seconds 3.883 per-second 269.6\n0";
        assert_eq!(number_behind(said, "per-second"), Some(269.6));
        assert_eq!(number_behind(said, "nothing"), None);
    }
}
