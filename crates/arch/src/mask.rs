//! 256-bit masks numbered from the left (spec 1.1).

use core::fmt;
use core::ops::{BitAnd, BitOr, BitXor, Not, Sub};

use crate::ids::{Apid, Apqi};

/// A set of numbers 0..=255. Number *n* is bit `0x80 >> (n % 8)` of byte `n / 8`, so number 0 is the
/// leftmost bit. Prints as `0x` and 64 hex digits, the form of every AP sysfs file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mask256([u64; 4]);

impl Mask256 {
    /// No number.
    pub const EMPTY: Self = Self([0; 4]);
    /// All 256 numbers.
    pub const FULL: Self = Self([u64::MAX; 4]);

    const fn word_and_bit(n: u8) -> (usize, u64) {
        ((n / 64) as usize, (1 << 63) >> (n % 64))
    }

    /// The numbers `first..=last`; empty when `first > last`.
    #[must_use]
    pub fn range(first: u8, last: u8) -> Self {
        (first..=last).collect()
    }

    /// Whether `n` is in the set.
    #[must_use]
    pub const fn contains(&self, n: u8) -> bool {
        let (word, bit) = Self::word_and_bit(n);
        self.0[word] & bit != 0
    }

    /// Adds `n`.
    pub const fn insert(&mut self, n: u8) {
        let (word, bit) = Self::word_and_bit(n);
        self.0[word] |= bit;
    }

    /// Removes `n`.
    pub const fn remove(&mut self, n: u8) {
        let (word, bit) = Self::word_and_bit(n);
        self.0[word] &= !bit;
    }

    /// Whether no number is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The lowest number, if any.
    #[must_use]
    pub fn first(&self) -> Option<u8> {
        self.iter().next()
    }

    /// Whether every number of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        (*self - *other).is_empty()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + use<> {
        let mut rest = *self;
        core::iter::from_fn(move || {
            let (index, word) = (0u8..).zip(rest.0).find(|(_, word)| *word != 0)?;
            // At most 63, because the word is not zero.
            let bit = word.leading_zeros().to_le_bytes()[0];
            let number = index * 64 + bit;
            rest.remove(number);
            Some(number)
        })
    }

    /// The mask stored in 32 bytes, as in the QCI block or a format-2 APCB.
    #[must_use]
    pub fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        Self(words)
    }

    /// The 32 bytes of the mask.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

impl FromIterator<u8> for Mask256 {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> Self {
        let mut mask = Self::EMPTY;
        numbers.into_iter().for_each(|n| mask.insert(n));
        mask
    }
}

impl BitAnd for Mask256 {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl BitOr for Mask256 {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl BitXor for Mask256 {
    type Output = Self;
    fn bitxor(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

impl Not for Mask256 {
    type Output = Self;
    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// Set difference.
impl Sub for Mask256 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self & !other
    }
}

impl fmt::Display for Mask256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "0x{a:016x}{b:016x}{c:016x}{d:016x}")
    }
}

impl fmt::Debug for Mask256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Declares a mask whose members are one kind of number, so that an adapter mask can never be used
/// where a domain mask is meant.
macro_rules! typed_mask {
    ($(#[$doc:meta])* $name:ident of $id:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub struct $name(pub Mask256);

        impl $name {
            /// No member.
            pub const EMPTY: Self = Self(Mask256::EMPTY);
            /// All 256 members.
            pub const FULL: Self = Self(Mask256::FULL);

            /// Whether `id` is a member.
            #[must_use]
            pub const fn contains(&self, id: $id) -> bool {
                self.0.contains(id.0)
            }

            /// Adds `id`.
            pub const fn insert(&mut self, id: $id) {
                self.0.insert(id.0);
            }

            /// Removes `id`.
            pub const fn remove(&mut self, id: $id) {
                self.0.remove(id.0);
            }

            /// Whether there is no member.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The members, ascending.
            pub fn iter(&self) -> impl Iterator<Item = $id> + use<> {
                self.0.iter().map($id)
            }
        }

        impl FromIterator<$id> for $name {
            fn from_iter<I: IntoIterator<Item = $id>>(ids: I) -> Self {
                Self(ids.into_iter().map(|id| id.0).collect())
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        /// Set difference.
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

typed_mask! {
    /// APM: a set of adapters.
    AdapterMask of Apid
}
typed_mask! {
    /// AQM: a set of usage domains.
    UsageMask of Apqi
}
typed_mask! {
    /// ADM: a set of control domains.
    ControlMask of Apqi
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, format, string::ToString, vec::Vec};

    #[test]
    fn number_zero_is_the_leftmost_bit() {
        let mask: Mask256 = [4, 0x47].into_iter().collect();
        assert_eq!(
            mask.to_string(),
            format!("0x0800000000000000{:016x}{}", 1u64 << 56, "0".repeat(32))
        );
        let last: Mask256 = [255].into_iter().collect();
        assert!(last.to_string().ends_with("01"));
        assert_eq!(last.to_be_bytes()[31], 1);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(numbers: Vec<u8>, others: Vec<u8>) {
            let model: BTreeSet<u8> = numbers.iter().copied().collect();
            let other_model: BTreeSet<u8> = others.iter().copied().collect();
            let mask: Mask256 = numbers.iter().copied().collect();
            let other: Mask256 = others.iter().copied().collect();
            prop_assert_eq!(mask.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(mask.len(), model.len());
            prop_assert_eq!(mask.first(), model.first().copied());
            prop_assert_eq!((mask & other).iter().collect::<BTreeSet<_>>(), &model & &other_model);
            prop_assert_eq!((mask | other).iter().collect::<BTreeSet<_>>(), &model | &other_model);
            prop_assert_eq!((mask - other).iter().collect::<BTreeSet<_>>(), &model - &other_model);
            prop_assert_eq!((mask ^ other).iter().collect::<BTreeSet<_>>(), &model ^ &other_model);
            prop_assert_eq!(mask.is_subset(&other), model.is_subset(&other_model));
            prop_assert_eq!(Mask256::from_be_bytes(&mask.to_be_bytes()), mask);
        }

        #[test]
        fn byte_and_bit_of_a_number(n: u8) {
            let bytes = [n].into_iter().collect::<Mask256>().to_be_bytes();
            prop_assert_eq!(bytes[usize::from(n / 8)], 0x80 >> (n % 8));
        }
    }
}
