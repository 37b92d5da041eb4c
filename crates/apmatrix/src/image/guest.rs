//! The guest's system: kernel, modules and programs from Debian's s390x packages, reduced to the
//! files that are used, and the initramfs made of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt::Apt;
use super::archive::Archive;
use super::cpio::CpioWriter;
use super::elf;
use super::host::{fetch, open};
use super::modules;
use super::store::Builder;

/// The first program of the guest.
pub(super) const INIT: &str = include_str!("../../guest/init");
/// The kernel's release: the AP bus is built in and zcrypt a module there.
const KERNEL_SUITE: &str = "trixie";
/// Releases for programs: the first has libica and the OpenSSL provider in step with each other.
const PROGRAM_SUITES: [&str; 3] = ["forky", "sid", "trixie"];
const MODULES: [&str; 2] = ["zcrypt", "zcrypt_cex4"];
/// Paths in the packages; a name without a file is an error unless the second value is false.
const FILES: [(&str, bool); 9] = [
    ("usr/bin/busybox", true),
    ("usr/sbin/lszcrypt", true),
    ("usr/sbin/chzcrypt", true),
    ("usr/sbin/zcryptstats", false),
    ("usr/bin/openssl", true),
    ("usr/bin/icainfo", false),
    ("usr/bin/icastats", false),
    (
        "usr/lib/s390x-linux-gnu/ossl-modules/ibmca-provider.so",
        false,
    ),
    ("etc/ssl/openssl.cnf", false),
];
const LIBRARY_DIRS: [&str; 2] = ["usr/lib/s390x-linux-gnu", "usr/lib"];

/// Goes up with every change of how the initramfs is written: finished images are kept by it.
pub(super) const INITRAMFS_RECIPE: &str = "initramfs 1";

/// What this module would download, for the part's name.
pub(super) fn recipe() -> Vec<&'static str> {
    let mut recipe = vec!["guest 1", KERNEL_SUITE];
    recipe.extend(PROGRAM_SUITES);
    recipe.extend(MODULES);
    recipe.extend(FILES.map(|(file, _)| file));
    recipe
}

/// Downloads everything and leaves `vmlinuz`, `modules/` and `root/` in `part`.
pub(super) fn build(
    builder: &Builder,
    archive: &Archive,
    part: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    kernel(builder, archive, part, say)?;
    programs(builder, archive, part, say)
}

fn kernel(
    builder: &Builder,
    archive: &Archive,
    part: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    say(&format!(
        "fetching package lists of Debian {KERNEL_SUITE} (s390x)"
    ));
    let apt = open(builder, archive, "s390x", &[KERNEL_SUITE])?;
    let root = fetch_kernel(builder, &apt, say)?;
    let image = one_entry(&root.join("boot"), "vmlinuz-")?;
    copy(&image, &part.join("vmlinuz"))?;
    let modules_dir = one_entry(&root.join("usr/lib/modules"), "")?;
    let order = modules::load_order(&modules_dir.join("kernel"), &MODULES)?;
    let to = part.join("modules");
    fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
    for (at, module) in order.iter().enumerate() {
        // The number puts them into loading order for the guest's shell pattern.
        let file = to.join(format!("{at:02}-{}.ko", module.name));
        fs::write(&file, &module.bytes)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    fs::remove_dir_all(&root).context("cannot clear the kernel's packages")
}

/// The release's newest kernel that its mirror has: lists may name a package that the mirror's pool
/// does not hold yet or any more, and the release's older kernels are as good.
fn fetch_kernel(builder: &Builder, apt: &Apt, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let mut failures = Vec::new();
    for name in kernels(apt.names("linux-image-")?) {
        let root = builder.scratch("kernel-root")?;
        let fetched = apt
            .single(&name)
            .and_then(|package| fetch(apt, &[package], &root, "the guest's kernel", say));
        match fetched {
            Ok(()) => return Ok(root),
            Err(error) => {
                say(&format!("{name} is not to be had: {error:#}"));
                failures.push(format!("{name}: {error:#}"));
            }
        }
    }
    if failures.is_empty() {
        bail!("Debian {KERNEL_SUITE} names no kernel for s390x");
    }
    bail!(
        "cannot get the guest's kernel:\n  {}",
        failures.join("\n  ")
    )
}

/// The kernels among `names`, newest first; the packages that only name one are left out.
fn kernels(names: Vec<String>) -> Vec<String> {
    let mut found: Vec<(Vec<u64>, String)> = names
        .into_iter()
        .filter_map(|name| {
            let release = name.strip_prefix("linux-image-")?.strip_suffix("-s390x")?;
            let numbers: Option<Vec<u64>> = release
                .split(['.', '-', '+'])
                .take(3)
                .map(|number| number.parse().ok())
                .collect();
            Some((numbers?, name))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, name)| name).collect()
}

fn programs(
    builder: &Builder,
    archive: &Archive,
    part: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut failures = Vec::new();
    for suite in PROGRAM_SUITES {
        let root = builder.scratch(&format!("guest-root-{suite}"))?;
        match unpack_programs(builder, archive, suite, &root, say) {
            Ok(()) => return keep_used(&root, &part.join("root")),
            Err(error) => failures.push(format!("{suite}: {error:#}")),
        }
    }
    bail!(
        "cannot get the guest's programs:\n  {}",
        failures.join("\n  ")
    )
}

fn unpack_programs(
    builder: &Builder,
    archive: &Archive,
    suite: &str,
    root: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    say(&format!("fetching package lists of Debian {suite} (s390x)"));
    let apt = open(builder, archive, "s390x", &[suite])?;
    let none = |_: &str| false;
    let with_libica = ["busybox-static", "openssl", "openssl-ibmca", "libica-utils"];
    let mut packages = apt
        .resolve(&with_libica, None, &none)
        .or_else(|_| apt.resolve(&with_libica[..2], None, &none))?;
    // Two of its programs are wanted and need the C library alone, the package needs 80 others.
    packages.push(apt.single("s390-tools")?);
    fetch(&apt, &packages, root, "the guest's programs", say)
}

/// Copies the wanted files and the libraries they need, and nothing else.
fn keep_used(root: &Path, kept: &Path) -> Result<()> {
    let mut waiting = Vec::new();
    for (file, required) in FILES {
        if root.join(file).is_file() {
            waiting.push(file.to_owned());
        } else if required {
            bail!("the guest's packages have no {file}");
        }
    }
    let mut done = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        if !done.insert(file.clone()) {
            continue;
        }
        let bytes = fs::read(root.join(&file)).with_context(|| format!("cannot read {file}"))?;
        copy(&root.join(&file), &kept.join(&file))?;
        let needs = elf::needs(&bytes).with_context(|| format!("cannot read {file}"))?;
        let Some(needs) = needs else { continue };
        if let Some(loader) = needs.interpreter {
            // Its path is under /lib, a link to /usr/lib as in Debian.
            waiting.push(format!("usr{loader}"));
        }
        for library in needs.libraries {
            let found = LIBRARY_DIRS.iter().map(|dir| format!("{dir}/{library}"));
            match found.clone().find(|path| root.join(path).is_file()) {
                Some(path) => waiting.push(path),
                None => bail!("{file} needs {library}, which the guest's packages do not have"),
            }
        }
    }
    Ok(())
}

