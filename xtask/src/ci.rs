//! What must hold before a change lands, cheap checks first.

use anyhow::Result;

use crate::sh::{cargo, run as sh, say};
use crate::{generate, modexp, test, tidy};

/// Format, invariants, lints, documentation, generated documents, then all tests.
pub(crate) fn run() -> Result<()> {
    sh(&mut cargo(&["fmt", "--all", "--check"]))?;
    modexp::format()?;
    tidy::run()?;
    sh(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    sh(cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])
    .env("RUSTDOCFLAGS", "-D warnings"))?;
    generate::check()?;
    test::run(test::Length::Short)?;
    say("ci: everything passed");
    Ok(())
}
