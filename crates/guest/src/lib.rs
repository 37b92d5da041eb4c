//! An embedded guest: what a Linux guest does with its AP queues, in a library.
//!
//! The guest runs the same AP bus as a host, over a device channel (or anything that executes AP
//! instructions), and sends RSA requests to its accelerator queues as Linux's zcrypt does. It knows
//! neither the machine nor the matrix: all it sees is a socket.
//!
//! ```text
//!   mod_expo, crt, submit                         poll, wait
//!        |                                            ^
//!        v                                            |
//!   [waiting] --NQAP--> [queue: outstanding] --DQAP--> reply --> done
//!        ^                        |                     |
//!        |   EAGAIN class, queue lost, at most 10 times |
//!        +------------------------+---------------------+
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`type50`] | accelerator requests: operands to bytes |
//! | [`reply`] | replies: type 80 results, type 82 and 88 errors |
//! | [`requester`] | requests under way, retries, choice of queues |
//! | `interrupts` | adapter interruptions: GISA, notification byte |
//! | [`linux`] | [`Guest`]: bus and requester together |
#![forbid(unsafe_code)]

mod interrupts;
pub mod linux;
pub mod reply;
pub mod requester;
pub mod type50;

pub use linux::Guest;
pub use requester::{RequestError, Ticket};
pub use type50::{Crt, ModExpo, OperandError};
