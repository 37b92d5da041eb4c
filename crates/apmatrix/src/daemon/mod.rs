//! The daemon: one machine, one host, their tree, and the guests that come to it.
//!
//! ```text
//!   FUSE threads --store--> +---------+ <--open, reset, close-- sessions (a thread per connection)
//!   console  ----request--> | control | --rings SessionLink-->      |
//!                           +---------+                             | instructions
//!                                | commands                         v
//!                                v                              +---------+   doorbell   +---------+
//!                              host ------ masks, resets -----> | machine | -----------> | engines |
//!                                                               +---------+              +---------+
//! ```
//!
//! Reads never reach control: they are served from the published snapshot.

mod alert_fd;
mod alerts;
mod commit;
mod connections;
mod console_server;
mod control;
mod desk;
mod engines;
mod fair;
mod faults;
mod hmc;
#[cfg(test)]
mod hung_resets;
mod ipl;
mod link;
mod listeners;
mod machine_file;
mod platform;
mod polling;
mod ready;
mod recorders;
mod refusals;
mod resets;
mod rings;
mod session;
mod start;
mod temporary;

pub(crate) use desk::Desk;
pub(crate) use machine_file::Machinery;
pub(crate) use platform::MachinePlatform;
pub(crate) use refusals::Asker;
pub(crate) use start::{Daemon, Options, Persistence};
pub(crate) use temporary::TemporaryDaemon;
