//! Software models of Crypto Express cards: a message in, a reply out.
//!
//! ```text
//!   request bytes ---> Card::process ---> Reply (bytes, zeroized after use)
//!                        |
//!                        +-- accelerator: type 50 (RSA)  ---> type 80
//!                        +-- CCA, EP11: not modelled yet ---> type 82
//! ```
//!
//! The crate knows neither queues nor guests: a request carries the usage domain that it addresses
//! and nothing else about where it came from. It does no I/O, reads no clock and keeps no state
//! between requests but the prepared keys that its caller has for it. The random numbers that blind private keys are OpenSSL's. Whatever bytes a guest sends, the answer is a well-formed message and never a
//! panic. Sections named in the documentation ("card spec 2.1") are those of the project's
//! specification of Crypto Express messages.
//!
//! | module | holds |
//! |---|---|
//! | [`card`] | [`Card`], what TAPQ tells about it, [`Request`] |
//! | [`identity`] | what a card says about itself: serial number, firmware, master keys |
//! | [`accelerator`] | type 50 requests executed |
//! | [`type50`] | the clear-key RSA request, decoded |
//! | [`type80`] | its reply, encoded |
//! | [`error_reply`] | type 82 messages and [`ReplyCode`] |
//! | [`reply`] | [`Reply`], the buffer in which replies are built |
//! | [`redact`] | which bytes of a message may be shown |
//! | [`mod@reference`] | OpenSSL asked directly, to compare with |
//! | [`keys`] | prepared keys, kept for one owner's next requests |
//! | [`crypto`] | big-number arithmetic; the only code that names OpenSSL |
#![forbid(unsafe_code)]

pub mod accelerator;
pub mod card;
pub mod crypto;
pub mod error_reply;
pub mod identity;
pub mod keys;
pub mod redact;
pub mod reference;
pub mod reply;
pub mod type50;
pub mod type80;

pub use card::{Card, MAX_MESSAGE, Request};
pub use error_reply::ReplyCode;
pub use reply::Reply;
