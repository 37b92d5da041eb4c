//! One guest: the QEMU command line and the running process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, memfd_create};

use super::Qemu;
use super::poke::{self, Poke};
use super::relay::relay;
use crate::image::Image;
use crate::image::cpio::{ExtraFile, extra_archive};

/// The console, and what makes a guest under emulation boot a second earlier: no address
/// randomisation (TCG's machine has no random numbers for it and says so), no self tests of the
/// crypto API and no measuring of the jitter random number generator.
const BASE_COMMAND_LINE: &str = "console=ttysclp0 quiet nokaslr cryptomgr.notests \
                                 initcall_blacklist=jent_mod_init";

/// Our plugin and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The shared object.
    pub file: PathBuf,
    /// Its arguments, `name=value`.
    pub arguments: Vec<(String, String)>,
}

/// How to start a guest.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The emulator.
    pub qemu: Qemu,
    /// The guest's kernel.
    pub kernel: PathBuf,
    /// The guest's initramfs.
    pub initrd: PathBuf,
    /// More words for the kernel's command line.
    pub append: String,
    /// The plugin; a guest without it has no AP instructions.
    pub plugin: Option<Plugin>,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Files added to the initramfs.
    pub extra_files: Vec<ExtraFile>,
    /// More arguments for QEMU.
    pub extra_arguments: Vec<OsString>,
    /// A person sits at the console: QEMU's escape keys (Ctrl-A x and so on) work, and the guest's
    /// shell edits lines. Otherwise every byte goes to the guest and the shell does not echo.
    pub terminal: bool,
    /// The initramfs is ours and says when its shell reads the console. [`Launch::run`] holds input
    /// from a pipe back until then; earlier the guest would drop it.
    pub has_our_init: bool,
}

impl Launch {
    /// A guest of `image` with one processor and no plugin, on a terminal if standard input is one.
    pub fn new(image: &Image) -> Self {
        Self {
            qemu: image.qemu.clone(),
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            append: String::new(),
            plugin: None,
            cpus: 1,
            memory: 512,
            extra_files: Vec::new(),
            extra_arguments: Vec::new(),
            terminal: io::IsTerminal::is_terminal(&io::stdin()),
            has_our_init: true,
        }
    }

    /// Gives the guest's CPUs these AP features, by QEMU's names with `+` between them.
    pub fn cpu_features(&mut self, features: &str) {
        if let Some(plugin) = &mut self.plugin {
            let arguments = &mut plugin.arguments;
            arguments.retain(|(name, _)| name != "cpu-features");
            arguments.push(("cpu-features".to_owned(), features.to_owned()));
        }
    }

    /// Starts QEMU with the guest's console on `stdin` and `stdout` and QEMU's messages on `stderr`.
    ///
    /// The guest ends with the thread that calls this: QEMU asks the kernel to be killed then.
    pub fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Guest> {
        let with_extra = self.initrd_with_extra()?;
        let initrd = with_extra
            .as_ref()
            .map_or_else(|| self.initrd.clone(), path_of);
        let poke = self.poke()?;
        let mut command = self.command(&initrd, poke.as_ref());
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let child = command.spawn().context("cannot start QEMU")?;
        Ok(Guest {
            child,
            _initrd: with_extra,
        })
    }

    /// Starts QEMU on this program's own console and waits for its end.
    pub fn run(&self) -> Result<ExitStatus> {
        if self.terminal || !self.has_our_init {
            let inherit = Stdio::inherit;
            return self.spawn(inherit(), inherit(), inherit())?.wait();
        }
        let mut guest = self.spawn(Stdio::piped(), Stdio::piped(), Stdio::inherit())?;
        relay(&mut guest)?;
        guest.wait()
    }

    /// What wakes the guest when the host changes its matrix.
    fn poke(&self) -> Result<Option<Poke>> {
        if self.plugin.is_none() {
            return Ok(None);
        }
        if let Some(argument) = poke::conflict(&self.extra_arguments, 0) {
            poke::say_what_is_lost(argument);
            return Ok(None);
        }
        let poke = Poke::new().context("cannot make a socket for QEMU");
        poke.map(Some)
    }

