//! The device channel: how a VMM opens a mediated device, and how the daemon serves it.
//!
//! A mediated device is a Unix stream socket. Its protocol is the published vfio-user protocol plus
//! three AP commands; [`message`] documents every byte of it. Both ends live here:
//!
//! ```text
//!      VMM, test, embedded guest                      daemon
//!   +-----------------------------+        +-----------------------------+
//!   | Client, SharedClient        |        | serve(stream, &backend)     |
//!   |  impl arch::ApInstructions  | socket |  one thread per connection  |
//!   |  deadlines, reconnect       |<------>|  bounded buffers, deadlines |
//!   +-----------------------------+        +--------------+--------------+
//!                                                         | DeviceBackend, DeviceSession
//!                                                         v
//!                                             whoever owns queues and mdevs
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | the wire: header, commands, structures; the protocol's documentation |
//! | [`exec`] | an instruction and its outcome as bytes |
//! | [`version`] | the JSON of VERSION |
//! | [`irq`] | interrupts of the device and the checks of `SET_IRQS` |
//! | [`DmaTable`] | the guest's addresses |
//! | [`backend`] | the traits that the daemon implements |
//! | [`server`] | one session, from the first byte to the last |
//! | [`client`] | the client that a VMM links |
//! | [`shared`] | the client for several threads |
//! | `keeper` | the thread that connects again |
//! | `ring` | memory that both ends share, for most instructions |
//! | `absence` | what a guest is told while the daemon is away |
//!
//! Nothing that a peer sends is trusted: every length is bounded before it is used, every wait has
//! an end, every descriptor is closed, and a peer that misbehaves loses its own connection only.
#![deny(unsafe_code)]

mod absence;
pub mod backend;
pub mod client;
mod connection;
mod dma;
mod enablement;
#[allow(unsafe_code, reason = "three system calls of asynchronous I/O")]
mod eventfd;
pub mod exec;
pub mod irq;
mod keeper;
mod link;
pub mod message;
mod ring;
pub mod server;
pub mod shared;
mod socket;
pub mod version;

pub use backend::{Alert, ApcbView, DeviceBackend, DeviceSession, DmaRange, Grant, Wakeup};
pub use client::{Client, ClientError, ClientOptions};
pub use dma::DmaTable;
pub use eventfd::PeerEventfd;
pub use irq::IrqIndex;
pub use ring::{Lie, Load, Message, RingEnd, RingServer};
pub use server::{Limits, SessionEnd, Violation, serve};
pub use shared::SharedClient;
pub use version::{OpenRequest, VmIdentity, VmIdentityError};
