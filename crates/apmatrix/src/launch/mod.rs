//! Starting a guest: which QEMU, which plugin, which command line, and talking to its console.

mod console;
mod guest;
mod plugin;
mod qemu;
mod relay;

/// The guest's init prints it when the shell is about to read the console.
const READY: &str = "APMATRIX GUEST READY";

pub(crate) use self::console::GuestConsole;
pub(crate) use self::guest::{Guest, Launch, Plugin};
pub(crate) use self::plugin::find_plugin;
pub(crate) use self::qemu::{ACCEPTED, Qemu, Version};
