//! The program `openssl`: what `openssl speed` measures.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::image::find_program;

/// The host's `openssl`.
#[derive(Debug)]
pub(super) struct OpensslProgram {
    command: std::path::PathBuf,
}

impl OpensslProgram {
    /// The program on the path, if there is one.
    pub(super) fn find() -> Option<Self> {
        find_program("openssl").map(|command| Self { command })
    }

    /// What it says about its version.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn version(&self) -> Result<String> {
        self.run(&["version"])
    }

    /// Private operations (CRT) per second of CPU time with an RSA key of `bits`, on the core of the
    /// calling thread if that is pinned to one.
    ///
    /// # Errors
    /// When it does not run or prints no rate.
    pub(super) fn private_rate(&self, bits: u32, seconds: u32) -> Result<f64> {
        let (seconds, size) = (seconds.to_string(), format!("rsa{bits}"));
        let said = self.run(&["speed", "-seconds", &seconds, &size])?;
        private_rate(&said, bits).context("openssl speed printed no rate")
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.command)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot start openssl")?;
        ensure!(output.status.success(), "openssl ended with {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// `rsa 2048 bits 0.007353s 0.000190s    136.0   5263.2`: the last number but one (OpenSSL 3.0 and
/// 3.1), or the first rate of the four that newer ones print.
pub(super) fn private_rate(text: &str, bits: u32) -> Option<f64> {
    let bits = bits.to_string();
    let line = text
        .lines()
        .find(|line| line.starts_with("rsa") && line.contains(&bits))?;
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
        assert_eq!(private_rate(old, 2048), Some(136.0));
        assert_eq!(private_rate(old, 4096), None);
        let new = "                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s\n\
                   rsa  2048 bits 0.007246s 0.000207s 0.000227s 0.007519s    138.0   4821.0   4411.2    133.0\n";
        assert_eq!(private_rate(new, 2048), Some(138.0));
    }
}
