//! Kernel modules of the guest: unpacked at build time and put into the order they load in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A module ready for the guest's `insmod`.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The modules `wanted` and what they depend on, dependencies first.
///
/// Debian's package has no `modules.dep` (depmod makes it on installation), so dependencies are read
/// from the modules themselves.
pub(super) fn load_order(modules_dir: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(modules_dir, &mut files)?;
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &mut order)?;
    }
    Ok(order)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<Module>) -> Result<()> {
    if order.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        bail!("the guest kernel has no module {name}");
    };
    let bytes = read(file)?;
    for dependency in dependencies(&bytes) {
        add(&dependency, files, order)?;
    }
    order.push(Module {
        name: name.to_owned(),
        bytes,
    });
    Ok(())
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", dir.display()))?
            .path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else if let Some((name, _)) = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read the kernel module {}", file.display());
    let packed = fs::read(file).with_context(what)?;
    if file.extension().is_some_and(|extension| extension == "ko") {
        return Ok(packed);
    }
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(packed.as_slice(), false)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    Ok(bytes)
}

/// The names behind `depends=` in the module's information section.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else {
        return Vec::new();
    };
    let list = module[at + key.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = std::env::temp_dir().join(format!("apmatrix-modules-{}", std::process::id()));
        fs::create_dir_all(dir.join("crypto")).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        write("crypto/zcrypt.ko", "x\0license=GPL\0depends=rng-core\0");
        write("crypto/zcrypt_cex4.ko", "x\0depends=zcrypt,rng-core\0");
        write("rng-core.ko", "x\0depends=\0");
        let order = load_order(&dir, &["zcrypt", "zcrypt_cex4"]).unwrap();
        let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["rng_core", "zcrypt", "zcrypt_cex4"]);
        let error = load_order(&dir, &["vfio_ap"]).unwrap_err().to_string();
        assert_eq!(error, "the guest kernel has no module vfio_ap");
        fs::remove_dir_all(&dir).unwrap();
    }
}
