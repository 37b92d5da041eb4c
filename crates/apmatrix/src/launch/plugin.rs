//! Finding our QEMU plugin.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// File name of the plugin, as cargo builds it.
const FILE: &str = "libapmatrix_qemu.so";
/// Where a distribution or `make install` would put it.
const INSTALLED: [&str; 2] = ["/usr/local/lib/apmatrix", "/usr/lib/apmatrix"];

/// The plugin: the file that the user names, else the one beside this program or installed with it.
pub fn find_plugin(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = named {
        // QEMU takes a name without a slash for a library of the system.
        return file
            .canonicalize()
            .with_context(|| format!("cannot find the QEMU plugin {}", file.display()));
    }
    let program = std::env::current_exe()
        .and_then(|file| file.canonicalize())
        .context("cannot find out where this program is, to find the QEMU plugin beside it")?;
    search(&places(&program))
}

fn places(program: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(dir) = program.parent() {
        dirs.push(dir.to_path_buf());
        if let Some(prefix) = dir.parent() {
            dirs.push(prefix.join("lib/apmatrix"));
        }
    }
    dirs.extend(INSTALLED.iter().map(PathBuf::from));
    dirs.dedup();
    dirs.into_iter().map(|dir| dir.join(FILE)).collect()
}

fn search(places: &[PathBuf]) -> Result<PathBuf> {
    if let Some(file) = places.iter().find(|file| file.is_file()) {
        return Ok(file.clone());
    }
    let looked: Vec<String> = places
        .iter()
        .map(|file| format!("\n  {}", file.display()))
        .collect();
    bail!(
        "cannot find the QEMU plugin {FILE}; looked at:{}\n\
         `cargo build` makes it beside the program; an option names one elsewhere",
        looked.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_lists_every_place() {
        let error = search(&places(Path::new("/nowhere/bin/apmatrix")))
            .unwrap_err()
            .to_string();
        for place in [
            "/nowhere/bin/libapmatrix_qemu.so",
            "/nowhere/lib/apmatrix/libapmatrix_qemu.so",
            "/usr/lib/apmatrix/libapmatrix_qemu.so",
        ] {
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = find_plugin(Some(Path::new("/nowhere/x.so")))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "cannot find the QEMU plugin /nowhere/x.so");
    }
}
