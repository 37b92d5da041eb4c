//! Every recorded transcript, and what the project observed itself, replayed in process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

mod common;

use conformance::{Verdict, parse, run_case};

/// Replays every case of some files; all must pass.
fn replay<'a>(files: impl IntoIterator<Item = &'a (&'a str, &'a str)>) {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (file, text) in files {
        for case in parse(file, text).unwrap() {
            match run_case(&case, &mut common::InProcess::default()) {
                Verdict::Passed => passed += 1,
                Verdict::Failed(difference) => {
                    failures.push(format!("{file} {}: {difference}", case.name));
                }
            }
        }
    }
    println!("{passed} passed, {} failed", failures.len());
    assert!(
        failures.is_empty() && passed > 0,
        "{passed} passed, {} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn all_recorded_transcripts_pass() {
    replay(conformance::RECORDED.iter().chain(conformance::OBSERVED));
}

/// What nobody recorded: neighbours of the recordings, with the answers that the rules give.
#[test]
fn the_rules_hold_beside_the_recordings() {
    replay(&[("rules", include_str!("rules.transcript"))]);
}
