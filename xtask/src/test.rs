//! All tests, in tiers. What a tier lacks is printed with its reason; under `CI=true` a skipped tier
//! is a failure.
//!
//! | tier | needs |
//! |---|---|
//! | unit | a Rust toolchain, a C compiler, make, perl |
//! | mount | `/dev/fuse` and the right to mount |
//! | mdevctl | the mount tier; fetches mdevctl |
//! | new mdevctl, s390-tools | the mount tier and apt; fetch mdevctl 1.4; s390-tools for s390x and QEMU's user emulation |
//! | libvirt | the mount tier, apt and root (chroot); fetches libvirt, udev and what they need |
//! | fusermount | the mount tier and root; fetches fuse3 |
//! | python | the mount tier and python3 3.3 or newer, standard library only |
//! | guest | apt and Debian's keyring; fetches QEMU, a kernel, a few guest programs |

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{cargo, run as sh, say, target_dir};
use crate::{fuzz, modexp, roots, soak};

/// How long the tests may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// What every change runs.
    Short,
    /// Model checking, the comparison of libraries, fuzzing, soak.
    Nightly,
}

/// Random sequences against the model in a nightly run; every change tries 2,000.
const NIGHTLY_SEQUENCES: u32 = 100_000;

/// How long a nightly run fuzzes; every change replays the corpora.
const NIGHTLY_FUZZING: [&str; 4] = ["--seconds", "60", "--jobs", "2"];

/// Fetches what a tier needs.
type Prepare = fn() -> Result<()>;

/// Folder for what the tiers fetch.
pub(crate) fn cache() -> PathBuf {
    target_dir().join("cache")
}

/// The program of the release profile.
pub(crate) fn program() -> PathBuf {
    target_dir().join("release/apmatrix")
}

/// Runs every tier.
///
/// # Errors
/// When a test fails, or a tier is skipped under `CI=true`.
pub(crate) fn run(length: Length) -> Result<()> {
    sh(&mut cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "apmatrix",
    ]))?;
    interleavings()?;
    if length == Length::Nightly {
        properties(NIGHTLY_SEQUENCES)?;
        modexp::check()?;
    }
    sh(&mut cargo(&["build", "--release"]))?;
    sh(&mut cargo(&[
        "test",
        "--release",
        "-p",
        "apmatrix",
        "--lib",
        "--bins",
    ]))?;

    let mut skipped = Vec::new();
    let mut skip = |tier: &str, reason: &anyhow::Error| {
        say(&format!("SKIPPED tier {tier}: {reason:#}"));
        skipped.push(tier.to_owned());
    };
    let mut end_to_end = cargo(&["test", "--release", "-p", "apmatrix", "--test", "e2e"]);
    end_to_end.env("APMATRIX_TEST_CACHE", cache());
    if length == Length::Nightly {
        end_to_end.env("APMATRIX_NIGHTLY", "1");
        end_to_end.env(soak::SECONDS_VARIABLE, soak::LONG_SECONDS.to_string());
    }
    if Path::new("/dev/fuse").exists() {
        open_fuse_to_everybody();
        end_to_end.env("APMATRIX_TIER_MOUNT", "1");
        let tiers: [(&str, &str, Prepare); 7] = [
            ("python", "APMATRIX_TIER_PYTHON", look_for_python),
            ("mdevctl", "APMATRIX_TIER_MDEVCTL", || {
                prepare_package("mdevctl", "usr/bin/mdevctl")
            }),
            (
                "new mdevctl",
                "APMATRIX_TIER_NEW_MDEVCTL",
                roots::new_mdevctl,
            ),
            ("s390-tools", "APMATRIX_TIER_S390_TOOLS", roots::s390_tools),
            ("libvirt", "APMATRIX_TIER_LIBVIRT", roots::libvirt),
            ("fusermount", "APMATRIX_TIER_FUSERMOUNT", prepare_fusermount),
            ("guest", "APMATRIX_TIER_GUEST", prepare_image),
        ];
        for (tier, variable, prepare) in tiers {
            match prepare() {
                Ok(()) => drop(end_to_end.env(variable, "1")),
                Err(reason) => skip(tier, &reason),
            }
        }
    } else {
        let reason = "there is no /dev/fuse (modprobe fuse, or pass the device in)";
        skip("mount", &anyhow::anyhow!(reason));
    }
    // Guests are slow and the machine is small: two at a time is what two cores carry.
    sh(end_to_end.args(["--", "--test-threads=2"]))?;
    if length == Length::Nightly
        && let Err(reason) = fuzz::run(&NIGHTLY_FUZZING)
    {
        if fuzz::is_possible() {
            return Err(reason);
        }
        say(&format!("SKIPPED tier fuzzing: {reason:#}"));
        skipped.push("fuzzing".to_owned());
    }
    if !skipped.is_empty() && std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("tiers were skipped: {}", skipped.join(", "));
    }
    Ok(())
}

