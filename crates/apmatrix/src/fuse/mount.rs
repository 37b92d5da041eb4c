//! Mounting the tree, and cleaning up after a daemon that was killed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use nix::mount::{MntFlags, umount2};

use super::TreeFs;

/// FUSE threads: two serve two cores, and no thread is held while a write waits.
const THREADS: usize = 2;

/// Mounts the tree at `target`, which must be an empty directory. It is unmounted when the returned
/// session is dropped.
///
/// # Errors
/// When there is no FUSE or no right to mount; says what to do about it.
pub(crate) fn mount(tree: TreeFs, target: &Path) -> Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("apmatrix".into()),
        MountOption::Subtype("sysfs".into()),
        MountOption::DefaultPermissions,
        MountOption::NoExec,
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    // Root's tree can be seen by everybody, as /sys can; files keep their modes.
    if nix::unistd::geteuid().is_root() {
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(THREADS);
    Session::new(tree, target, &config)
        .and_then(Session::spawn)
        .with_context(|| {
            format!(
                "cannot mount the tree at {}: /dev/fuse must exist (modprobe fuse; in a container pass \
                 --device /dev/fuse), and root, fusermount3 (package fuse3) or a user namespace is needed",
                target.display()
            )
        })
}

/// Unmounts what a killed daemon left at `target`, if anything.
pub(crate) fn clear_stale(target: &Path) {
    // Opening asks the daemon; what a node is like the kernel may still know from a dead one.
    let is_stale = std::fs::read_dir(target)
        .err()
        .and_then(|error| error.raw_os_error())
        .is_some_and(|errno| errno == rustix::io::Errno::NOTCONN.raw_os_error());
    if !is_stale {
        return;
    }
    tracing::warn!(
        "unmounting what a killed daemon left at {}",
        target.display()
    );
    if umount2(target, MntFlags::MNT_DETACH).is_err() {
        // Without the right to unmount, fusermount3 may have it.
        drop(
            Command::new("fusermount3")
                .args(["-u", "-z"])
                .arg(target)
                .status(),
        );
    }
}
