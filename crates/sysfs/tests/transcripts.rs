//! Every recorded transcript, and what the project observed itself, replayed in process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

mod common;

use conformance::{Verdict, parse, run_case};

#[test]
fn all_recorded_transcripts_pass() {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (file, text) in conformance::RECORDED.iter().chain(conformance::OBSERVED) {
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
        failures.is_empty(),
        "{passed} passed, {} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}
