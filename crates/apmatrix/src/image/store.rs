//! The cache: finished parts under names that say what is in them.
//!
//! A part is built in a temporary directory and renamed when it is complete, so a directory that
//! exists is finished: neither an interrupted download nor a second builder can leave half of one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// Two versions of the program may take turns, as with two source trees of a developer.
const KEEP_OTHERS: Duration = Duration::from_secs(14 * 24 * 3600);
const TEMPORARY: &str = ".building";

/// The cache directory, readable by anyone, written only under [`Store::lock`].
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

/// Proof that this process alone builds in the cache.
#[derive(Debug)]
pub(super) struct Builder {
    store: Store,
    /// Holding the file open is holding the lock.
    _lock: File,
}

impl Store {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot create the image directory {}", dir.display()))?;
        // Programs are started from here with other working directories: only a full path will do.
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find the image directory {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The finished part `name` built from `recipe`, if it is there.
    pub(super) fn part(&self, name: &str, recipe: &[&str]) -> Option<PathBuf> {
        let path = self.path(name, recipe);
        path.is_dir().then_some(path)
    }

    fn path(&self, name: &str, recipe: &[&str]) -> PathBuf {
        self.dir
            .join(format!("{name}-{:016x}", fingerprint(recipe)))
    }

    /// Removes what other versions of this program built as `name`, unless they are young enough to
    /// be in use. Best effort: an old part does no harm.
    fn forget_old(&self, name: &str, current: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let is_version = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'))
                .is_some_and(|key| u64::from_str_radix(key, 16).is_ok());
            let age = entry
                .metadata()
                .and_then(|m| m.modified())
                .map(|time| time.elapsed());
            let is_old = matches!(age, Ok(Ok(age)) if age > KEEP_OTHERS);
            if is_version && is_old && entry.path() != current {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }

    /// Waits for other builders, then clears what a killed one left behind.
    pub(super) fn lock(&self, progress: &mut dyn FnMut(&str)) -> Result<Builder> {
        let path = self.dir.join("lock");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            progress("waiting for another builder of the guest image");
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        let builder = Builder {
            store: self.clone(),
            _lock: file,
        };
        builder.clear()?;
        Ok(builder)
    }
}

impl Builder {
    /// A directory for things that nobody keeps.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.store.dir.join(TEMPORARY).join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The part `name`, built by `build` in the directory it is given unless it is there already.
    pub(super) fn part(
        &self,
        name: &str,
        recipe: &[&str],
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.store.path(name, recipe);
        if path.is_dir() {
            return Ok(path);
        }
        let temporary = self.scratch(&format!("part-{name}"))?;
        build(&temporary)?;
        fs::rename(&temporary, &path)
            .with_context(|| format!("cannot put the finished {name} at {}", path.display()))?;
        self.store.forget_old(name, &path);
        Ok(path)
    }

    fn clear(&self) -> Result<()> {
        let path = self.store.dir.join(TEMPORARY);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot clear {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        // Best effort: the next builder clears again before it starts.
        drop(self.clear());
    }
}

/// FNV-1a with the parts kept apart; it names versions of our own inputs, nothing hostile.
fn fingerprint(recipe: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in recipe {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("apmatrix-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        dir
    }

    #[test]
    fn a_failed_build_is_not_a_part_and_a_finished_one_is_not_built_again() {
        let dir = temporary("store");
        let store = Store::new(&dir).unwrap();
        let builder = store.lock(&mut |_| ()).unwrap();
        builder
            .part("x", &["1"], |_| anyhow::bail!("no network"))
            .unwrap_err();
        assert_eq!(store.part("x", &["1"]), None);
        let built = builder
            .part("x", &["1"], |d| Ok(fs::write(d.join("f"), "ok")?))
            .unwrap();
        assert_eq!(store.part("x", &["1"]), Some(built.clone()));
        let again = builder
            .part("x", &["1"], |_| anyhow::bail!("built twice"))
            .unwrap();
        assert_eq!(again, built);
        assert_eq!(store.part("x", &["2"]), None);
        drop(builder);
        assert!(!dir.join(TEMPORARY).exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn recipes_are_told_apart() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
