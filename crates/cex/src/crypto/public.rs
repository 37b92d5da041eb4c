//! A public key that is used again and again.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use openssl::error::ErrorStack;
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};

use super::secret::SecretNumber;
use super::{OperandError, mod_exp};

/// The Montgomery context of a modulus with a short exponent: a third of what such an operation costs.
/// It is made at the second use, so that keys which are used once cost nothing more.
///
/// Operations with a long exponent gain nothing from it: of what they cost it is less than a hundredth.
#[derive(Default)]
pub struct PublicKey {
    used: AtomicBool,
    /// `None` in it when OpenSSL does not take the key, as one whose exponent is above its modulus.
    prepared: OnceLock<Option<Rsa<Public>>>,
}

impl PublicKey {
    /// A key that was not used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`mod_exp`], always with the same exponent of at most
    /// [64 bits](super::is_public) and the same modulus: the first ones decide.
    ///
    /// # Errors
    /// As [`mod_exp`].
    pub fn apply(
        &self,
        message: &[u8],
        exponent: &[u8],
        modulus: &[u8],
        result: &mut [u8],
    ) -> Result<(), OperandError> {
        if self.used.swap(true, Ordering::Relaxed)
            && let Some(rsa) = self
                .prepared
                .get_or_init(|| prepare(exponent, modulus).ok())
            && apply(rsa, message, result)
        {
            return Ok(());
        }
        mod_exp(message, exponent, modulus, result)
    }
}

fn prepare(exponent: &[u8], modulus: &[u8]) -> Result<Rsa<Public>, ErrorStack> {
    // OpenSSL erases these when it frees them, as everything that was in a request.
    let modulus = SecretNumber::variable_time_from(modulus)?.into_inner()?;
    let exponent = SecretNumber::variable_time_from(exponent)?.into_inner()?;
    Rsa::from_public_components(modulus, exponent)
}

/// Whether it could be computed; whatever there is to say about the operands is for the caller.
fn apply(rsa: &Rsa<Public>, message: &[u8], result: &mut [u8]) -> bool {
    let width = rsa.size() as usize;
    let (Some(zeros), Some(padding)) = (
        message.len().checked_sub(width),
        result.len().checked_sub(width),
    ) else {
        return false;
    };
    let (zeros, message) = message.split_at(zeros);
    let (padding, field) = result.split_at_mut(padding);
    padding.fill(0);
    zeros.iter().all(|byte| *byte == 0)
        && rsa
            .public_encrypt(message, field, Padding::NONE)
            .is_ok_and(|length| length == width)
}

/// A guest's numbers are not shown.
impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PublicKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_use_gives_the_same_as_the_first() {
        for (exponent, modulus) in [
            (3u32, 55u32),
            (65537, 1_000_003),
            (0, 7),
            (1, 7),
            (5, 1),
            // Above the modulus.
            (9, 7),
            (65537, 99),
        ] {
            let (e, n) = (exponent.to_be_bytes(), modulus.to_be_bytes());
            let key = PublicKey::new();
            for message in (0..modulus).take(60) {
                let message = message.to_be_bytes();
                let [mut expected, mut result] = [[0xff; 8]; 2];
                mod_exp(&message, &e, &n, &mut expected).unwrap();
                key.apply(&message, &e, &n, &mut result).unwrap();
                assert_eq!(result, expected, "{message:?}^{exponent} mod {modulus}");
            }
        }
    }

    #[test]
    fn operands_are_refused_at_every_use() {
        let key = PublicKey::new();
        for _ in 0..3 {
            for message in [[0, 55], [0, 56], [1, 1], [255, 255]] {
                let refused = key.apply(&message, &[3], &[0, 55], &mut [0; 2]);
                assert!(matches!(refused, Err(OperandError::NotReduced)));
            }
            let mut result = [9; 3];
            key.apply(&[0, 2], &[3], &[0, 55], &mut result).unwrap();
            assert_eq!(result, [0, 0, 8]);
        }
        let even = PublicKey::new();
        let zero = PublicKey::new();
        for _ in 0..3 {
            let refused = even.apply(&[2], &[3], &[54], &mut [0; 1]);
            assert!(matches!(refused, Err(OperandError::EvenModulus)));
            let refused = zero.apply(&[2], &[3], &[0], &mut [0; 1]);
            assert!(matches!(refused, Err(OperandError::ZeroModulus)));
        }
    }
}
