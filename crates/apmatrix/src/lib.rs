//! Crypto Express adapters and the `vfio_ap` AP matrix in user space: the parts of the program.
//!
//! | module | holds |
//! |---|---|
//! | [`verbs`] | the command line |
//! | `daemon` | control thread, sessions, engines, hardware console |
//! | `fuse` | the tree as a file system |
//! | [`admin`] | a tree seen through its files |
//! | `explain` | why a queue or a mediated device is as it is, from the tree's files alone |
//! | [`control`] | the control socket's protocol |
//! | `cpu_clock` | the time that a thread has spent on a CPU |
//! | [`namespace`] | where the tree is visible |
//! | [`rundir`] | directories of an instance |
//! | [`scenario`] | files of faults with times |
//! | `state` | the journal: what survives the death of the process |
//! | [`image`], [`launch`] | the guest image; QEMU with a guest |
//! | [`fuzzing`] | what is fuzzed of the program itself |
//! | [`workload`] | RSA requests with the answers that OpenSSL computed |
//! | [`record`] | recordings of AP traffic: the file, its reader, as text, once more |
//! | `replay` | recorded transcripts against the tree |
#![forbid(unsafe_code)]

pub mod admin;
mod bench;
pub mod control;
mod cpu_clock;
mod daemon;
mod demo;
mod emulator;
mod explain;
mod fuse;
pub mod fuzzing;
pub mod image;
pub mod launch;
pub mod namespace;
pub mod record;
mod replay;
pub mod rundir;
pub mod scenario;
mod state;
#[allow(
    clippy::doc_markdown,
    reason = "doc comments of options are the help text"
)]
pub mod verbs;
pub mod workload;
