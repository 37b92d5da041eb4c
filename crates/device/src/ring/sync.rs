//! The atomics of shared memory. Every word of it comes from here, so that feature `loom` puts a model
//! checker's in their place.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
