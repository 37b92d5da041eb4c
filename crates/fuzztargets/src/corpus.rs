//! Replaying a corpus in an ordinary test.

use std::fs;
use std::path::{Path, PathBuf};

/// The committed corpus of a target.
#[must_use]
pub fn folder(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("fuzz/corpus").join(target)
}

/// Gives every file of a target's corpus to `run`; how many there were.
///
/// # Panics
/// When the corpus is missing or empty, or an input fails.
pub fn replay(target: &str, run: impl Fn(&[u8])) -> usize {
    let folder = folder(target);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| unreachable!("{} is committed: {error}", folder.display()));
    let mut inputs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in &inputs {
        let bytes = fs::read(input)
            .unwrap_or_else(|error| unreachable!("{} is a file: {error}", input.display()));
        let finished = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&bytes)));
        assert!(finished.is_ok(), "{} fails", input.display());
    }
    inputs.len()
}
