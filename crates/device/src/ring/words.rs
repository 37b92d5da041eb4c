//! Shared memory as atomic words. Both ends access it in no other way, so that no order of accesses is
//! undefined, whatever the other end does.

use std::fmt;
use std::ops::Deref;

use super::memory::Memory;
use super::sync::{AtomicU64, Ordering};

/// A piece of shared memory.
pub(crate) struct Words(Memory);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({})", self.0.len())
    }
}

impl From<Memory> for Words {
    fn from(memory: Memory) -> Self {
        Self(memory)
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

impl Words {
    pub(crate) fn load(&self, at: usize, ordering: Ordering) -> u64 {
        self[at].load(ordering)
    }

    pub(crate) fn store(&self, at: usize, word: u64, ordering: Ordering) {
        self[at].store(word, ordering);
    }

    /// Copies from the byte `skip` behind word `at` on. The caller orders the accesses.
    pub(crate) fn read_bytes(&self, at: usize, skip: usize, bytes: &mut [u8]) {
        let mut at = at + skip / 8;
        let first = (skip % 8).min(8);
        let mut bytes = bytes;
        if first != 0 && !bytes.is_empty() {
            let (head, rest) = bytes.split_at_mut((8 - first).min(bytes.len()));
            let word = self[at].load(Ordering::Relaxed).to_ne_bytes();
            head.copy_from_slice(&word[first..first + head.len()]);
            (bytes, at) = (rest, at + 1);
        }
        let words = &self[at..];
        let (whole, rest) = bytes.as_chunks_mut::<8>();
        for (piece, word) in whole.iter_mut().zip(words) {
            *piece = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if !rest.is_empty() {
            let word = words[whole.len()].load(Ordering::Relaxed).to_ne_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }

    /// Copies to word `at` and what follows; the last word is filled up with zeros. The caller orders
    /// the accesses.
    pub(crate) fn write_bytes(&self, at: usize, bytes: &[u8]) {
        let words = &self[at..];
        let (whole, rest) = bytes.as_chunks::<8>();
        for (piece, word) in whole.iter().zip(words) {
            word.store(u64::from_ne_bytes(*piece), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            words[whole.len()].store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }

    /// Erases `length` bytes from word `at` on.
    pub(crate) fn erase(&self, at: usize, length: usize) {
        for word in &self[at..at + length.div_ceil(8)] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200), skip in 0usize..100) {
            let words = Words::from(Memory::private(64).unwrap());
            words.write_bytes(3, &bytes);
            let skip = skip.min(bytes.len());
            let mut read = vec![0; bytes.len() - skip];
            words.read_bytes(3, skip, &mut read);
            prop_assert_eq!(&read, &bytes[skip..]);
            words.erase(3, bytes.len());
            prop_assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }
    }
}
