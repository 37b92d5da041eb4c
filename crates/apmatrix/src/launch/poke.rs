//! What lets the plugin wake an idle guest: a second console, of the line-mode kind, that nobody reads.
//!
//! QEMU gets one end of a socket as that console, the plugin the other: an empty line of input is an
//! interruption for the guest. Nothing of it is left when QEMU ends.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// QEMU's name of the device; a machine can have one.
const DEVICE: &str = "sclplmconsole";
/// Names our character device on QEMU's command line.
const NAME: &str = "apmatrix-poke";

/// The socket, to be inherited by QEMU: make it right before QEMU starts, drop it right after.
#[derive(Debug)]
pub(crate) struct Poke {
    console: OwnedFd,
    plugin: OwnedFd,
}

impl Poke {
    /// A new socket.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let (console, plugin) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )?;
        Ok(Self { console, plugin })
    }

    /// What QEMU is told of its end.
    pub(crate) fn qemu_arguments(&self) -> [OsString; 4] {
        let console = self.console.as_raw_fd();
        [
            "-chardev".into(),
            format!("socket,id={NAME},fd={console}").into(),
            "-device".into(),
            format!("{DEVICE},chardev={NAME}").into(),
        ]
    }

    /// The plugin's argument: its end.
    pub(crate) fn plugin_argument(&self) -> (String, String) {
        ("poke".to_owned(), self.plugin.as_raw_fd().to_string())
    }
}

/// Which of QEMU's arguments takes the machine's place for a line-mode console: the device itself, or
/// a serial line beyond `free`, the number of those that become something else.
pub(crate) fn conflict(arguments: &[OsString], free: usize) -> Option<&OsStr> {
    let is_serial =
        |argument: &&OsString| matches!(argument.to_str(), Some("-serial" | "--serial"));
    let device = arguments
        .iter()
        .find(|argument| argument.to_string_lossy().contains(DEVICE));
    let serial = arguments.iter().filter(is_serial).nth(free);
    device.or(serial).map(OsString::as_os_str)
}

/// Tells whoever starts a guest that it has no poke.
pub(crate) fn say_what_is_lost(argument: &OsStr) {
    drop(writeln!(
        io::stderr(),
        "apmatrix: {} takes the guest's line-mode console: while it is idle, it will notice hot plug \
         only at its next timer interruption",
        argument.display()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_second_serial_line_or_the_device_itself_is_a_conflict() {
        let one = arguments(&["-serial", "stdio", "-m", "1G"]);
        assert_eq!(conflict(&one, 1), None);
        assert_eq!(conflict(&one, 0), Some(OsStr::new("-serial")));
        let two = arguments(&["-serial", "stdio", "--serial", "null"]);
        assert_eq!(conflict(&two, 1), Some(OsStr::new("--serial")));
        let device = arguments(&["-device", "sclplmconsole,chardev=c"]);
        assert!(conflict(&device, 1).is_some());
    }

    #[test]
    fn both_ends_are_named_by_number() {
        let poke = Poke::new().unwrap();
        let [_, chardev, _, device] = poke.qemu_arguments();
        let number = format!("fd={}", poke.console.as_raw_fd());
        assert!(chardev.to_str().unwrap().ends_with(&number));
        assert_eq!(device, "sclplmconsole,chardev=apmatrix-poke");
        assert_eq!(
            poke.plugin_argument().1,
            poke.plugin.as_raw_fd().to_string()
        );
    }
}
