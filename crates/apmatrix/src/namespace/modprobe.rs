//! `modprobe vfio_ap` succeeds under `run`: scripts load the driver before they use it, and ours is
//! always there.
//!
//! Where the host has modprobe, its configuration gets an `install` line for each of our modules.
//! Where it has none, a small `modprobe` on PATH knows only ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::bind;
use super::graft::graft;

/// Modules that the tree shows under `module/`.
const MODULES: [&str; 4] = ["ap", "zcrypt", "vfio_ap", "zcrypt_cex4"];
const CONFIG_DIR: &str = "/etc/modprobe.d";

/// Arranges modprobe. Returns a directory to put in front of PATH, if one is needed. `scratch` is an
/// empty directory on a tmpfs.
///
/// # Errors
/// When a file cannot be written or shown.
pub(super) fn arrange(scratch: &Path) -> Result<Option<PathBuf>> {
    if has_modprobe() && Path::new(CONFIG_DIR).is_dir() {
        let (extra, merged) = (scratch.join("modprobe-extra"), scratch.join("modprobe.d"));
        fs::create_dir(&extra)?;
        fs::create_dir(&merged)?;
        let lines: String = MODULES
            .iter()
            .map(|module| format!("install {module} /bin/true\n"))
            .collect();
        fs::write(extra.join("zz-apmatrix.conf"), lines)?;
        graft(Path::new(CONFIG_DIR), &extra, &merged)?;
        bind(&merged, Path::new(CONFIG_DIR))?;
        return Ok(None);
    }
    let bin = scratch.join("bin");
    fs::create_dir(&bin)?;
    for name in ["modprobe", "rmmod"] {
        write_script(&bin.join(name))?;
    }
    Ok(Some(bin))
}

fn has_modprobe() -> bool {
    ["/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe"]
        .iter()
        .any(|path| Path::new(path).exists())
}

fn write_script(path: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/sh\n# Every operand must be a module that the tree shows.\nfor word in \"$@\"; do\n  \
         case $word in\n    -*|{}) ;;\n    *) echo \"$0: no module $word\" >&2; exit 1;;\n  esac\ndone\n",
        MODULES.join("|")
    );
    fs::write(path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
