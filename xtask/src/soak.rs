//! The soak test alone, for as long as one likes.

use anyhow::Result;

use crate::sh::{cargo, run as sh};
use crate::test::{cache, open_fuse_to_everybody};

/// How long a nightly run soaks.
pub(crate) const LONG_SECONDS: u32 = 600;
/// What tells the test how long it takes.
pub(crate) const SECONDS_VARIABLE: &str = "APMATRIX_SOAK_SECONDS";

/// Runs it on the release program.
///
/// # Errors
/// When a request is lost or wrong, or memory grows.
pub(crate) fn run(seconds: u32) -> Result<()> {
    open_fuse_to_everybody();
    sh(cargo(&[
        "test",
        "--release",
        "-p",
        "apmatrix",
        "--test",
        "e2e",
        "--",
        "soak::",
        "--nocapture",
    ])
    .env("APMATRIX_TEST_CACHE", cache())
    .env("APMATRIX_TIER_MOUNT", "1")
    .env(SECONDS_VARIABLE, seconds.to_string()))
}
