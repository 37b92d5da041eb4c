//! Writes what is generated from the program's own tables: man pages, shell completions and the
//! reference of the tree. `cargo xtask generate` runs it.
//!
//! An example and not a verb, because whoever runs the program has no use for it, and so that the
//! program does not carry the libraries that write man pages.

mod man;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use apmatrix::verbs::Cli;
use clap::CommandFactory;
use clap_complete::Shell;

const SYSFS_HEAD: &str = "# The tree

Every file of the tree below `/sys`, with its mode, when it is there, and what it is. Directories and links that Linux's generic code
makes are there too; only files are listed. Reading against the mode is EACCES for root too, and each write(2) is one request.

This page is generated from the attribute tables in `crates/sysfs/src/attributes` by `cargo xtask generate`.

";

fn main() -> Result<()> {
    let docs = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .context("usage: generate DIRECTORY")?,
    );
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut files = vec![("sysfs.md".to_owned(), reference())];
    files.extend(man::pages(Cli::command())?);
    files.push(machine_file(&source)?);
    files.extend(completions());
    for (name, text) in files {
        let path = docs.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn reference() -> String {
    let text = format!("{SYSFS_HEAD}{}", sysfs::reference::markdown());
    format!("{}\n", text.trim_end())
}

/// The machine file's page is the document that people read anyway.
fn machine_file(source: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(source.join("machine-file.md"))?;
    let what = "a partition's AP hardware, for apmatrix serve";
    Ok((
        "man/apmatrix-machine.5".to_owned(),
        page::from_markdown("apmatrix-machine", "5", what, &text),
    ))
}

fn completions() -> Vec<(String, String)> {
    let shells = [
        (Shell::Bash, "apmatrix.bash"),
        (Shell::Zsh, "_apmatrix"),
        (Shell::Fish, "apmatrix.fish"),
    ];
    let file = |(shell, name): (Shell, &str)| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "apmatrix", &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        (format!("completions/{name}"), text)
    };
    shells.into_iter().map(file).collect()
}
