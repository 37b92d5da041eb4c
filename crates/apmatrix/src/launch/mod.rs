//! Starting a guest: which QEMU, which plugin, which command line, and talking to its console.

mod console;
mod guest;
mod plugin;
pub(crate) mod poke;
mod qemu;
mod relay;
pub mod vectors;

/// The guest's init prints it when the shell is about to read the console.
const READY: &str = "APMATRIX GUEST READY";

pub use self::console::GuestConsole;
pub use self::guest::{Guest, Launch, Plugin};
pub use self::plugin::find_plugin;
pub use self::qemu::{ACCEPTED, Qemu, Version};
