//! What makes a key the same key: the operands of a request that are not the message.

use core::fmt;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::crypto;
use crate::type50::{KeyBlock, OPERANDS_AT};

/// The key of a request, as the bytes that the request holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyMaterial<'m> {
    block: KeyBlock,
    bytes: &'m [u8],
}

impl<'m> KeyMaterial<'m> {
    /// The key of a request that was decoded as this key block; `None` if it is too short for one.
    #[must_use]
    pub fn of(block: KeyBlock, request: &'m [u8]) -> Option<Self> {
        let bytes = request.get(OPERANDS_AT..OPERANDS_AT + block.key_len())?;
        Some(Self { block, bytes })
    }

    /// The operation and its size class.
    #[must_use]
    pub const fn block(&self) -> KeyBlock {
        self.block
    }

    /// All operands of the key, one after the other; their lengths follow from the key block.
    #[must_use]
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// Whether this is the key of `block` and `bytes`. It takes as long for each key of a key block.
    pub(crate) fn is(&self, block: KeyBlock, bytes: &[u8]) -> bool {
        self.block == block && crypto::is_equal(self.bytes, bytes)
    }
}

/// The secret of a cache: 128 random bits. With it nobody can choose keys that have the same
/// [`Fingerprint`], nor learn anything about a key from one.
#[derive(Clone, Copy)]
pub struct HashKey(SipHasher24);

impl HashKey {
    /// The secret with these bits, which are random: this crate draws none.
    #[must_use]
    pub fn new(random: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(random))
    }

    /// Another secret, the one with this number: knowing it says nothing about this one or those with other numbers.
    #[must_use]
    pub fn derive(&self, number: u64) -> Self {
        let mut bytes = [0; 16];
        for (half, part) in bytes.chunks_exact_mut(8).zip(0u8..) {
            let mut hasher = self.0;
            hasher.write_u64(number);
            hasher.write_u8(part);
            half.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        Self::new(&bytes)
    }

    /// The fingerprint of a key under this secret.
    #[must_use]
    pub fn fingerprint(&self, material: &KeyMaterial<'_>) -> Fingerprint {
        let mut hasher = self.0;
        hasher.write_u16(material.block.code());
        hasher.write(material.bytes);
        Fingerprint(hasher.finish())
    }
}

/// A number by which a key is found: SipHash-2-4 of its material. Two keys may have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub u64);

/// Keys are secret: only the key block is shown.
impl fmt::Debug for KeyMaterial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyMaterial").field(&self.block).finish()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::type50::SizeClass;

    #[test]
    fn the_key_ends_where_the_message_begins() {
        for block in KeyBlock::ALL {
            let bytes = (0..=255).cycle();
            let request: Vec<u8> = bytes.take(block.message_len()).collect();
            let material = KeyMaterial::of(block, &request).unwrap();
            let field = match block {
                KeyBlock::ModExpo(size) | KeyBlock::Crt(size) => size.field_len(),
            };
            assert_eq!(material.bytes(), &request[16..request.len() - field]);
            assert_eq!(KeyMaterial::of(block, &request[..64]), None);
        }
    }

    #[test]
    fn fingerprints_depend_on_secret_block_and_every_byte() {
        let block = KeyBlock::Crt(SizeClass::Bits1024);
        let [one, other] = [HashKey::new(&[1; 16]), HashKey::new(&[2; 16])];
        let derived = [one.derive(0), one.derive(1), other.derive(0)];
        let mut request = vec![0x5a; block.message_len()];
        let of = |secret: &HashKey, request: &[u8]| {
            secret.fingerprint(&KeyMaterial::of(block, request).unwrap())
        };
        let first = of(&one, &request);
        assert_eq!(first, of(&one, &request));
        let mut all: Vec<_> = derived.iter().map(|secret| of(secret, &request)).collect();
        all.extend([first, of(&other, &request)]);
        let wider = KeyBlock::Crt(SizeClass::Bits4096);
        let long = vec![0x5a; wider.message_len()];
        all.push(one.fingerprint(&KeyMaterial::of(wider, &long).unwrap()));
        for at in 16..16 + block.key_len() {
            request[at] ^= 1;
            all.push(of(&one, &request));
            request[at] ^= 1;
        }
        let count = all.len();
        all.sort_by_key(|fingerprint| fingerprint.0);
        all.dedup();
        assert_eq!(all.len(), count);
        // What is no part of the key does not matter.
        *request.last_mut().unwrap() ^= 1;
        assert_eq!(of(&one, &request), first);
    }

    #[test]
    fn the_hash_is_siphash_2_4() {
        // SipHash-2-4 of 0, 1, .., 14 under the key 0, 1, .., 15, from the paper's appendix A.
        let key = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
        let mut hasher = SipHasher24::new_with_key(&key);
        hasher.write(&key[..15]);
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    }
}
