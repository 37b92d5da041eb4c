//! Programs for this host, from Debian packages: QEMU and the cross compiler.
//!
//! They are unpacked with the C library of their own release and started by its loader, so they
//! run on any host of the architecture, whatever its release.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Package};
use super::archive::{Archive, host_codename};
use super::store::Builder;
use crate::launch::{ACCEPTED, Qemu, Version};

/// Directories of a package that no program reads.
const UNREAD: [&str; 6] = ["doc", "info", "lintian", "locale", "man", "bug"];

/// How Debian lays out a root for this host's architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    arch: &'static str,
    loader: &'static str,
    libraries: &'static str,
}

impl Layout {
    /// The layout of the architecture that this program was built for.
    pub(super) fn of_host() -> Result<Self> {
        let (arch, loader, libraries) = match std::env::consts::ARCH {
            "x86_64" => (
                "amd64",
                "usr/lib64/ld-linux-x86-64.so.2",
                "usr/lib/x86_64-linux-gnu",
            ),
            "aarch64" => (
                "arm64",
                "usr/lib/ld-linux-aarch64.so.1",
                "usr/lib/aarch64-linux-gnu",
            ),
            "s390x" => ("s390x", "usr/lib/ld64.so.1", "usr/lib/s390x-linux-gnu"),
            other => bail!(
                "the guest image needs {ACCEPTED} on the path: packages for a private one are \
                 known for x86_64, aarch64 and s390x hosts, not for {other}"
            ),
        };
        Ok(Self {
            arch,
            loader,
            libraries,
        })
    }

    /// Debian's name of the architecture.
    pub(super) fn arch(self) -> &'static str {
        self.arch
    }

    /// The QEMU in `root`.
    pub(super) fn qemu(self, root: &Path) -> Result<Qemu> {
        Qemu::from_root(root, self.loader, self.libraries)
    }

    /// Runs `program` of `root` with the root's own libraries.
    pub(super) fn command(self, root: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(root.join(self.loader));
        command
            .arg("--library-path")
            .arg(root.join(self.libraries))
            .arg(program);
        command
    }
}

/// The host architecture's packages; lists are fetched when first needed.
#[derive(Debug)]
pub(super) struct HostPackages<'a> {
    builder: &'a Builder,
    archive: Archive,
    layout: Layout,
    apt: Option<(Apt, Option<&'static str>)>,
}

impl<'a> HostPackages<'a> {
    pub(super) fn new(builder: &'a Builder, archive: Archive, layout: Layout) -> Self {
        Self {
            builder,
            archive,
            layout,
            apt: None,
        }
    }

    /// Unpacks a QEMU that fits into `root`.
    pub(super) fn unpack_qemu(&mut self, root: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (apt, release) = self.apt(say)?;
        // The loader and the libraries do the work; these only come along as dependencies.
        let unused = ["perl-base", "debconf", "passwd", "adduser", "acl"];
        let packages = apt.resolve(&["qemu-system-s390x"], release, &|name| {
            unused.contains(&name)
        })?;
        fetch(apt, &packages, root, "QEMU", say)?;
        let qemu = self
            .layout
            .qemu(root)
            .context("the QEMU from Debian does not run here")?;
        say(&format!("private QEMU {} works", qemu.version()));
        Ok(())
    }

