//! `apmatrix guest`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Subcommand;

use super::Context;
use crate::admin::parse_uuid;
use crate::image::{self, Image, PackageSet};
use crate::launch::{Launch, Plugin, find_plugin};

/// Build the guest image; run an s390x Linux guest with a mediated device
#[derive(Debug, clap::Args)]
pub(super) struct Guest {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the guest image from Debian packages, without root: QEMU, a kernel, a small initramfs
    Image {
        /// Where to keep it [default: $APMATRIX_IMAGE_DIR or ~/.cache/apmatrix/image]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    Run(Run),
    #[command(hide = true)]
    Packages(Packages),
}

/// Unpack Debian packages as a root of their own, for tests with real tools
#[derive(Debug, clap::Args)]
struct Packages {
    /// A link to the root; finished roots are kept beside it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Debian's release
    #[arg(long)]
    suite: String,
    /// Debian's name of an architecture [default: the host's]
    #[arg(long)]
    arch: Option<String>,
    /// A package without what it needs
    #[arg(long, value_name = "PACKAGE")]
    alone: Vec<String>,
    /// A package that is not wanted although something needs it
    #[arg(long, value_name = "PACKAGE")]
    skip: Vec<String>,
    /// Packages with what they need
    packages: Vec<String>,
}

/// Run a guest; its console is on standard input and output, QEMU's messages on standard error
///
/// Exit code 0 when the guest powers off.
#[derive(Debug, clap::Args)]
struct Run {
    /// The mediated device that the guest gets
    #[arg(long, value_name = "UUID")]
    mdev: String,
    /// The image's directory
    #[arg(long, value_name = "DIR")]
    image: Option<PathBuf>,
    /// Another kernel than the image's
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Another initramfs than the image's
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// More words for the kernel's command line
    #[arg(long, value_name = "STR")]
    append: Option<String>,
    /// AP features of the guest's CPU, by QEMU's names
    #[arg(long, value_name = "LIST", default_value = "ap,apft,apqci")]
    cpu_features: String,
    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// The QEMU plugin [default: beside this program, or in the installed library folder]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// More arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGS")]
    qemu: Vec<OsString>,
}

impl Guest {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        match &self.verb {
            Verb::Image { out } => {
                let dir = out.clone().unwrap_or_else(image::default_dir);
                let image = image::ensure(&dir, &mut progress)?;
                writeln!(context.out, "kernel  {}", image.kernel.display())?;
                writeln!(context.out, "initrd  {}", image.initrd.display())?;
                writeln!(context.out, "qemu    {}", image.qemu.version())?;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Run(run) => run.run(context),
            Verb::Packages(packages) => {
                let root = packages.set().unpack(&packages.out, &mut progress)?;
                writeln!(context.out, "{}", root.display())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Packages {
    fn set(&self) -> PackageSet {
        PackageSet {
            suite: self.suite.clone(),
            arch: self.arch.clone(),
            packages: self.packages.clone(),
            alone: self.alone.clone(),
            skip: self.skip.clone(),
        }
    }
}

/// Progress of a long step, for the person who waits.
pub(super) fn progress(line: &str) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "apmatrix: {line}"));
}

impl Run {
    fn run(&self, context: &Context<'_>) -> Result<ExitCode> {
        let uuid = parse_uuid(&self.mdev)?;
        let socket = context.run_dir.mdev_socket(&uuid);
        // The daemon's own namespaces do not hide its sockets: no need to enter them.
        context.run_dir.daemon()?;
        ensure!(
            socket.exists(),
            "there is no mediated device {uuid} (create one: apmatrix mdev create {uuid})"
        );
        let mut launch = self.base()?;
        let plugin = find_plugin(self.plugin.as_deref())?;
        launch.plugin = Some(plugin_for(
            plugin,
            &socket,
            &self.cpu_features.replace(',', "+"),
        ));
        if let Some(append) = &self.append {
            launch.append.clone_from(append);
        }
        (launch.cpus, launch.memory) = (self.cpus, self.memory);
        launch.extra_arguments.clone_from(&self.qemu);
        let status = launch.run()?;
        Ok(if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// The image, with the parts of it that the user replaced.
    fn base(&self) -> Result<Launch> {
        let dir = self.image.clone().unwrap_or_else(image::default_dir);
        let image = match (&self.kernel, &self.initrd) {
            (Some(kernel), Some(initrd)) => Image {
                qemu: image::ensure_qemu(&dir, &mut progress)?,
                kernel: kernel.clone(),
                initrd: initrd.clone(),
            },
            _ => image::ensure(&dir, &mut progress)?,
        };
        let mut launch = Launch::new(&image);
        launch.has_our_init = self.initrd.is_none();
        if let Some(kernel) = &self.kernel {
            launch.kernel.clone_from(kernel);
        }
        if let Some(initrd) = &self.initrd {
            launch.initrd.clone_from(initrd);
        }
        Ok(launch)
    }
}

/// The plugin with the arguments that connect it to a device channel.
pub(crate) fn plugin_for(file: PathBuf, socket: &Path, features: &str) -> Plugin {
    let arguments = vec![
        ("socket".to_owned(), socket.display().to_string()),
        ("cpu-features".to_owned(), features.to_owned()),
    ];
    Plugin { file, arguments }
}
