//! Faults on demand: how a queue misbehaves because an operator asked for it.
//!
//! ```text
//!   inject(Order) --> active --+-- hit the last time, cleared, queue gone --> over
//!                       ^      |
//!                       +------+  instruction or request that it is about: a hit
//! ```
//! A fault is data of one queue. It hits whoever executes on that queue, as broken hardware would,
//! unless its order says *by guest* or *by host*. An instruction that the queue would refuse anyway
//! (not this guest's, deconfigured, check-stopped) is no hit. Faults are of the hardware: they stay
//! while a queue changes hands, is reset or deconfigured, and go when the adapter or domain goes.
//!
//! The crate reads no clock. A fault *for a time* is [cleared](crate::Machine::clear_fault) by the
//! caller's timer, and a slow reply is computed at once and kept until the caller
//! [releases](crate::Machine::release) it.
//!
//! | fault | hits | then |
//! |---|---|---|
//! | `rc INSTRUCTION CODE` | that instruction | it does nothing and answers the response code |
//! | `hang-reset` | RAPQ, ZAPQ | the reset answers 00, everything after it 02, until the fault is cleared |
//! | `slow TIME` | a request | its reply comes so much later |
//! | `drop` | a request | it is lost with its reply, and the queue does not hold it any more |
//! | `corrupt AT HEX` | a request | its reply has these bytes at this offset, and is longer if it ended before |
//! | `truncate LENGTH` | a request | its reply ends there |
//! | `reply-code CODE` | a request | its reply is a type 82 message with this code |
//! | `panic` | a request | the card model panics; whoever runs it is to check-stop the card |
//!
//! Of the faults about one instruction the first that was injected hits alone; a request is hit by
//! all that are about it, in the order of injection.

mod active;
mod console;
mod fault;
mod order;
mod text;
mod withheld;

pub(crate) use active::{Faults, Hit, RequestFaults};
pub use console::{ActiveFault, InjectError};
pub use fault::{Fault, FaultId, FaultTarget, Mnemonic, Order, RequestFault};
pub use order::OrderError;
pub use text::parse_duration;
pub use withheld::Ticket;
pub(crate) use withheld::Withheld;
