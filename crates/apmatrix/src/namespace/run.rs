//! `apmatrix run`: a command that sees the tree at `/sys`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::graft::{graft, show};
use super::{bind, modprobe, mount_tmpfs, private_etc, unshare_mounts};

/// Where the pieces of a running instance are.
#[derive(Debug)]
pub struct Setting {
    /// The run directory; its `sys` is the mounted tree.
    pub run_dir: PathBuf,
    /// The state directory, which keeps the private `mdevctl.d`.
    pub state_dir: PathBuf,
}

/// Replaces this process by `command` in a mount namespace of its own. Returns only on failure. The
/// process must still have a single thread.
///
/// # Errors
/// When the namespace cannot be made or the command cannot be started.
pub fn run(setting: &Setting, command: &[OsString]) -> Result<std::convert::Infallible> {
    let [program, arguments @ ..] = command else {
        bail!("no command given")
    };
    unshare_mounts()?;
    let scratch = setting.run_dir.join("namespace");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    mount_tmpfs(&scratch)?;
    show_tree(&setting.run_dir.join("sys"), &scratch).context("cannot show the tree at /sys")?;
    private_etc::show_private_mdevctl(&setting.state_dir, &scratch)
        .context("cannot show a private /etc/mdevctl.d")?;
    // Groups come and go later, so ours is shown whole: the host's own groups are hidden.
    show(
        &setting.run_dir.join("vfio"),
        Path::new("/dev/vfio"),
        &scratch,
    )
    .context("cannot show the groups at /dev/vfio")?;
    let first_on_path = modprobe::arrange(&scratch).context("cannot arrange modprobe")?;

    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("APMATRIX_RUN_DIR", &setting.run_dir)
        // libudev otherwise looks for sysfs's own magic number and sees no device of ours.
        .env("SYSTEMD_DEVICE_VERIFY_SYSFS", "0");
    if let Some(dir) = first_on_path {
        command.env("PATH", path_with(dir)?);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.to_string_lossy()))
}

fn show_tree(tree: &Path, scratch: &Path) -> Result<()> {
    let (host, merged) = (scratch.join("host-sys"), scratch.join("sys"));
    fs::create_dir(&host)?;
    fs::create_dir(&merged)?;
    bind(Path::new("/sys"), &host)?;
    graft(&host, tree, &merged)?;
    bind(&merged, Path::new("/sys"))
}

fn path_with(first: PathBuf) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first).chain(env::split_paths(&path));
    env::join_paths(dirs).context("PATH cannot be extended")
}
