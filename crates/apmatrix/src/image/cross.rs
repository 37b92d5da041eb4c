//! The guest's test client, compiled for s390x from the C source in this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::Layout;
use super::process::{find_program, run};

/// The source; a change of it makes a new image.
pub(super) const SOURCE: &str = include_str!("../../guest/apclient.c");

const SYSTEM_COMPILER: &str = "s390x-linux-gnu-gcc";
const FLAGS: [&str; 6] = [
    "-O2",
    "-std=gnu11",
    "-march=z196",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// A compiler for s390x.
#[derive(Debug)]
pub(super) enum Compiler {
    /// The host's own.
    System(PathBuf),
    /// One in a private root.
    Private(PathBuf, Layout),
}

impl Compiler {
    /// The host's compiler, if it can link statically.
    pub(super) fn system() -> Option<Self> {
        let program = find_program(SYSTEM_COMPILER)?;
        let mut ask = Command::new(&program);
        let answer = run(
            ask.arg("-print-file-name=libc.a"),
            "look for the s390x C library",
        )
        .ok()?;
        // The compiler answers with the bare name when it does not have the file.
        Path::new(answer.stdout.trim())
            .is_file()
            .then_some(Self::System(program))
    }

    /// Compiles the client to `program`.
    pub(super) fn compile(&self, scratch: &Path, program: &Path) -> Result<()> {
        let source = scratch.join("apclient.c");
        fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
        match self {
            Self::System(compiler) => {
                let mut command = Command::new(compiler);
                command
                    .args(FLAGS)
                    .arg("-static")
                    .arg("-s")
                    .arg("-o")
                    .arg(program)
                    .arg(&source);
                run(&mut command, "compile the guest's test client").map(drop)
            }
            Self::Private(root, layout) => private(root, *layout, scratch, &source, program),
        }
    }
}

/// Compiler proper, assembler and linker one by one: the usual driver would start them by itself,
/// without the private root's loader in front.
fn private(root: &Path, layout: Layout, scratch: &Path, source: &Path, out: &Path) -> Result<()> {
    let gcc = gcc_dir(root)?;
    let libc = root.join("usr/s390x-linux-gnu");
    let assembly = scratch.join("apclient.s");
    let object = scratch.join("apclient.o");

    let mut compile = layout.command(root, gcc.programs.join("cc1"));
    compile.arg("-quiet").args(FLAGS).arg("-nostdinc");
    compile.arg("-isystem").arg(gcc.libraries.join("include"));
    compile.arg("-isystem").arg(libc.join("include"));
    compile.arg(source).arg("-o").arg(&assembly);
    run(&mut compile, "compile the guest's test client")?;

    let mut assemble = layout.command(root, root.join("usr/bin/s390x-linux-gnu-as"));
    assemble
        .args(["-m64", "-march=z196", "-o"])
        .arg(&object)
        .arg(&assembly);
    run(&mut assemble, "assemble the guest's test client")?;

    let mut link = layout.command(root, root.join("usr/bin/s390x-linux-gnu-ld"));
    let lib = libc.join("lib");
    link.args(["-m", "elf64_s390", "-static", "-s", "-o"])
        .arg(out);
    link.args([
        lib.join("crt1.o"),
        lib.join("crti.o"),
        gcc.libraries.join("crtbeginT.o"),
        object,
    ]);
    link.arg("-L").arg(&lib).arg("-L").arg(&gcc.libraries);
    link.args(["--start-group", "-lc", "-lgcc", "-lgcc_eh", "--end-group"]);
    link.args([gcc.libraries.join("crtend.o"), lib.join("crtn.o")]);
    run(&mut link, "link the guest's test client").map(drop)
}

struct GccDirs {
    /// Where `cc1` is.
    programs: PathBuf,
    /// Where start files, libgcc and the compiler's headers are.
    libraries: PathBuf,
}

fn gcc_dir(root: &Path) -> Result<GccDirs> {
    let libraries = root.join("usr/lib/gcc-cross/s390x-linux-gnu");
    let entries =
        fs::read_dir(&libraries).with_context(|| format!("cannot list {}", libraries.display()))?;
    for version in entries.flatten().map(|entry| entry.file_name()) {
        // Releases differ in whether programs are apart from libraries.
        for programs in ["usr/libexec/gcc-cross", "usr/lib/gcc-cross"] {
            let programs = root.join(programs).join("s390x-linux-gnu").join(&version);
            if programs.join("cc1").is_file() {
                return Ok(GccDirs {
                    programs,
                    libraries: libraries.join(version),
                });
            }
        }
    }
    bail!(
        "the s390x compiler's packages have no cc1 under {}",
        root.display()
    )
}
