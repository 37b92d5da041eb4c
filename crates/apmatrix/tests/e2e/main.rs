//! End-to-end tests: the real program, a real FUSE mount, real tools, a real Linux guest.
//!
//! Run them by `cargo xtask test`, which provides what the tiers need. A test whose tier is not
//! provided says so and does nothing; under `CI=true` it fails instead.
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the helpers of tests stand outside test functions"
)]

mod bare;
mod copy;
mod instance;
mod monitor;
mod tier;

mod aqic;
mod attributes;
mod bench;
mod busy;
mod channel;
mod cli;
mod discovery;
mod emulator;
mod fault_table;
mod faults;
mod hostile;
mod hot_plug;
mod instructions;
mod interrupts;
mod libvirt;
mod lifecycle;
mod linux_guest;
mod mdevctl;
mod persistence;
mod record;
mod residue;
mod revoke;
mod s390_tools;
mod soak;
mod udev;
mod why;
