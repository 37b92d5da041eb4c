//! Which crate may know which, from `cargo metadata`.

use std::collections::BTreeMap;

use super::metadata::Metadata;

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
        &[
            "arch", "cex", "device", "guest", "machine", "matrix", "sysfs",
        ],
    ),
    ("xtask", &[]),
];

/// Libraries that only these crates may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("openssl", &["cex"]),
    ("fuser", &["apmatrix"]),
    ("rsa", &[]),
];

/// Every import of our crates that the tables do not allow.
pub(super) fn breaches(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut breaches = Vec::new();
    for package in metadata
        .packages()
        .filter(|package| super::metadata::is_ours(package))
    {
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
    breaches
}