    /// Unpacks compiler, assembler, linker and C library for s390x programs into `root`.
    pub(super) fn unpack_cross(&mut self, root: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (apt, _) = self.apt(say)?;
        // `cpp` has the compiler proper; the driver and the sanitizers would double the download.
        let unused = |name: &str| {
            [
                "libasan",
                "libubsan",
                "libgomp",
                "libitm",
                "libstdc++6-s390x",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
                || name.starts_with("gcc-") && name.ends_with("-s390x-linux-gnu")
        };
        let packages = apt.resolve(
            &["gcc-s390x-linux-gnu", "libc6-dev-s390x-cross"],
            None,
            &unused,
        )?;
        fetch(apt, &packages, root, "the s390x C compiler", say)
    }

    /// Lists of the first release that has a QEMU that fits.
    fn apt(&mut self, say: &mut dyn FnMut(&str)) -> Result<(&Apt, Option<&'static str>)> {
        if self.apt.is_none() {
            self.apt = Some(self.choose(say)?);
        }
        let (apt, release) = self.apt.as_ref().context("no package lists")?;
        Ok((apt, *release))
    }

    fn choose(&self, say: &mut dyn FnMut(&str)) -> Result<(Apt, Option<&'static str>)> {
        let mut failures = Vec::new();
        for (suites, release) in releases(host_codename().as_deref()) {
            let Some(suite) = suites.last() else { continue };
            say(&format!(
                "fetching package lists of Debian {suite} ({})",
                self.layout.arch
            ));
            let found =
                open(self.builder, &self.archive, self.layout.arch, suites).and_then(|apt| {
                    let version = apt.candidate("qemu-system-s390x", *release)?;
                    Ok((apt, version))
                });
            match found {
                Ok((apt, Some(version)))
                    if Version::parse(&version).is_some_and(Version::is_accepted) =>
                {
                    return Ok((apt, *release));
                }
                Ok((_, Some(version))) => failures.push(format!("{suite} has QEMU {version}")),
                Ok((_, None)) => failures.push(format!("{suite} has no qemu-system-s390x")),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!(
            "no Debian release offers {ACCEPTED}:\n  {}",
            failures.join("\n  ")
        );
    }
}

type Release = (&'static [&'static str], Option<&'static str>);

/// Releases to look in. A plugin built here must load into that QEMU, so its C library may not be
/// older than the host's: a host of a newer release starts with its own.
fn releases(codename: Option<&str>) -> &'static [Release] {
    const ALL: [Release; 3] = [
        (&["trixie", "trixie-backports"], Some("trixie-backports")),
        (&["forky"], None),
        (&["sid"], None),
    ];
    match codename {
        Some("forky") => &ALL[1..],
        Some("sid") => &ALL[2..],
        _ => &ALL,
    }
}

/// A private apt for `suites`, with newer archive keys if the host's are too old for them.
pub(super) fn open(
    builder: &Builder,
    archive: &Archive,
    arch: &str,
    suites: &[&str],
) -> Result<Apt> {
    let dir = builder.scratch(&format!("apt-{arch}-{}", suites.join("-")))?;
    let error = match Apt::new(dir.clone(), arch, archive, suites) {
        Ok(apt) => return Ok(apt),
        Err(error) => error,
    };
    let text = format!("{error:#}");
    if !["NO_PUBKEY", "is not signed", "Missing key"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        return Err(error);
    }
    // Debian's keyring package of an older release, which these keys do verify, has the newer keys.
    let Some(keyring) = newer_keyring(builder, archive) else {
        return Err(error);
    };
    Apt::new(
        dir,
        arch,
        &Archive {
            keyring,
            ..archive.clone()
        },
        suites,
    )
}

/// Fetched for the host's architecture, which every release has, and kept for the next caller.
fn newer_keyring(builder: &Builder, archive: &Archive) -> Option<PathBuf> {
    let arch = Layout::of_host().ok()?.arch;
    let host = host_codename();
    let known = host.as_deref().into_iter().chain(["trixie", "bookworm"]);
    known.into_iter().find_map(|suite| {
        let root = builder.scratch(&format!("keyring-{suite}")).ok()?;
        let keyrings = root.join("usr/share/keyrings");
        let find = || {
            ["debian-archive-keyring.gpg", "debian-archive-keyring.pgp"]
                .iter()
                .map(|name| keyrings.join(name))
                .find(|file| file.is_file())
        };
        find().or_else(|| {
            let dir = builder.scratch(&format!("apt-keyring-{suite}")).ok()?;
            let apt = Apt::new(dir, arch, archive, &[suite]).ok()?;
            let package = apt.single("debian-archive-keyring").ok()?;
            apt.unpack(&[package], &root).ok()?;
            find()
        })
    })
}

/// Downloads and unpacks `packages`, and drops what no program reads.
pub(super) fn fetch(
    apt: &Apt,
    packages: &[Package],
    root: &Path,
    what: &str,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let tenths = packages.iter().map(|package| package.size).sum::<u64>() / 100_000;
    let plural = if packages.len() == 1 { "" } else { "s" };
    say(&format!(
        "downloading {what}: {} package{plural}, {}.{} MB",
        packages.len(),
        tenths / 10,
        tenths % 10
    ));
    apt.unpack(packages, root)?;
    for name in UNREAD {
        let dir = root.join("usr/share").join(name);
        if dir.is_dir() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_host_never_gets_an_older_c_library() {
        assert_eq!(releases(Some("bookworm")).len(), 3);
        assert_eq!(releases(None)[0].1, Some("trixie-backports"));
        assert_eq!(releases(Some("forky"))[0].0, ["forky"]);
        assert_eq!(releases(Some("sid")).len(), 1);
    }
}
