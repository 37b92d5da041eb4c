//! One directory that shows two trees: the host's, with ours on top.
//!
//! A directory that only one side has is bound whole, so what appears in it later is seen. A
//! directory that both have is re-created on a tmpfs and merged entry by entry; our entry wins over
//! a host entry of the same name. Symbolic links are copied verbatim: those of sysfs are relative and
//! resolve inside the merged tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::bind;

/// Builds the union of `host` and `ours` in the existing, empty, writable directory `target`.
///
/// # Errors
/// When a directory cannot be read or an entry cannot be made.
pub(super) fn graft(host: &Path, ours: &Path, target: &Path) -> Result<()> {
    for (name, (host, ours)) in entries(host, ours)? {
        let target = target.join(name);
        match (host, ours) {
            (Some(host), Some(ours)) if is_dir(&host) && is_dir(&ours) && !is_empty(&host) => {
                fs::create_dir(&target)?;
                graft(&host, &ours, &target)?;
            }
            (_, Some(source)) | (Some(source), None) => {
                place(&source, &target)
                    .with_context(|| format!("cannot show {}", source.display()))?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// Shows `source` at the absolute path `target`, as `bind` does; where there is no such directory,
/// its parent is grafted. `scratch` is a directory on a tmpfs.
///
/// # Errors
/// When the directories cannot be made or shown.
pub(super) fn show(source: &Path, target: &Path, scratch: &Path) -> Result<()> {
    if !target.is_dir() {
        let (parent, name) = target
            .parent()
            .zip(target.file_name())
            .with_context(|| format!("{} is no directory's name", target.display()))?;
        let scratch = scratch.join(name);
        let (extra, merged) = (scratch.join("extra"), scratch.join("merged"));
        fs::create_dir_all(extra.join(name))?;
        fs::create_dir(&merged)?;
        graft(parent, &extra, &merged)?;
        bind(&merged, parent)?;
    }
    bind(source, target)
}

type Pair = (Option<PathBuf>, Option<PathBuf>);

fn entries(host: &Path, ours: &Path) -> Result<BTreeMap<std::ffi::OsString, Pair>> {
    let mut pairs: BTreeMap<_, Pair> = BTreeMap::new();
    for entry in read_dir(host)? {
        pairs.entry(entry.file_name()).or_default().0 = Some(entry.path());
    }
    for entry in read_dir(ours)? {
        pairs.entry(entry.file_name()).or_default().1 = Some(entry.path());
    }
    Ok(pairs)
}

fn read_dir(dir: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot list {}", dir.display()))
}

fn place(source: &Path, target: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(source)?, target)?;
        return Ok(());
    }
    if kind.is_dir() {
        fs::create_dir(target)?;
    } else {
        fs::write(target, "")?;
    }
    bind(source, target)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
