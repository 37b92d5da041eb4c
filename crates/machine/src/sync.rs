//! Locks without poisoning.
//!
//! A lock is poisoned when a thread panics while it holds it. No code that can panic on a guest's
//! data runs under a lock of this crate (card models run outside), so the state behind a poisoned
//! lock is whole, and one broken thread must not take the other guests down.
//!
//! Every lock and counter of the crate comes from here, so that feature `loom` puts a model checker's in
//! their place (`tests/interleavings.rs`).

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
use std::sync::PoisonError;
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
