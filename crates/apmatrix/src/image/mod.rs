//! The guest image: a QEMU that fits, Debian's s390x kernel and a small initramfs, all without root.
//!
//! Everything comes from Debian packages of the mirror that the host's own apt uses, checked with
//! Debian's keys. Finished parts are kept, so a second call needs neither network nor apt.

mod apt;
mod archive;
pub mod cpio;
mod cross;
mod elf;
mod guest;
mod host;
mod modules;
mod packages;
mod process;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::archive::Archive;
use self::cross::{Compiler, Link};
use self::host::{HostPackages, Layout};
pub use self::packages::{PackageSet, command_in};
pub(crate) use self::process::find_program;
use self::store::{Builder, Store};
use crate::launch::Qemu;

/// These go up with every change of what is downloaded: finished parts are kept by them.
const QEMU_RECIPE: [&str; 1] = ["qemu 1"];
const CROSS_RECIPE: [&str; 1] = ["cross 1"];
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd.img";

/// Everything that is needed to start a guest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The emulator.
    pub qemu: Qemu,
    /// The guest's kernel.
    pub kernel: PathBuf,
    /// The guest's initramfs.
    pub initrd: PathBuf,
}

/// Where images are kept: `$APMATRIX_IMAGE_DIR`, else the user's cache directory.
pub fn default_dir() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = variable("APMATRIX_IMAGE_DIR") {
        return dir.into();
    }
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("apmatrix/image")
}

/// The image in `dir`, downloaded and built if it is not there yet.
///
/// `progress` gets a line for each step; a finished image is returned without a word.
pub fn ensure(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Image> {
    let store = Store::new(dir)?;
    if let Some(image) = finished(&store)? {
        return Ok(image);
    }
    let builder = store.lock(progress)?;
    // Another builder may have finished it while this one waited.
    if let Some(image) = finished(&store)? {
        return Ok(image);
    }
    build(&builder, progress)?;
    finished(&store)?.context("the image is incomplete although nothing failed")
}

/// The QEMU of [`ensure`] alone, for a guest with its own kernel.
pub(crate) fn ensure_qemu(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Qemu> {
    if let Ok(qemu) = Qemu::from_system() {
        return Ok(qemu);
    }
    let store = Store::new(dir)?;
    let layout = Layout::of_host()?;
    if let Some(root) = store.part("qemu", &QEMU_RECIPE) {
        return layout.qemu(&root);
    }
    let builder = store.lock(progress)?;
    let mut host = HostPackages::new(&builder, Archive::from_host()?, layout);
    let root = builder.part("qemu", &QEMU_RECIPE, |root| {
        host.unpack_qemu(root, progress)
    })?;
    layout.qemu(&root)
}

/// Compiles one C file to an s390x program that runs without an operating system, as a test of single
/// instructions does: QEMU's `-kernel` loads it and starts it at the symbol `_start`, in 64-bit mode
/// without address translation, stack or handlers.
///
/// The compiler is the host's, else the one in the image directory `dir`, downloaded if it is not
/// there yet. Besides `program`, files are left in its directory.
pub fn compile_bare(
    dir: &Path,
    source: &Path,
    program: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let compiler = ensure_compiler(dir, progress)?;
    let scratch = program
        .parent()
        .context("a program needs a name in a directory")?;
    compiler.compile(scratch, source, Link::Bare, program)
}

fn ensure_compiler(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Compiler> {
    if let Some(compiler) = Compiler::system() {
        return Ok(compiler);
    }
    let store = Store::new(dir)?;
    let layout = Layout::of_host()?;
    if let Some(root) = store.part("cross", &CROSS_RECIPE) {
        return Ok(Compiler::Private(root, layout));
    }
    let builder = store.lock(progress)?;
    let mut host = HostPackages::new(&builder, Archive::from_host()?, layout);
    let build = |root: &Path| host.unpack_cross(root, progress);
    let root = builder.part("cross", &CROSS_RECIPE, build)?;
    Ok(Compiler::Private(root, layout))
}

fn finished(store: &Store) -> Result<Option<Image>> {
    let recipe = guest::recipe();
    let Some(part) = store.part("image", &image_recipe(&recipe)) else {
        return Ok(None);
    };
    let qemu = match Qemu::from_system() {
        Ok(qemu) => qemu,
        Err(_) => match store.part("qemu", &QEMU_RECIPE) {
            Some(root) => Layout::of_host()?.qemu(&root)?,
            None => return Ok(None),
        },
    };
    Ok(Some(Image {
        qemu,
        kernel: part.join(KERNEL),
        initrd: part.join(INITRD),
    }))
}

fn image_recipe<'a>(guest: &[&'a str]) -> Vec<&'a str> {
    let mut recipe = guest.to_vec();
    recipe.extend([guest::INITRAMFS_RECIPE, guest::INIT, cross::SOURCE]);
    recipe
}

fn build(builder: &Builder, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let archive = Archive::from_host()?;
    let layout = Layout::of_host()?;
    let mut host = HostPackages::new(builder, archive.clone(), layout);
    if let Err(why) = Qemu::from_system() {
        progress(&format!("using a private QEMU: {why:#}"));
        builder.part("qemu", &QEMU_RECIPE, |root| {
            host.unpack_qemu(root, progress)
        })?;
    }
    let recipe = guest::recipe();
    let guest = builder.part("guest", &recipe, |part| {
        guest::build(builder, &archive, part, progress)
    })?;
    let compiler = match Compiler::system() {
        Some(compiler) => compiler,
        None => {
            let build = |root: &Path| host.unpack_cross(root, progress);
            Compiler::Private(builder.part("cross", &CROSS_RECIPE, build)?, layout)
        }
    };
    let image = builder.part("image", &image_recipe(&recipe), |part| {
        progress("compiling the test client and packing the initramfs");
        let scratch = builder.scratch("client")?;
        let client = scratch.join("apclient");
        compiler.compile_client(&scratch, &client)?;
        guest::initramfs(&guest, &client, &part.join(INITRD))?;
        fs::copy(guest.join(KERNEL), part.join(KERNEL)).context("cannot copy the kernel")?;
        Ok(())
    })?;
    progress(&format!("the image is ready in {}", image.display()));
    Ok(())
}
