//! Any Debian packages unpacked as a root of their own: what the tests run as real tools.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::host::{Layout, fetch, open};
use super::store::Store;

/// Which packages, of which release and architecture.
#[derive(Debug, Clone, Default)]
pub struct PackageSet {
    /// The release's name.
    pub suite: String,
    /// Debian's name of the architecture; the host's if there is none.
    pub arch: Option<String>,
    /// Packages that come with everything they need.
    pub packages: Vec<String>,
    /// Packages that come alone.
    pub alone: Vec<String>,
    /// What is needed by name only.
    pub skip: Vec<String>,
}

impl PackageSet {
    /// Makes `out` a link to a root with these packages, downloaded if they are not there yet.
    ///
    /// Nothing is installed: no script of a package runs, and no root is needed. A finished set is
    /// returned without a word and without the network.
    ///
    /// # Errors
    /// When apt, its mirror or one of the packages is missing.
    pub fn unpack(&self, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let name = out.file_name().and_then(|name| name.to_str());
        let name = name.context("the output has no name")?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let store = Store::new(parent.unwrap_or_else(|| Path::new(".")))?;
        let recipe = format!("{self:?}");
        let root = match store.part(name, &[&recipe]) {
            Some(root) => root,
            None => {
                let builder = store.lock(progress)?;
                builder.part(name, &[&recipe], |root| {
                    let layout = Layout::of_host()?;
                    let arch = self.arch.as_deref().unwrap_or_else(|| layout.arch());
                    let suite = self.suite.as_str();
                    progress(&format!(
                        "fetching package lists of Debian {suite} ({arch})"
                    ));
                    let apt = open(&builder, &Archive::from_host()?, arch, &[suite])?;
                    let mut found = Vec::new();
                    if !self.packages.is_empty() {
                        let names: Vec<&str> = self.packages.iter().map(String::as_str).collect();
                        let skipped = |name: &str| self.skip.iter().any(|skip| skip == name);
                        found = apt.resolve(&names, None, &skipped)?;
                    }
                    for package in &self.alone {
                        found.push(apt.single(package)?);
                    }
                    fetch(&apt, &found, root, name, progress)
                })?
            }
        };
        point(out, &root)?;
        Ok(root)
    }
}

/// A command that runs `program`, a path inside `root`, by the root's own loader and libraries.
///
/// # Errors
/// When the layout of this host's architecture is not known.
pub fn command_in(root: &Path, program: &str) -> Result<Command> {
    Ok(Layout::of_host()?.command(root, root.join(program)))
}

/// Makes `link` lead to its neighbour `root`, in one step.
fn point(link: &Path, root: &Path) -> Result<()> {
    let target = root.file_name().context("the root has no name")?;
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let fresh = link.with_extension("new");
    drop(fs::remove_file(&fresh));
    symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .with_context(|| format!("cannot make the link {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_follows_the_newest_root() {
        let dir = std::env::temp_dir().join(format!("apmatrix-point-{}", std::process::id()));
        for root in ["set-1", "set-2"] {
            fs::create_dir_all(dir.join(root)).unwrap();
            point(&dir.join("set"), &dir.join(root)).unwrap();
            point(&dir.join("set"), &dir.join(root)).unwrap();
            assert_eq!(fs::read_link(dir.join("set")).unwrap(), Path::new(root));
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
