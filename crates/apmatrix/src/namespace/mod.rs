//! Mount and user namespaces: where the tree is visible.
//!
//! ```text
//!  daemon started by                     tree mounted in          other verbs
//!  root                                  the host's namespace     see it at once
//!  a user with fusermount3               the host's namespace     see it at once
//!  a user without it                     its own user and mount   enter() them first
//!                                        namespace
//! ```
//!
//! `run` goes one step further: a private mount namespace whose `/sys` shows the tree among the
//! host's other devices (`graft`), whose `/etc/mdevctl.d` is the instance's own (`private_etc`) and
//! whose `/dev/vfio` has a name for each mediated device's IOMMU group.

mod graft;
mod modprobe;
mod private_etc;
mod run;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

pub use run::{Setting, run};

/// Whether only a user namespace can mount the tree: the caller is neither root nor has fusermount3.
#[must_use]
pub fn is_needed() -> bool {
    !nix::unistd::geteuid().is_root() && crate::image::find_program("fusermount3").is_none()
}

/// Makes the calling process root of a new user namespace with its own mount namespace. The process
/// must still have a single thread.
///
/// # Errors
/// When the kernel forbids unprivileged user namespaces.
pub fn become_private_root() -> Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context(
        "cannot make a user namespace (allow unprivileged user namespaces, install fusermount3, \
         or start as root)",
    )?;
    // The kernel demands that setgroups(2) is given up before a group can be mapped.
    write_proc("setgroups", "deny")?;
    write_proc("uid_map", &format!("0 {uid} 1"))?;
    write_proc("gid_map", &format!("0 {gid} 1"))?;
    make_mounts_private()
}

/// Enters the user and mount namespaces of the process `pid`. The calling process must still have a
/// single thread and the same user.
///
/// # Errors
/// When the process is gone or belongs to somebody else.
pub fn enter(pid: u32) -> Result<()> {
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        fs::File::open(&path).with_context(|| format!("cannot open {path}"))
    };
    let (user, mounts) = (open("user")?, open("mnt")?);
    setns(user, CloneFlags::CLONE_NEWUSER).context("cannot enter the daemon's user namespace")?;
    setns(mounts, CloneFlags::CLONE_NEWNS).context("cannot enter the daemon's mount namespace")
}

/// A private mount namespace: with the privileges at hand, or else as root of a user namespace.
fn unshare_mounts() -> Result<()> {
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        return make_mounts_private();
    }
    become_private_root()
}

/// Later mounts of the host still arrive, ours never leave.
fn make_mounts_private() -> Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )
    .context("cannot detach from the host's mounts")
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    // Recursive, because a user namespace may not uncover what is mounted below.
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))
}

fn mount_tmpfs(target: &Path) -> Result<()> {
    mount(
        Some("apmatrix"),
        target,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .with_context(|| format!("cannot mount a tmpfs on {}", target.display()))
}

fn write_proc(name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/self/{name}");
    fs::write(&path, text).with_context(|| format!("cannot write {path}"))
}
