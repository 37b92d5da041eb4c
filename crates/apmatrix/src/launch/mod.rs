//! Starting the guest: which QEMU, which command line.

mod qemu;

pub use self::qemu::{ACCEPTED, Qemu, Version};
