//! The comparison of libraries for modular exponentiation: `modexp`, a workspace of its own, because it
//! builds libraries that are no part of the product, for minutes.

use std::process::Command;

use anyhow::Result;

use crate::sh::{cargo, run as sh, target_dir};

/// All sizes and operations by every library.
///
/// # Errors
/// When it cannot be built, or a library computes something else than the others.
pub(crate) fn measure() -> Result<()> {
    sh(modexp(&["run", "--release", "--locked"]).arg("--quiet"))
}

/// Formatting, which needs nothing built.
///
/// # Errors
/// When a file is formatted differently.
pub(crate) fn format() -> Result<()> {
    sh(cargo(&["fmt", "--check", "--manifest-path"]).arg(MANIFEST))
}

/// Lints and tests, which do each operation once. In the release profile, so that the libraries are built
/// once for both and for [`measure`].
///
/// # Errors
/// When there is a warning, or a test fails.
pub(crate) fn check() -> Result<()> {
    sh(
        modexp(&["clippy", "--release", "--locked", "--all-targets"])
            .args(["--", "-D", "warnings"]),
    )?;
    sh(&mut modexp(&["test", "--release", "--locked"]))
}

/// Below the root folder.
const MANIFEST: &str = "modexp/Cargo.toml";

fn modexp(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command
        .args(["--manifest-path", MANIFEST, "--target-dir"])
        .arg(target_dir().join("modexp"));
    command
}
