//! Documents that are generated from the program's tables, and whether the committed ones are current.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sh::{cargo, root, run as sh, say};

/// What is generated, below `docs/`. A folder belongs to the generator alone.
const FOLDERS: &[&str] = &["man", "completions"];
const FILES: &[&str] = &["sysfs.md"];

/// Writes them.
///
/// # Errors
/// When the generator fails.
pub(crate) fn write() -> Result<()> {
    for folder in FOLDERS {
        let folder = docs().join(folder);
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    generate(&docs())
}

/// Compares the committed ones with fresh ones.
///
/// # Errors
/// When one is missing, stale or left over; each is named.
pub(crate) fn check() -> Result<()> {
    let fresh = root().join("target/generated");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    generate(&fresh)?;
    let (committed, fresh) = (contents(&docs())?, contents(&fresh)?);
    let breaches = differences(&committed, &fresh);
    for breach in &breaches {
        say(&format!("generate: {breach}"));
    }
    if !breaches.is_empty() {
        bail!("generated documents are not current; run 'cargo xtask generate' and commit");
    }
    say("generate: the generated documents are current");
    Ok(())
}

fn docs() -> PathBuf {
    root().join("docs")
}

fn generate(into: &Path) -> Result<()> {
    sh(cargo(&[
        "run",
        "--quiet",
        "-p",
        "apmatrix",
        "--example",
        "generate",
        "--",
    ])
    .arg(into))
}

/// The generated files below a folder.
fn contents(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut names: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    for folder in FOLDERS {
        for entry in fs::read_dir(dir.join(folder)).into_iter().flatten() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.push(format!("{folder}/{name}"));
        }
    }
    let mut contents = BTreeMap::new();
    for name in names {
        let path = dir.join(&name);
        if path.exists() {
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            contents.insert(name, text);
        }
    }
    Ok(contents)
}

fn differences(
    committed: &BTreeMap<String, Vec<u8>>,
    fresh: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, text) in fresh {
        match committed.get(name) {
            None => breaches.push(format!("docs/{name} is missing")),
            Some(old) if old != text => breaches.push(format!("docs/{name} is stale")),
            Some(_) => {}
        }
    }
    let left = committed.keys().filter(|name| !fresh.contains_key(*name));
    breaches.extend(left.map(|name| format!("docs/{name} is generated no more")));
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_missing_and_left_over_files_are_named() {
        let files = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
                .collect::<BTreeMap<_, _>>()
        };
        let committed = files(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let fresh = files(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(
            differences(&committed, &fresh),
            [
                "docs/b is stale",
                "docs/d is missing",
                "docs/c is generated no more"
            ]
        );
    }
}
