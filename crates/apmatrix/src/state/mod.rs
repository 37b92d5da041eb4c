//! The daemon's state on disk: it survives the death of the process at any instruction.
//!
//! ```text
//!   start:  read STATE/journal --> hardware and host of the snapshot --> apply the entries
//!                 |                                                            |
//!                 +-- none: boot the machine file, write the first snapshot    v
//!   write:  parse --> apply to a clone --> append one entry --> publish --> answer
//!   then :  fsync once a second; a new snapshot when there are many entries, and at the end
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `frame` | records in a file: length, checksum, what is torn and what is damaged |
//! | `entry` | what happened: accepted commands |
//! | `rows` | the snapshot |
//! | `text` | how masks and names stand in a record |
//! | `store` | the directory: files, lock, what is put aside |
//! | `journal` | appending, and keeping the file short |
//! | `snapshot` | writing a snapshot while the journal goes on |
//! | `syncer` | fsync on a timer |
//! | `begin` | starting with or without a state |
//! | `check` | what holds of any bytes that are read as a journal |
//!
//! The format and what it promises are in `docs/state.md`.

mod begin;
mod check;
mod entry;
mod frame;
mod journal;
mod rows;
mod snapshot;
mod store;
mod syncer;
mod text;

pub(crate) use begin::begin;
pub(crate) use check::check;
pub(crate) use entry::Entry;
pub(crate) use journal::Journal;
pub(crate) use snapshot::Image;
