//! Fuzzing with cargo-fuzz. It needs a nightly toolchain, so `fuzz` is a workspace of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{root, run as sh, say, target_dir};

/// How long each target runs when nothing is said.
const SECONDS: u32 = 30;

/// Runs one target, or all of them, for so many seconds each: `[--seconds N] [TARGET]`.
///
/// # Errors
/// When the arguments are wrong, cargo-fuzz cannot be had, or a target fails; the input is then below
/// `fuzz/artifacts`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (seconds, wanted) = parse(arguments)?;
    let known = targets()?;
    let chosen: Vec<&String> = known
        .iter()
        .filter(|target| wanted.is_none_or(|wanted| wanted == target.as_str()))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "there is no such target; there are: {}",
        known.join(", ")
    );
    let cargo_fuzz = cargo_fuzz()?;
    let mut failed = Vec::new();
    for target in chosen {
        // What is found goes below target/; what is worth keeping is committed by hand.
        let found = target_dir().join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found)?;
        let done = sh(nightly(&cargo_fuzz)
            .args(["fuzz", "run", "--fuzz-dir"])
            .arg(root().join("fuzz"))
            .arg("--target-dir")
            .arg(target_dir().join("fuzz"))
            .arg(target)
            .arg(&found)
            .arg(root().join("fuzz/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            // Nothing that is read here is longer than a page, or two.
            .args(["-max_len=8192", "-timeout=10", "-print_final_stats=1"]));
        if let Err(error) = done {
            say(&format!("fuzz: {target} FAILED: {error:#}"));
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "failed: {} (inputs are below fuzz/artifacts; a fix commits its input to fuzz/corpus/TARGET)",
            failed.join(", ")
        );
    }
    say("fuzz: no target failed");
    Ok(())
}

fn parse<'a>(arguments: &[&'a str]) -> Result<(u32, Option<&'a str>)> {
    Ok(match arguments {
        [] => (SECONDS, None),
        ["--seconds", seconds] => (seconds.parse()?, None),
        ["--seconds", seconds, target] | [target, "--seconds", seconds] => {
            (seconds.parse()?, Some(target))
        }
        [target] if !target.starts_with('-') => (SECONDS, Some(target)),
        _ => bail!("usage: cargo xtask fuzz [--seconds N] [TARGET]"),
    })
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A program of, or run with, the nightly toolchain.
fn nightly(program: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program);
    // Cargo told us which cargo started us; that one is not nightly's.
    command.env_remove("CARGO").env_remove("RUSTC");
    command.current_dir(root());
    command
}

/// cargo-fuzz: the installed one, else it is installed below the target directory.
fn cargo_fuzz() -> Result<PathBuf> {
    let has_nightly = nightly(Path::new("rustc"))
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    ensure!(
        has_nightly,
        "fuzzing needs a nightly toolchain (rustup toolchain install nightly); the corpora are also \
         replayed by cargo xtask test"
    );
    let tools = target_dir().join("tools");
    let own = tools.join("bin/cargo-fuzz");
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("cargo-fuzz"))
            .find(|program| program.exists())
    });
    if let Some(found) = on_path.or_else(|| own.exists().then(|| own.clone())) {
        return Ok(found);
    }
    sh(nightly(Path::new("cargo"))
        .args(["install", "cargo-fuzz", "--locked", "--root"])
        .arg(&tools))
    .context("cargo-fuzz cannot be installed; the corpora are also replayed by cargo xtask test")?;
    Ok(own)
}
