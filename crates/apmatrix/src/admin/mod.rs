//! The administrator's view of a sysfs tree: the running instance's, a plain copy, or a mainframe's
//! own `/sys`.
//!
//! Everything here reads and writes files and nothing else, so it works with the daemon stopped. Only
//! the reason of a refusal comes from the daemon, when there is one.

mod mdev;
mod text;
mod tree;

pub use mdev::Mdev;
pub use text::{parse_numbers, parse_uuid};
pub use tree::{Refused, Tree};
