//! What cargo knows about the workspace and its libraries, for the platform we run on.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::sh::cargo;

/// The output of `cargo metadata`.
#[derive(Debug)]
pub(super) struct Metadata(Value);

/// Whether a package is one of the workspace's own.
pub(super) fn is_ours(package: &Value) -> bool {
    package["source"].is_null()
}

impl Metadata {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn read() -> Result<Self> {
        let platform = "x86_64-unknown-linux-gnu";
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            platform,
        ];
        let output = cargo(&arguments).output().context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let value =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        Ok(Self(value))
    }

    /// All packages: ours and those that we use.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().into_iter().flatten()
    }

    /// The identities of everything that ends up in our package `name`.
    pub(super) fn closure(&self, name: &str) -> BTreeSet<&str> {
        let root = self
            .packages()
            .find(|package| is_ours(package) && package["name"] == name);
        let mut waiting: Vec<&str> = root
            .and_then(|root| root["id"].as_str())
            .into_iter()
            .collect();
        let mut closure = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if closure.insert(id) {
                waiting.extend(self.normal_dependencies(id));
            }
        }
        closure
    }

    fn normal_dependencies(&self, id: &str) -> impl Iterator<Item = &str> {
        let nodes = self.0["resolve"]["nodes"].as_array().into_iter().flatten();
        let node = nodes.into_iter().find(|node| node["id"] == id);
        let dependencies = node
            .and_then(|node| node["deps"].as_array())
            .into_iter()
            .flatten();
        let is_normal = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        dependencies
            .filter(is_normal)
            .filter_map(|dependency| dependency["pkg"].as_str())
    }
}
