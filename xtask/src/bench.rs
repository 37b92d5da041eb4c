//! Measurements. Each prints ratios against something else of the same run, because machines are
//! noisy; those with goals fail when one is missed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::modexp;
use crate::sh::{cargo, run as sh};
use crate::test::{cache, program};

/// Runs one measurement.
///
/// # Errors
/// When the name is unknown or the measurement fails.
pub(crate) fn run(name: &str) -> Result<()> {
    match name {
        "admin" => admin(),
        "data-path" => data_path(),
        "guest-rsa" => guest_rsa(),
        "latency" => latency(),
        "modexp" => modexp::measure(),
        _ => bail!(
            "there is no benchmark {name}; there are: admin, data-path, guest-rsa, latency, modexp"
        ),
    }
}

/// Attributes through a mounted tree, 10,000 mediated devices, memory of an idle daemon.
fn admin() -> Result<()> {
    sh(&mut cargo(&["build", "--release"]))?;
    sh(Command::new(program()).args(["bench", "admin"]))
}

/// Requests from guests to cards, beside OpenSSL, sockets and each other.
fn data_path() -> Result<()> {
    sh(&mut cargo(&["build", "--release"]))?;
    sh(Command::new(program())
        .args(["bench", "data-path"])
        .env("APMATRIX_IMAGE_DIR", cache().join("image")))
}

/// How long a request takes in a Linux guest that polls, and in one with adapter interruptions.
fn latency() -> Result<()> {
    sh(&mut cargo(&["build", "--release"]))?;
    sh(Command::new(program())
        .args(["bench", "latency"])
        .env("APMATRIX_IMAGE_DIR", cache().join("image")))
}

/// RSA-2048 CRT per second in a Linux guest through the accelerator, beside the guest's own software.
fn guest_rsa() -> Result<()> {
    sh(&mut cargo(&["build", "--release"]))?;
    sh(Command::new(program())
        .args(["bench", "guest-rsa"])
        .env("APMATRIX_IMAGE_DIR", cache().join("image")))
}
