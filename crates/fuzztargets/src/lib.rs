//! What is fuzzed, as functions of bytes. Each panics when something that must hold does not.
//!
//! `cargo xtask fuzz` runs them under cargo-fuzz (folder `fuzz`, a workspace of its own because it needs
//! a nightly toolchain); `cargo test` replays the corpora of `fuzz/corpus`, with which found bugs stay
//! found. What only the program has, is fuzzed in `apmatrix::fuzzing`.
//!
//! | module | targets |
//! |---|---|
//! | [`texts`] | masks, numbers, UUIDs, queue numbers, SPEC, orders of faults |
//! | [`wire`] | frames, outcomes, VERSION, whole sessions |
//! | [`rings`] | the server's end of shared memory |
//! | [`messages`] | AP messages: requests to a card, replies to a guest |
//! | [`instructions`] | programs of two guests on one machine |
//! | [`shadow`] | what [`instructions`] compares the machine with |
//! | [`corpus`] | the replay |
#![forbid(unsafe_code)]

pub mod corpus;
pub mod instructions;
pub mod messages;
pub mod rings;
pub mod shadow;
pub mod texts;
pub mod wire;
