//! The blinding of a key that is used once.
//!
//! A message is multiplied by `r ^ e` before the private operation and the result by the inverse of `r`
//! after it: what is exponentiated with the secret is then a number that nobody outside can predict, so
//! that no relation between chosen messages and timing says anything about the key.
//!
//! Inverting a random number of the modulus's length takes about as long as the private operation. `r` is
//! therefore short, 128 random bits, and its inverse modulo n follows from one modulo r:
//!
//! ```text
//!   k = -(n mod r)^-1 mod r        k n + 1 is a multiple of r
//!   s = (k n + 1) / r              s r = 1 + k n, so s is the inverse of r modulo n, and below n
//! ```
//! `r` is drawn anew for each operation and never used again. Who wants to predict the number that is
//! exponentiated has to guess `r`: of 2^128 values each gives another one (`r ^ e` modulo n is one-to-one
//! for a key). That is weaker than a number of full length, which hides the message from somebody with unlimited
//! power, and as strong as everything else that has 128 bits.

use openssl::bn::{BigNumContextRef, BigNumRef, MsbOption};
use openssl::error::ErrorStack;

use super::secret::SecretNumber;

/// Length of the random number in bits.
const BITS: i32 = 128;
/// How many random numbers may have no inverse before the modulus is held for one without any.
const ATTEMPTS: usize = 8;

/// A pair for one operation.
pub(super) struct Blinding {
    /// `r ^ e` modulo n.
    pub(super) factor: SecretNumber,
    /// The inverse of `r` modulo n.
    pub(super) inverse: SecretNumber,
}

impl Blinding {
    /// Draws a pair for this modulus and public exponent; `None` if the modulus shares factors with one
    /// random number after the other, which no key's does.
    ///
    /// # Errors
    /// OpenSSL's: no random numbers, no memory.
    pub(super) fn draw(
        modulus: &BigNumRef,
        e: &BigNumRef,
        context: &mut BigNumContextRef,
    ) -> Result<Option<Self>, ErrorStack> {
        let mut r = SecretNumber::zero()?;
        for _ in 0..ATTEMPTS {
            r.rand(BITS, MsbOption::ONE, true)?;
            if let Some(inverse) = inverse(&r, modulus, context)? {
                // In constant time for a given e, which is no secret: what depends on r is arithmetic.
                let base = r.in_variable_time()?;
                let mut factor = SecretNumber::variable_time()?;
                factor.mod_exp(&base, e, modulus, context)?;
                return Ok(Some(Self { factor, inverse }));
            }
        }
        Ok(None)
    }
}

/// The inverse of `r` modulo `modulus`, if it has one.
fn inverse(
    r: &SecretNumber,
    modulus: &BigNumRef,
    context: &mut BigNumContextRef,
) -> Result<Option<SecretNumber>, ErrorStack> {
    let mut rest = SecretNumber::zero()?;
    rest.nnmod(modulus, r, context)?;
    let mut k = SecretNumber::zero()?;
    if k.mod_inverse(&rest, r, context).is_err() {
        return Ok(None);
    }
    rest.checked_sub(r, &k)?;
    k.checked_mul(&rest, modulus, context)?;
    k.add_word(1)?;
    let mut inverse = SecretNumber::zero()?;
    inverse.checked_div(&k, r, context)?;
    Ok(Some(inverse))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::{BigNum, BigNumContext};

    #[test]
    fn a_pair_cancels_out_and_is_drawn_once() {
        let mut context = BigNumContext::new_secure().unwrap();
        let one = BigNum::from_u32(1).unwrap();
        let mut factors = Vec::new();
        for modulus in [
            BigNum::get_rfc2409_prime_768().unwrap(),
            BigNum::get_rfc3526_prime_2048().unwrap(),
            BigNum::get_rfc3526_prime_4096().unwrap(),
        ] {
            for _ in 0..20 {
                let drawn = Blinding::draw(&modulus, &one, &mut context).unwrap();
                let pair = drawn.expect("every number below a prime has an inverse");
                let mut product = BigNum::new().unwrap();
                product
                    .mod_mul(&pair.factor, &pair.inverse, &modulus, &mut context)
                    .unwrap();
                assert_eq!(product, one);
                assert!(*pair.inverse < modulus);
                factors.push(pair.factor.to_vec());
            }
        }
        factors.sort();
        factors.dedup();
        assert_eq!(factors.len(), 60);
    }

    #[test]
    fn the_factor_is_the_power() {
        let mut context = BigNumContext::new_secure().unwrap();
        let modulus = BigNum::get_rfc3526_prime_2048().unwrap();
        let e = BigNum::from_u32(65537).unwrap();
        let pair = Blinding::draw(&modulus, &e, &mut context).unwrap().unwrap();
        let mut power = BigNum::new().unwrap();
        power
            .mod_exp(&pair.inverse, &e, &modulus, &mut context)
            .unwrap();
        let mut product = BigNum::new().unwrap();
        product
            .mod_mul(&pair.factor, &power, &modulus, &mut context)
            .unwrap();
        assert_eq!(product, BigNum::from_u32(1).unwrap());
    }

    #[test]
    fn what_shares_a_factor_has_no_inverse() {
        let mut context = BigNumContext::new_secure().unwrap();
        let modulus = BigNum::from_u32(3 * 5 * 7 * 11).unwrap();
        for r in 2u32..200 {
            let number = SecretNumber::from_be_bytes(&r.to_be_bytes()).unwrap();
            let found = inverse(&number, &modulus, &mut context).unwrap();
            let shares = [3, 5, 7, 11].iter().any(|factor| r % factor == 0);
            assert_eq!(found.is_none(), shares, "{r}");
            if let Some(found) = found {
                let mut product = BigNum::new().unwrap();
                product
                    .mod_mul(&found, &number, &modulus, &mut context)
                    .unwrap();
                assert_eq!(product, BigNum::from_u32(1).unwrap(), "{r}");
            }
        }
        let nothing = BigNum::new().unwrap();
        let drawn = Blinding::draw(&nothing, &modulus, &mut context).unwrap();
        assert!(drawn.is_none(), "and drawing ends");
    }
}
