//! The instance's own `/etc/mdevctl.d`.
//!
//! Definitions written under `apmatrix run` must not reach the host's real mdevctl, and a host
//! without mdevctl must not need the directory. Where `/etc` has no such directory to bind over,
//! `/etc` itself is grafted.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::graft::show;

const MDEVCTL_DIR: &str = "/etc/mdevctl.d";

/// Shows `state_dir/mdevctl.d` as `/etc/mdevctl.d`. `scratch` is an empty directory on a tmpfs.
///
/// # Errors
/// When the directory cannot be made or shown.
pub(super) fn show_private_mdevctl(state_dir: &Path, scratch: &Path) -> Result<()> {
    let private = state_dir.join("mdevctl.d");
    // mdevctl up to 1.2 refuses to start without the callout directories.
    for callouts in ["callouts", "notifiers"] {
        let dir = private.join("scripts.d").join(callouts);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    show(&private, Path::new(MDEVCTL_DIR), scratch)
}
