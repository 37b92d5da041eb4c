//! Rings: NQAP, DQAP, TAPQ and QCI without a round trip, through memory that client and server share.
//!
//! The server makes two pieces of memory for a session and sends their descriptors. The *area* is written
//! by both; everything that the server reads there is hostile. The *window* is written by the server
//! alone: a seal keeps the client from mapping it otherwise, so what the server reads there is its own.
//!
//! ```text
//!            area (client and server write)              window (the server writes)
//!   +-----------------------------------------+   +-----------------------------------------+
//!   | activity                                |   | sequence, QCI block; sleeping; directory |
//!   | ring r: submitted, consumed, offset     |   | ring r: state, info, published, alerts   |
//!   | ring r: 8 slots for requests            |   | ring r: 8 slots for replies              |
//!   +-----------------------------------------+   +-----------------------------------------+
//! ```
//!
//! A ring belongs to one queue for one *epoch* after the other. Every count carries its epoch in the upper
//! half of its word; a count of another epoch is 0. So a reset is one store: whatever the client does
//! with what it knew of the former epoch, nobody takes it for something of the new one.
//!
//! ```text
//!   state:  closed(e) --> open(e + 1) --> closing(e + 1) --> closed(e + 2) --> ...
//!                              \_______ reset, revoke _______^
//!
//!   slots:  client                         server
//!     NQAP  write slot                     take: copy it once
//!           submitted := (e, n + 1)        ...
//!           activity += 1                  post: erase the request, write slot
//!           sleeping? ring the doorbell          published := (e, m + 1)
//!     DQAP  published > consumed?
//!           copy slot, look at the state again: another epoch, no reply
//!           consumed := (e, c + 1)
//! ```
//!
//! Who looks for work: an engine that polls `activity`, or else the session's thread, for which the
//! client writes to the doorbell. The server says *sleeping* before nobody polls, and looks once more:
//!
//! ```text
//!   client:  submitted, activity; fence; sleeping?     server:  sleeping := 1; fence; activity?
//! ```
//! One of the two sees the other; `model` tries every order.

pub(crate) mod client;
mod end;
mod held;
mod layout;
mod memory;
#[cfg(all(test, feature = "loom"))]
mod model;
mod queue;
mod server;
mod sync;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
mod words;

pub(crate) use client::{KnownAlerts, Rings, Shared};
pub use end::{Lie, Load, Message, RingEnd};
pub(crate) use server::Offer;
pub use server::RingServer;
