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

mod instance;
mod tier;

mod attributes;
mod bench;
mod cli;
mod emulator;
mod linux_guest;
mod mdevctl;
mod revoke;
