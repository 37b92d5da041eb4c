//! Fuzzing with cargo-fuzz. It needs a nightly toolchain, so `fuzz` is a workspace of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{root, run as sh, say, target_dir};

/// How long each target runs when nothing is said.
const SECONDS: u32 = 30;

/// Runs one target, or all of them, for so many seconds each, so many at a time:
/// `[--seconds N] [--jobs N] [TARGET]`.
///
/// # Errors
/// When the arguments are wrong, cargo-fuzz cannot be had, or a target fails; the input is then below
/// `fuzz/artifacts`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let plan = Plan::parse(arguments)?;
    let known = targets()?;
    let chosen: Vec<&String> = known
        .iter()
        .filter(|target| plan.wanted.is_none_or(|wanted| wanted == target.as_str()))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "there is no such target; there are: {}",
        known.join(", ")
    );
    let cargo_fuzz = cargo_fuzz()?;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(|| {
                while let Some(target) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = fuzz(&cargo_fuzz, target, &plan) {
                        say(&format!("fuzz: {target} FAILED: {error:#}"));
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(target.as_str());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!(
            "failed: {} (inputs are below fuzz/artifacts; a fix commits its input to fuzz/corpus/TARGET)",
            failed.join(", ")
        );
    }
    say("fuzz: no target failed");
    Ok(())
}

/// Runs one target. Where several run at a time, each writes what it says to a file.
fn fuzz(cargo_fuzz: &Path, target: &str, plan: &Plan<'_>) -> Result<()> {
    // What is found goes below target/; what is worth keeping is committed by hand.
    let found = target_dir().join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found)?;
    let mut command = nightly(cargo_fuzz);
    command
        .args(["fuzz", "run", "--fuzz-dir"])
        .arg(root().join("fuzz"))
        .arg("--target-dir")
        .arg(target_dir().join("fuzz"))
        .arg(target)
        .arg(&found)
        .arg(root().join("fuzz/corpus").join(target))
        .arg("--")
        .arg(format!("-max_total_time={}", plan.seconds))
        // Nothing that is read here is longer than a page, or two. The slowest seed takes a second, and
        // several on a busy machine.
        .args(["-max_len=8192", "-timeout=30", "-print_final_stats=1"]);
    if plan.jobs == 1 {
        return sh(&mut command);
    }
    let log = found.with_extension("log");
    let file = std::fs::File::create(&log)?;
    command.stdout(file.try_clone()?).stderr(file);
    sh(&mut command).with_context(|| format!("see {}", log.display()))
}

/// What to run.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    seconds: u32,
    jobs: usize,
    wanted: Option<&'a str>,
}

impl<'a> Plan<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut plan = Self {
            seconds: SECONDS,
            jobs: 1,
            wanted: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match (*word, plan.wanted) {
                ("--seconds", _) => plan.seconds = number(words.next())?,
                ("--jobs", _) => plan.jobs = number(words.next())?,
                (target, None) if !target.starts_with('-') => plan.wanted = Some(target),
                _ => bail!("usage: cargo xtask fuzz [--seconds N] [--jobs N] [TARGET]"),
            }
        }
        ensure!(plan.jobs > 0, "--jobs takes a number from 1");
        Ok(plan)
    }
}

fn number<T: std::str::FromStr>(word: Option<&&str>) -> Result<T> {
    word.and_then(|word| word.parse().ok())
        .context("--seconds and --jobs take a number")
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

/// Whether there is a nightly toolchain.
pub(crate) fn is_possible() -> bool {
    nightly(Path::new("rustc"))
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// cargo-fuzz: the installed one, else it is installed below the target directory.
fn cargo_fuzz() -> Result<PathBuf> {
    ensure!(
        is_possible(),
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
