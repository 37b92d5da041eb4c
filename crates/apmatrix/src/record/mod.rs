//! Recordings: the AP traffic of a mediated device in a file.
//!
//! ```text
//!   session thread --Event, redacted--> bounded queue --> console thread --pcap-ng--> `apmatrix record`
//!          (never waits: a full queue counts a drop)
//!
//!   file --read--> Recording of Events --> dissect: text or JSON
//!                                     \--> rerun: the same requests against a fresh machine
//! ```
//! `docs/record.md` describes the file. Reading one is a pure function of its bytes: files are not trusted.

mod dissect;
mod event;
mod json;
mod message;
mod pcapng;
mod read;
mod rerun;

pub(crate) use dissect::{line, verbose};
pub use event::Event;
pub(crate) use event::{Pieces, Secrets};
pub(crate) use json::as_json;
pub(crate) use pcapng::Writer;
pub use read::{RecordError, Recording, read};
pub(crate) use rerun::rerun;
