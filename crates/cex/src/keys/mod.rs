//! Prepared keys, kept for the next request with the same key.
//!
//! ```text
//!   request ---> KeyMaterial ---> KeyStore::find ---> PreparedKey ---> operation
//!                    |                  | not there                       |
//!                    |                  +---> made from the operands -----+
//!                    +----------------> KeyStore::keep <------------------+ done
//! ```
//! A request of an accelerator brings its key along, and preparing one takes longer than finding it. Who
//! keeps keys, for whom and until when, is the caller's decision: a [`KeyStore`] lends a card one
//! owner's keys, and [`KeyCache`] is what such a store is made of. A card without a store prepares every key anew.
//!
//! Keys of different owners must be in different caches: then no owner learns from the time of an answer
//! what keys another one uses, and no mistake in here can give one owner's key to another.

mod cache;
mod material;

use std::sync::Arc;

use crate::crypto::{PrivateKey, PublicKey};

pub use cache::{KeyCache, MAX_BYTES, MAX_KEYS};
pub use material::{Fingerprint, HashKey, KeyMaterial};

/// A key with everything that can be computed before a message is there.
#[derive(Debug)]
pub enum PreparedKey {
    /// A private key in CRT form.
    Crt(PrivateKey),
    /// A modulus with a short exponent.
    Public(PublicKey),
}

/// One owner's prepared keys, as a card sees them. Several requests may use a store at the same time.
pub trait KeyStore {
    /// The key of this material, if it is kept.
    fn find(&self, material: &KeyMaterial<'_>) -> Option<Arc<PreparedKey>>;

    /// Keeps a key that was found useful, or not.
    fn keep(&self, material: &KeyMaterial<'_>, key: Arc<PreparedKey>);
}

/// A store that keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoKeys;

impl KeyStore for NoKeys {
    fn find(&self, _: &KeyMaterial<'_>) -> Option<Arc<PreparedKey>> {
        None
    }

    fn keep(&self, _: &KeyMaterial<'_>, _: Arc<PreparedKey>) {}
}
