//! The architecture's invariants: which crate may know which, where `unsafe` may stand, how long a
//! file may be. ARCHITECTURE.md says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh::{cargo, root, say};

/// Which of our crates each crate may import (normal dependencies). Arrows point down only.
const IMPORTS: &[(&str, &[&str])] = &[
    ("arch", &[]),
    ("cex", &["arch"]),
    ("machine", &["arch", "cex"]),
    ("bus", &["arch"]),
    ("matrix", &["arch", "bus"]),
    ("sysfs", &["arch", "bus", "matrix"]),
    ("conformance", &["arch"]),
    ("device", &["arch"]),
    ("guest", &["arch", "bus", "device"]),
    ("qemu", &["arch", "device"]),
    (
        "apmatrix",
        &[
            "arch",
            "bus",
            "cex",
            "conformance",
            "device",
            "guest",
            "machine",
            "matrix",
            "sysfs",
        ],
    ),
    ("testkit", &["arch"]),
    // Only tests and fuzzing use it, so it may know every library that reads bytes of others.
    (
        "fuzztargets",
        &["arch", "device", "machine", "matrix", "sysfs"],
    ),
    ("xtask", &[]),
];

/// Libraries that only these crates may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("openssl", &["cex", "testkit"]),
    ("fuser", &["apmatrix"]),
    ("rsa", &[]),
];

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

/// Checks everything.
///
/// # Errors
/// When a rule is broken; each breach is printed.
pub(crate) fn run() -> Result<()> {
    let mut breaches = imports()?;
    breaches.extend(sources()?);
    for breach in &breaches {
        say(&format!("tidy: {breach}"));
    }
    if !breaches.is_empty() {
        bail!("{} architecture invariants are broken", breaches.len());
    }
    say("tidy: the architecture's invariants hold");
    Ok(())
}

fn imports() -> Result<Vec<String>> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            breaches.push(format!("crate {name} has no row in xtask's import table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_normal = dependency["kind"].is_null();
            if is_normal && allowed.contains_key(target) && !may.contains(&target) {
                breaches.push(format!("{name} must not import {target}"));
            }
            if let Some((_, holders)) = RESERVED.iter().find(|(library, _)| *library == target)
                && !holders.contains(&name)
            {
                breaches.push(format!("{name} must not name {target}"));
            }
        }
    }
    Ok(breaches)
}

fn sources() -> Result<Vec<String>> {
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
