//! Fixtures for tests: nothing here is part of the product.
//!
//! | module | holds |
//! |---|---|
//! | [`hardware`] | [`Hardware`]: a small independent fake of a partition's AP hardware |
#![forbid(unsafe_code)]

pub mod hardware;

pub use hardware::{Hardware, SpecError};
