//! Puts `apmatrix-qemu` beside the program: the same program under its other name.
//!
//! A second binary would do too, but then plain `cargo run` could no longer build the QEMU plugin (see
//! `default-members` in the workspace's manifest).

use std::os::unix::fs::symlink;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // OUT_DIR is PROFILE_DIR/build/apmatrix-HASH/out.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    if let Some(profile_dir) = out.ancestors().nth(3) {
        let link = profile_dir.join("apmatrix-qemu");
        if !link.is_symlink()
            && let Err(error) = symlink("apmatrix", &link)
        {
            println!("cargo::warning=cannot make {}: {error}", link.display());
        }
    }
}
