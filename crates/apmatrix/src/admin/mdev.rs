//! One mediated device, through its files.

use anyhow::Result;

use super::{Refused, Tree};

/// A mediated device of a tree.
#[derive(Clone, Debug)]
pub struct Mdev<'t> {
    tree: &'t Tree,
    uuid: String,
}

impl<'t> Mdev<'t> {
    /// The device `uuid`; nothing is read yet.
    #[must_use]
    pub fn new(tree: &'t Tree, uuid: String) -> Self {
        Self { tree, uuid }
    }

    /// Its UUID, in lower case.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Path of one of its attributes below the tree.
    #[must_use]
    pub fn attribute(&self, name: &str) -> String {
        format!("devices/vfio_ap/matrix/{}/{name}", self.uuid)
    }

    /// Whether it exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.tree.path(&self.attribute("matrix")).exists()
    }

    /// Assigned queues, one `AA.DDDD` each (or `AA.` and `.DDDD` while one side is empty).
    ///
    /// # Errors
    /// When the device is gone.
    pub fn matrix(&self) -> Result<Vec<String>> {
        self.tree.lines(&self.attribute("matrix"))
    }

    /// What a guest of the device is given.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn guest_matrix(&self) -> Result<Vec<String>> {
        self.tree.lines(&self.attribute("guest_matrix"))
    }

    /// Assigned control domains, four hex digits each.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn control_domains(&self) -> Result<Vec<String>> {
        self.tree.lines(&self.attribute("control_domains"))
    }

    /// The three assigned masks, separated by commas.
    ///
    /// # Errors
    /// When the device is gone, or the kernel is older than 6.10.
    pub fn ap_config(&self) -> Result<String> {
        self.tree.read(&self.attribute("ap_config"))
    }

    /// Removes the device; waits while a guest holds it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn remove(&self) -> Result<(), Refused> {
        self.tree.write(&self.attribute("remove"), "1")
    }

    /// Writes to one of the device's attributes.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn write(&self, name: &str, text: &str) -> Result<(), Refused> {
        self.tree.write(&self.attribute(name), text)
    }
}