    fn command(&self, initrd: &Path, poke: Option<&Poke>) -> Command {
        let mut command = self.qemu.command();
        command.args([
            "-M",
            "s390-ccw-virtio",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "qemu",
        ]);
        command.args([
            "-m",
            &format!("{}M", self.memory),
            "-smp",
            &self.cpus.to_string(),
        ]);
        command.args(["-nodefaults", "-display", "none"]);
        if self.terminal {
            command.args(["-serial", "mon:stdio"]);
        } else {
            command.args(["-chardev", "stdio,id=console,signal=off"]);
            command.args(["-device", "sclpconsole,chardev=console"]);
        }
        // A guest without its launcher would keep the mediated device busy for ever.
        command.args([
            "-run-with",
            "exit-with-parent=on",
            "-action",
            "panic=exit-failure",
        ]);
        command
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(initrd);
        command.args(["-append", &self.kernel_command_line()]);
        if let Some(plugin) = &self.plugin {
            let mut plugin = plugin.clone();
            if let Some(poke) = poke {
                plugin.arguments.push(poke.plugin_argument());
                command.args(poke.qemu_arguments());
            }
            command.arg("-plugin").arg(plugin_option(&plugin));
        }
        command.args(&self.extra_arguments);
        command
    }

    fn kernel_command_line(&self) -> String {
        let mut line = String::from(BASE_COMMAND_LINE);
        if !self.terminal {
            line.push_str(" apmatrix.plain");
        }
        if !self.append.is_empty() {
            line.push(' ');
            line.push_str(&self.append);
        }
        line
    }

    /// The initramfs with the extra files behind it, in memory: nothing is left when we are killed.
    fn initrd_with_extra(&self) -> Result<Option<File>> {
        if self.extra_files.is_empty() {
            return Ok(None);
        }
        let what = || {
            format!(
                "cannot add files to the initramfs {}",
                self.initrd.display()
            )
        };
        let memory = memfd_create("apmatrix-initrd", MemfdFlags::CLOEXEC).with_context(what)?;
        let mut memory = File::from(memory);
        let mut base = File::open(&self.initrd).with_context(what)?;
        io::copy(&mut base, &mut memory).with_context(what)?;
        // The kernel looks for the next archive at a multiple of four.
        let end = memory.seek(SeekFrom::End(0)).with_context(what)?;
        memory.set_len(end.next_multiple_of(4)).with_context(what)?;
        memory.seek(SeekFrom::End(0)).with_context(what)?;
        let extra = extra_archive(&self.extra_files).with_context(what)?;
        memory.write_all(&extra).with_context(what)?;
        Ok(Some(memory))
    }
}

/// A path by which QEMU, a child of ours, can open `file`.
fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

fn plugin_option(plugin: &Plugin) -> OsString {
    // In QEMU's option lists a comma inside a value is written twice.
    let mut option = format!(
        "file={}",
        plugin.file.display().to_string().replace(',', ",,")
    );
    for (name, value) in &plugin.arguments {
        option.push_str(&format!(",{name}={}", value.replace(',', ",,")));
    }
    option.into()
}

/// A running QEMU; it is killed when this is dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    /// QEMU opens it by our descriptor.
    _initrd: Option<File>,
}

impl Guest {
    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the guest powers off (exit status 0) or QEMU fails.
    pub fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_plugin_arguments_are_doubled() {
        let plugin = Plugin {
            file: "/a,b/p.so".into(),
            arguments: vec![
                ("features".into(), "ap,apft".into()),
                ("socket".into(), "/s".into()),
            ],
        };
        assert_eq!(
            plugin_option(&plugin),
            "file=/a,,b/p.so,features=ap,,apft,socket=/s"
        );
    }
}
