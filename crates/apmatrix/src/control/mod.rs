//! The control socket, `RUN/control.sock`: the hardware console and the log.
//!
//! Administration of the host has one door, the tree. What on a real machine happens at the hardware
//! console, and what a real machine does not tell at all (why something was refused), comes through
//! here. One request and one response per line, as JSON, any number of them per connection.

mod client;
mod protocol;

pub use client::ask;
pub(crate) use client::open;
pub use protocol::{
    AdapterView, CardCount, ConsoleView, FaultView, Refusal, Request, Response, Writer,
};