/// Writes the initramfs of `part` and the compiled `client`.
pub(super) fn initramfs(part: &Path, client: &Path, out: &Path) -> Result<()> {
    let file = fs::File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let mut file = BufWriter::new(file);
    write_initramfs(part, client, &mut file)
        .and_then(|()| Ok(file.flush()?))
        .with_context(|| format!("cannot write {}", out.display()))
}

fn write_initramfs(part: &Path, client: &Path, out: &mut impl std::io::Write) -> Result<()> {
    let mut cpio = CpioWriter::new(out);
    for dir in ["dev", "proc", "sys", "run", "tmp", "root", "etc", "extra"] {
        cpio.directory(dir)?;
    }
    for dir in ["bin", "sbin", "lib", "lib64"] {
        cpio.symlink(dir, &format!("usr/{dir}"))?;
    }
    // The kernel opens the console for init before init can mount /dev.
    cpio.device("dev/console", 0o600, (5, 1))?;
    cpio.device("dev/null", 0o666, (1, 3))?;
    cpio.file("init", INIT.as_bytes(), 0o755)?;
    cpio.file("usr/bin/apclient", &fs::read(client)?, 0o755)?;
    add_tree(&mut cpio, &part.join("root"), "")?;
    add_tree(&mut cpio, &part.join("modules"), "modules")?;
    cpio.directory("usr/lib64")?;
    cpio.symlink("usr/bin/sh", "busybox")?;
    // Where OpenSSL looks; in Debian a link as well.
    cpio.symlink("usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf")?;
    cpio.finish()?;
    Ok(())
}

fn add_tree(cpio: &mut CpioWriter<impl std::io::Write>, dir: &Path, prefix: &str) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    // Equal parts give equal archives, whatever order the file system has.
    entries.sort();
    for entry in entries {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
            bail!("{} is not a name for the guest", entry.display());
        };
        let path = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}/{name}")
        };
        if entry.is_dir() {
            cpio.directory(&path)?;
            add_tree(cpio, &entry, &path)?;
        } else {
            let mode = entry.metadata()?.permissions().mode();
            cpio.file(&path, &fs::read(&entry)?, mode)?;
        }
    }
    Ok(())
}

fn one_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    found
        .next()
        .with_context(|| format!("there is no {prefix}* in {}", dir.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_comes_first_and_names_of_kernels_are_none() {
        let names = [
            "linux-image-s390x",
            "linux-image-6.12.9+deb13-s390x",
            "linux-image-6.12.117+deb13-s390x-dbg",
            "linux-image-6.12.117+deb13-s390x",
            "linux-image-6.12.107+deb13-s390x",
        ];
        let found = kernels(names.map(str::to_owned).into());
        assert_eq!(found, [names[3], names[4], names[1]]);
    }
}
