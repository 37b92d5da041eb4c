//! A bounded number of prepared keys; the one that was not used for longest goes first.
//!
//! A key is found by its [`Fingerprint`] and then compared, all of it, in constant time: a fingerprint
//! that two keys share costs time and never gives a wrong key. Material is erased when its entry goes;
//! the prepared key itself is erased with the last operation that uses it.

use core::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::PreparedKey;
use super::material::{Fingerprint, KeyMaterial};
use crate::type50::KeyBlock;

/// How many keys a cache holds at most.
pub const MAX_KEYS: usize = 32;
/// How much memory they may take, in bytes: 18 of 4096 bits, 30 of 2048 bits, 32 of 1024.
pub const MAX_BYTES: usize = 256 * 1024;

/// The prepared keys of one owner. It has no memory while it is empty, and a hit allocates none.
#[derive(Default)]
pub struct KeyCache {
    entries: Vec<Entry>,
    /// Sum over the entries.
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    fingerprint: Fingerprint,
    block: KeyBlock,
    material: Zeroizing<Box<[u8]>>,
    key: Arc<PreparedKey>,
    /// When it was used last.
    used: u64,
}

impl Entry {
    fn is(&self, fingerprint: Fingerprint, material: &KeyMaterial<'_>) -> bool {
        self.fingerprint == fingerprint && material.is(self.block, &self.material)
    }
}

impl KeyCache {
    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
            clock: 0,
        }
    }

    /// The key of this material, which now counts as used. `fingerprint` is the material's.
    pub fn find(
        &mut self,
        fingerprint: Fingerprint,
        material: &KeyMaterial<'_>,
    ) -> Option<Arc<PreparedKey>> {
        self.clock += 1;
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.is(fingerprint, material))?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.key))
    }

    /// Keeps a key; those that were not used for longest go until there is room. A key whose material is
    /// here already stays as it is.
    pub fn keep(
        &mut self,
        fingerprint: Fingerprint,
        material: &KeyMaterial<'_>,
        key: Arc<PreparedKey>,
    ) {
        if self.find(fingerprint, material).is_some() {
            return;
        }
        let size = size_of(material.block());
        while self.entries.len() >= MAX_KEYS || self.bytes + size > MAX_BYTES {
            self.evict();
        }
        // Once, at its final size: entries never leave copies of themselves behind.
        self.entries.reserve_exact(MAX_KEYS - self.entries.len());
        self.bytes += size;
        self.entries.push(Entry {
            fingerprint,
            block: material.block(),
            material: Zeroizing::new(material.bytes().into()),
            key,
            used: self.clock,
        });
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that the keys take when all of them are prepared, in bytes; an upper bound.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Erases everything and frees the memory.
    pub fn wipe(&mut self) {
        *self = Self::new();
    }

    fn evict(&mut self) {
        let oldest = (0..self.entries.len()).min_by_key(|at| self.entries[*at].used);
        if let Some(at) = oldest {
            let gone = self.entries.swap_remove(at);
            self.bytes -= size_of(gone.block);
        }
    }
}

/// What an entry takes at most, in bytes: the material, our numbers, OpenSSL's numbers, three Montgomery contexts
/// and two blindings, in units of the operands; and what they are wrapped in.
const fn size_of(block: KeyBlock) -> usize {
    match block {
        KeyBlock::Crt(size) => 44 * size.prime_len() + 3072,
        KeyBlock::ModExpo(size) => 8 * size.field_len() + 1536,
    }
}