/// The machine's locks in every order in which three threads can take them, and the words of a ring likewise. A build of its own, because
/// the model checker's locks take the place of the real ones.
fn interleavings() -> Result<()> {
    sh(&mut cargo(&[
        "test",
        "-p",
        "machine",
        "--features",
        "loom,cex/vendored",
        "--test",
        "interleavings",
    ]))?;
    let mut rings = cargo(&[
        "test",
        "-p",
        "device",
        "--features",
        "loom",
        "--lib",
        "ring::model",
    ]);
    // No lint sees this build.
    sh(rings.env("RUSTFLAGS", "-D warnings"))
}

/// The host against its model, for longer than every change can wait: in release mode, because that is
/// what takes the time.
fn properties(sequences: u32) -> Result<()> {
    say(&format!("properties: {sequences} sequences"));
    sh(
        cargo(&["test", "--release", "-p", "sysfs", "--test", "properties"])
            .env("PROPTEST_CASES", sequences.to_string()),
    )
}

/// A test runs as an ordinary user. udev gives everybody /dev/fuse; a bare container may not.
pub(crate) fn open_fuse_to_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let everybody = std::fs::Permissions::from_mode(0o666);
    if std::fs::set_permissions("/dev/fuse", everybody).is_err() {
        say("the mode of /dev/fuse stays as it is (not root)");
    }
}

/// The second client of the device channel is a Python program.
fn look_for_python() -> Result<()> {
    let modules = "import array, ctypes, json, socket, struct; socket.socket.sendmsg";
    let found = Command::new("python3").args(["-c", modules]).output();
    let found = found.context("python3 does not run (install python3)")?;
    if !found.status.success() {
        bail!(
            "python3 lacks a part of its standard library: {}",
            String::from_utf8_lossy(&found.stderr).trim()
        );
    }
    Ok(())
}

/// Builds the guest image with the program's own means.
fn prepare_image() -> Result<()> {
    sh(Command::new(program())
        .args(["guest", "image", "--out"])
        .arg(cache().join("image")))
}

/// Unpacks a Debian package that has `program` into the cache; nothing is installed.
fn prepare_package(package: &str, program: &str) -> Result<()> {
    let root = cache().join(package);
    if root.join(program).exists() {
        return Ok(());
    }
    let packages = cache().join("packages").join(package);
    std::fs::create_dir_all(&packages)?;
    let download = || {
        sh(Command::new("apt-get")
            .args(["download", package])
            .current_dir(&packages))
    };
    if download().is_err() {
        // A machine that has never looked has no package lists yet.
        sh(Command::new("apt-get").arg("update"))?;
        download()?;
    }
    for entry in std::fs::read_dir(&packages)? {
        sh(Command::new("dpkg-deb")
            .arg("-x")
            .arg(entry?.path())
            .arg(&root))?;
    }
    Ok(())
}

/// fusermount3 serves ordinary users because it belongs to root and runs as root.
fn prepare_fusermount() -> Result<()> {
    prepare_package("fuse3", "bin/fusermount3")?;
    let program = cache().join("fuse3/bin/fusermount3");
    sh(Command::new("chown").arg("root:root").arg(&program))?;
    sh(Command::new("chmod").arg("4755").arg(&program))
}
