//! Where `unsafe` may stand, how long a file may be, what no file may hold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sh::root;

/// Crates without I/O, threads, clock and `unsafe`.
const PURE: &[&str] = &[
    "arch",
    "cex",
    "machine",
    "bus",
    "matrix",
    "sysfs",
    "conformance",
];

/// The only crates that may contain `unsafe`.
const UNSAFE: &[&str] = &["device", "qemu"];

/// A file's longest, without its tests.
const MAX_LINES: usize = 800;

/// Every breach in our own sources.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn breaches() -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for path in rust_files(&root())? {
        let text = fs::read_to_string(&path)?;
        let shown = path
            .strip_prefix(root())
            .unwrap_or(&path)
            .display()
            .to_string();
        let code = text.split("\n#[cfg(test)]").next().unwrap_or(&text);
        if code.lines().count() > MAX_LINES {
            breaches.push(format!(
                "{shown} has more than {MAX_LINES} lines without its tests"
            ));
        }
        if !text.is_ascii() {
            breaches.push(format!("{shown} is not ASCII"));
        }
        if ["#[ignore", "todo!("]
            .iter()
            .any(|word| text.contains(word))
            && !shown.starts_with("xtask")
        {
            breaches.push(format!("{shown} ignores a test or leaves something to do"));
        }
        breaches.extend(unsafe_breach(&shown, &text));
    }
    for name in PURE {
        let lib = fs::read_to_string(root().join("crates").join(name).join("src/lib.rs"))?;
        if !lib.contains("#![forbid(unsafe_code)]") {
            breaches.push(format!("{name} must forbid unsafe code"));
        }
    }
    Ok(breaches)
}

fn unsafe_breach(shown: &str, text: &str) -> Option<String> {
    let owner = shown.strip_prefix("crates/")?.split('/').next()?;
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let has_unsafe = text.lines().filter(|line| is_code(line)).any(|line| {
        line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl")
    });
    (has_unsafe && !UNSAFE.contains(&owner)).then(|| format!("{shown} contains unsafe code"))
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(rust_files(&path)?);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