/// Keys are secret: only their number is shown.
impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache")
            .field("keys", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PublicKey;
    use crate::type50::{OPERANDS_AT, SizeClass};
    use proptest::prelude::*;

    const SMALL: KeyBlock = KeyBlock::ModExpo(SizeClass::Bits1024);
    const LARGE: KeyBlock = KeyBlock::Crt(SizeClass::Bits4096);

    fn request(block: KeyBlock, number: u8) -> Vec<u8> {
        let mut bytes = vec![0; block.message_len()];
        bytes[OPERANDS_AT + usize::from(number)] = 1;
        bytes
    }

    fn key() -> Arc<PreparedKey> {
        Arc::new(PreparedKey::Public(PublicKey::new()))
    }

    fn fingerprint(number: u8) -> Fingerprint {
        Fingerprint(u64::from(number))
    }

    #[test]
    fn keys_with_the_same_fingerprint_are_told_apart() {
        let mut cache = KeyCache::new();
        let same = Fingerprint(7);
        let requests = [0, 1, 255].map(|number| request(SMALL, number));
        let keys = [key(), key(), key()];
        let material = |at: usize| KeyMaterial::of(SMALL, &requests[at]).unwrap();
        for (at, key) in keys.iter().enumerate() {
            assert!(cache.find(same, &material(at)).is_none(), "{at}");
            cache.keep(same, &material(at), Arc::clone(key));
        }
        for (at, key) in keys.iter().enumerate() {
            let found = cache.find(same, &material(at)).unwrap();
            assert!(Arc::ptr_eq(&found, key), "{at}");
        }
        // The same operands in another size class, and a fingerprint of its own with known operands.
        let wider = KeyBlock::ModExpo(SizeClass::Bits2048);
        let wide = request(wider, 0);
        assert!(
            cache
                .find(same, &KeyMaterial::of(wider, &wide).unwrap())
                .is_none()
        );
        assert!(cache.find(Fingerprint(8), &material(0)).is_none());
    }

    #[test]
    fn a_key_that_is_there_is_not_replaced() {
        let mut cache = KeyCache::new();
        let request = request(SMALL, 1);
        let material = KeyMaterial::of(SMALL, &request).unwrap();
        let first = key();
        cache.keep(fingerprint(1), &material, Arc::clone(&first));
        cache.keep(fingerprint(1), &material, key());
        assert_eq!((cache.len(), cache.bytes()), (1, size_of(SMALL)));
        let found = cache.find(fingerprint(1), &material).unwrap();
        assert!(Arc::ptr_eq(&found, &first));
    }

    #[test]
    fn large_keys_are_bounded_by_their_memory() {
        let mut cache = KeyCache::new();
        for number in 0..100 {
            let request = request(LARGE, number);
            let material = KeyMaterial::of(LARGE, &request).unwrap();
            cache.keep(fingerprint(number), &material, key());
        }
        assert_eq!(cache.len(), 18);
        assert!(cache.bytes() <= MAX_BYTES);
        assert_eq!(cache.entries.capacity(), MAX_KEYS, "one allocation");
    }

    #[test]
    fn what_goes_is_dropped_unless_an_operation_has_it() {
        let mut cache = KeyCache::new();
        let [idle, busy] = [key(), key()];
        for (number, key) in [(0, &idle), (1, &busy)] {
            let request = request(SMALL, number);
            let material = KeyMaterial::of(SMALL, &request).unwrap();
            cache.keep(fingerprint(number), &material, Arc::clone(key));
        }
        let request = request(SMALL, 1);
        let material = KeyMaterial::of(SMALL, &request).unwrap();
        let operation = cache.find(fingerprint(1), &material).unwrap();
        cache.wipe();
        assert!(cache.is_empty());
        assert_eq!((cache.bytes(), cache.entries.capacity()), (0, 0));
        assert_eq!(Arc::strong_count(&idle), 1);
        assert_eq!(Arc::strong_count(&busy), 2);
        drop(operation);
        assert_eq!(Arc::strong_count(&busy), 1);
        assert!(cache.find(fingerprint(1), &material).is_none());
    }

    proptest! {
        /// Against a list in order of use, with keys of two sizes.
        #[test]
        fn the_longest_unused_goes_first(steps in prop::collection::vec((0u8..60, any::<bool>()), 1..300)) {
            let mut cache = KeyCache::new();
            let mut model: Vec<(u8, Arc<PreparedKey>)> = Vec::new();
            for (number, keeps) in steps {
                let block = if number % 3 == 0 { LARGE } else { SMALL };
                let request = request(block, number);
                let material = KeyMaterial::of(block, &request).unwrap();
                let known = model.iter().position(|(at, _)| *at == number);
                let found = cache.find(fingerprint(number), &material);
                prop_assert_eq!(found.is_some(), known.is_some());
                if let (Some(found), Some(at)) = (found, known) {
                    let used = model.remove(at);
                    prop_assert!(Arc::ptr_eq(&found, &used.1));
                    model.push(used);
                } else if keeps {
                    let made = key();
                    cache.keep(fingerprint(number), &material, Arc::clone(&made));
                    model.push((number, made));
                    let size = |model: &[(u8, Arc<PreparedKey>)]| -> usize {
                        model.iter().map(|(at, _)| size_of(if at % 3 == 0 { LARGE } else { SMALL })).sum()
                    };
                    while model.len() > MAX_KEYS || size(&model) > MAX_BYTES {
                        let gone = model.remove(0);
                        prop_assert_eq!(Arc::strong_count(&gone.1), 1, "the cache has let go of it");
                    }
                    prop_assert_eq!(cache.bytes(), size(&model));
                }
                prop_assert_eq!(cache.len(), model.len());
            }
        }
    }
}
