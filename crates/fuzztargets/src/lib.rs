//! What is fuzzed, as functions of bytes. Each panics when something that must hold does not.
//!
//! `cargo xtask fuzz` runs them under cargo-fuzz (folder `fuzz`, a workspace of its own because it needs
//! a nightly toolchain); `cargo test` replays the corpora of `fuzz/corpus`, with which found bugs stay
//! found. What only the program has, is fuzzed in `apmatrix::fuzzing`.
//!
//! | module | targets |
//! |---|---|
//! | [`texts`] | masks, numbers, UUIDs, queue numbers, SPEC, orders of faults |
//! | [`wire`] | frames, instructions, outcomes, VERSION, whole sessions |
//! | [`corpus`] | the replay |
#![forbid(unsafe_code)]

pub mod corpus;
pub mod texts;
pub mod wire;
