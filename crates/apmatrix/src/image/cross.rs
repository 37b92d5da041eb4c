//! C for s390x: the guest's test client from the source in this program, and programs of tests that
//! run without an operating system.

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

/// A program without an operating system has no library, and registers only that nobody saves.
const BARE_FLAGS: [&str; 6] = [
    "-ffreestanding",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-tree-loop-distribute-patterns",
    "-msoft-float",
];
/// Where QEMU puts such a program: above low core and what QEMU itself leaves below 1 MiB.
const BARE_ADDRESS: &str = "-Ttext-segment=0x20000";

/// What a program is linked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// The C library, statically.
    Libc,
    /// Nothing: QEMU starts it as a kernel, at the symbol `_start`.
    Bare,
}

impl Link {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Libc => &[],
            Self::Bare => &BARE_FLAGS,
        }
    }
}

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

    /// Compiles the guest's test client to `program`.
    pub(super) fn compile_client(&self, scratch: &Path, program: &Path) -> Result<()> {
        let source = scratch.join("apclient.c");
        fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
        self.compile(scratch, &source, Link::Libc, program)
    }

    /// Compiles the one file `source` to `program`; what comes in between is left in `scratch`.
    pub(super) fn compile(
        &self,
        scratch: &Path,
        source: &Path,
        link: Link,
        program: &Path,
    ) -> Result<()> {
        match self {
            Self::System(compiler) => {
                let mut command = Command::new(compiler);
                command
                    .args(FLAGS)
                    .args(link.flags())
                    .args(["-static", "-s"]);
                if link == Link::Bare {
                    command.args(["-nostdlib", "-no-pie", "-Wl,--build-id=none"]);
                    command.arg(format!("-Wl,{BARE_ADDRESS}"));
                }
                command.arg("-o").arg(program).arg(source);
                run(&mut command, &format!("compile {}", source.display())).map(drop)
            }
            Self::Private(root, layout) => Private {
                root,
                layout: *layout,
                scratch,
                link,
            }
            .compile(source, program),
        }
    }
}

/// One run of a compiler in a private root: compiler proper, assembler and linker one by one. The
/// usual driver would start them by itself, without the private root's loader in front.
struct Private<'a> {
    root: &'a Path,
    layout: Layout,
    scratch: &'a Path,
    link: Link,
}

impl Private<'_> {
    fn compile(&self, source: &Path, out: &Path) -> Result<()> {
        let shown = source.display();
        let gcc = gcc_dir(self.root)?;
        let assembly = self.scratch.join("program.s");
        let object = self.scratch.join("program.o");

        let mut compile = self.command(gcc.programs.join("cc1"));
        compile.arg("-quiet").args(FLAGS).args(self.link.flags());
        compile.arg("-nostdinc");
        compile.arg("-isystem").arg(gcc.libraries.join("include"));
        compile.arg("-isystem").arg(self.libc().join("include"));
        compile.arg(source).arg("-o").arg(&assembly);
        run(&mut compile, &format!("compile {shown}"))?;

        let mut assemble = self.command(self.root.join("usr/bin/s390x-linux-gnu-as"));
        assemble.args(["-m64", "-march=z196", "-o"]);
        assemble.arg(&object).arg(&assembly);
        run(&mut assemble, &format!("assemble {shown}"))?;

        let mut link = self.command(self.root.join("usr/bin/s390x-linux-gnu-ld"));
        link.args(["-m", "elf64_s390", "-static", "-s", "-o"]);
        link.arg(out);
        match self.link {
            Link::Libc => self.with_libc(&mut link, &gcc.libraries, &object),
            Link::Bare => drop(link.arg(BARE_ADDRESS).arg(&object)),
        }
        run(&mut link, &format!("link {shown}")).map(drop)
    }

    fn with_libc(&self, link: &mut Command, gcc: &Path, object: &Path) {
        let lib = self.libc().join("lib");
        link.args([lib.join("crt1.o"), lib.join("crti.o")]);
        link.arg(gcc.join("crtbeginT.o")).arg(object);
        link.arg("-L").arg(&lib).arg("-L").arg(gcc);
        link.args(["--start-group", "-lc", "-lgcc", "-lgcc_eh", "--end-group"]);
        link.args([gcc.join("crtend.o"), lib.join("crtn.o")]);
    }

    fn libc(&self) -> PathBuf {
        self.root.join("usr/s390x-linux-gnu")
    }

    fn command(&self, program: PathBuf) -> Command {
        self.layout.command(self.root, program)
    }
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
