//! Reading and writing attributes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arch::Errno;

use super::Mdev;

/// A sysfs tree with an AP bus in it.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

/// An attribute that refused what was written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: writing {text:?} was refused with {}", describe(.source))]
pub struct Refused {
    /// The attribute, below the tree's root.
    pub path: String,
    /// What was written.
    pub text: String,
    /// The answer of write(2) or open(2).
    pub source: io::Error,
}

fn describe(error: &io::Error) -> String {
    error
        .raw_os_error()
        .and_then(Errno::from_raw)
        .map_or_else(|| error.to_string(), |e| e.to_string())
}

/// Type of the passthrough mediated devices.
pub(super) const TYPE_DIR: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough";

impl Tree {
    /// The tree at `root`.
    ///
    /// # Errors
    /// When there is no AP bus in it.
    pub fn open(root: &Path) -> Result<Self> {
        ensure!(
            root.join("bus/ap").is_dir(),
            "{} is not a sysfs tree with an AP bus (no bus/ap in it)",
            root.display()
        );
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// The path of an attribute.
    #[must_use]
    pub fn path(&self, attribute: &str) -> PathBuf {
        self.root.join(attribute)
    }

    /// What an attribute reads, without its trailing newline.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, attribute: &str) -> Result<String> {
        let path = self.path(attribute);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// The lines that an attribute reads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lines(&self, attribute: &str) -> Result<Vec<String>> {
        Ok(self
            .read(attribute)?
            .lines()
            .map(ToOwned::to_owned)
            .collect())
    }

    /// Writes `text` to an attribute with one write(2).
    ///
    /// # Errors
    /// [`Refused`] with the errno that the tree answered.
    pub fn write(&self, attribute: &str, text: &str) -> Result<(), Refused> {
        let attempt = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).open(self.path(attribute))?;
            let written = file.write(text.as_bytes())?;
            if written == text.len() {
                Ok(())
            } else {
                Err(io::ErrorKind::WriteZero.into())
            }
        };
        attempt().map_err(|source| Refused {
            path: attribute.to_owned(),
            text: text.to_owned(),
            source,
        })
    }

    /// Names in a directory, sorted; a missing directory has none.
    #[must_use]
    pub fn names(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(dir))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The last component of a symbolic link, such as the driver's name.
    #[must_use]
    pub fn link_name(&self, link: &str) -> Option<String> {
        let target = fs::read_link(self.path(link)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The mediated devices, by UUID.
    #[must_use]
    pub fn mdevs(&self) -> Vec<Mdev<'_>> {
        let uuids = self.names("devices/vfio_ap/matrix");
        uuids
            .into_iter()
            .filter(|name| name.len() == 36)
            .map(|uuid| Mdev::new(self, uuid))
            .collect()
    }

    /// Creates a mediated device.
    ///
    /// # Errors
    /// [`Refused`], with EEXIST when the UUID is taken.
    pub fn create_mdev(&self, uuid: &str) -> Result<(), Refused> {
        self.write(&format!("{TYPE_DIR}/create"), uuid)
    }
}
