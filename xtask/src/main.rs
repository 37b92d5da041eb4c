//! Project tasks.
//!
//! | command | does |
//! |---|---|
//! | `cargo xtask ci` | everything that must hold before a change lands |
//! | `cargo xtask test [--nightly]` | all tests; fetches what the bigger tiers need under `target/` |
//! | `cargo xtask generate [--check]` | man pages, completions and the tree's reference in `docs/`; with `--check` only compares |
//! | `cargo xtask bench NAME` | measurements that print ratios, or fail when a goal is missed |
//! | `cargo xtask soak [--seconds N]` | guests, faults, resets and administration at random, for ten minutes or N seconds |
//! | `cargo xtask fuzz [--seconds N] [--jobs N] [TARGET]` | fuzzing with cargo-fuzz and a nightly toolchain |
//! | `cargo xtask tidy` | the architecture's invariants, from `cargo metadata` and the files |

mod bench;
mod ci;
mod fuzz;
mod generate;
mod modexp;
mod roots;
mod sh;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask ci | test [--nightly] | bench NAME | \
                     soak [--seconds N] | fuzz [--seconds N] [--jobs N] [TARGET] | generate [--check] | tidy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sh::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    match words {
        ["ci"] => ci::run(),
        ["test"] => test::run(test::Length::Short),
        ["test", "--nightly"] => test::run(test::Length::Nightly),
        ["bench", name] => bench::run(name),
        ["generate"] => generate::write(),
        ["generate", "--check"] => generate::check(),
        ["soak"] => soak::run(soak::LONG_SECONDS),
        ["soak", "--seconds", seconds] => soak::run(seconds.parse().context("--seconds N")?),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["tidy"] => tidy::run(),
        _ => bail!("{USAGE}"),
    }
}
