//! The private operation in CRT form.
//!
//! ```text
//!   import --- the parts belong to a key with a short e ---> Consistent: OpenSSL's RSA, blinded
//!      |                                                         | result ^ e != message
//!      |                                                         v
//!      +------ any other parts ----------------------------> the formula, constant time
//! ```
//! A request carries p, q, dp, dq and u and no public exponent. For a real key it follows: e is the
//! inverse of dp modulo p - 1, and being short it must also fit dq. OpenSSL then computes both halves
//! side by side, blinds the message with a random number, and checks its result, which defeats an
//! attacker who can disturb one half.
//!
//! Parts that are no key have a result too, by the formula of the card spec. It is computed without
//! blinding (which needs e) in constant time: exponents, primes and intermediate values are
//! `SecretNumber`s, and differences are kept positive by adding p, so that no sign decides what
//! happens.
//!
//! Nobody tests whether p and q are prime, which would take a hundred times as long. Of parts that fit
//! each other and are no primes either way may come out: the formula's result, or another number
//! whose power by e is the message.
//!
//! Which of the two ways is taken, and e, are no secrets.

use openssl::bn::{BigNum, BigNumContext, BigNumContextRef, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};

use super::secret::SecretNumber;
use super::{OperandError, check_reduced, store};
use crate::type50::CrtKey;

/// Longest public exponent in bits that a consistent key may have.
const MAX_PUBLIC_BITS: i32 = 64;

/// A private key in CRT form, ready for use. Importing costs about as much as using it once at 2048
/// bits, so whoever expects the key again keeps it.
pub struct PrivateKey {
    parts: Parts,
    /// p times q. OpenSSL makes no difference between public and secret moduli here.
    modulus: BigNum,
    consistent: Option<Consistent>,
}

/// The numbers of a request.
struct Parts {
    p: SecretNumber,
    q: SecretNumber,
    dp: SecretNumber,
    dq: SecretNumber,
    u: SecretNumber,
}

/// The same key as OpenSSL takes it.
struct Consistent {
    rsa: Rsa<Private>,
    /// Public exponent.
    e: BigNum,
}

impl PrivateKey {
    /// Takes the parts of a key, whatever they are, as long as p and q are odd.
    ///
    /// # Errors
    /// p or q zero or even, or OpenSSL's failure.
    pub fn import(key: &CrtKey<'_>) -> Result<Self, OperandError> {
        let parts = Parts {
            p: SecretNumber::from_be_bytes(key.p)?,
            q: SecretNumber::from_be_bytes(key.q)?,
            dp: SecretNumber::from_be_bytes(key.dp)?,
            dq: SecretNumber::from_be_bytes(key.dq)?,
            u: SecretNumber::from_be_bytes(key.u)?,
        };
        // Zero is even.
        if parts.p.is_even() || parts.q.is_even() {
            return Err(OperandError::BadPrime);
        }
        let mut context = BigNumContext::new_secure()?;
        let mut modulus = BigNum::new()?;
        modulus.checked_mul(&parts.p, &parts.q, &mut context)?;
        let consistent = match parts.public_exponent(&mut context)? {
            Some(e) => Some(Consistent::new(key, &modulus, e)?),
            None => None,
        };
        Ok(Self {
            parts,
            modulus,
            consistent,
        })
    }

    /// Computes the private operation into `result`, right justified: `m1 = c^dp mod p`,
    /// `m2 = c^dq mod q`, `h = u (m1 - m2) mod p`, result `m2 + h q`, for any parts; the module's
    /// notes name the one exception.
    ///
    /// `message` is big-endian; `result` is at least as long as p and q together.
    ///
    /// # Errors
    /// A message that is not less than p q, or OpenSSL's failure. `result` is then undefined.
    pub fn apply(&self, message: &[u8], result: &mut [u8]) -> Result<(), OperandError> {
        let c = SecretNumber::from_be_bytes(message)?;
        check_reduced(&c, &self.modulus)?;
        if let Some(consistent) = &self.consistent
            && consistent.apply(&c, message, &self.modulus, result)?
        {
            return Ok(());
        }
        Ok(self.parts.formula(&c, result)?)
    }
}

impl Parts {
    /// The public exponent, if these are the parts of a key that has a short one: the inverse of dp
    /// modulo p - 1 that also inverts dq modulo q - 1, with u the inverse of q.
    fn public_exponent(
        &self,
        context: &mut BigNumContextRef,
    ) -> Result<Option<BigNum>, ErrorStack> {
        let mut scratch = SecretNumber::zero()?;
        scratch.mod_mul(&self.u, &self.q, &self.p, context)?;
        if !is_one(&scratch) {
            return Ok(None);
        }
        let [p1, q1] = [predecessor(&self.p)?, predecessor(&self.q)?];
        let mut e = BigNum::new()?;
        // It fails when there is no inverse, and also for p = 1.
        if e.mod_inverse(&self.dp, &p1, context).is_err() || e.num_bits() > MAX_PUBLIC_BITS {
            return Ok(None);
        }
        if q1.num_bits() == 0 {
            return Ok(None);
        }
        scratch.mod_mul(&e, &self.dq, &q1, context)?;
        Ok((is_one(&scratch) && e.num_bits() > 1).then_some(e))
    }

    /// The formula of the card spec.
    fn formula(&self, c: &BigNumRef, result: &mut [u8]) -> Result<(), ErrorStack> {
        let mut context = BigNumContext::new_secure()?;
        let m1 = reduced_power(c, &self.dp, &self.p, &mut context)?;
        let m2 = reduced_power(c, &self.dq, &self.q, &mut context)?;
        let mut scratch = SecretNumber::zero()?;
        let mut difference = SecretNumber::zero()?;
        let mut h = SecretNumber::zero()?;
        // m1 + p - (m2 mod p) lies in 1..2p: never negative, whatever the key.
        scratch.nnmod(&m2, &self.p, &mut context)?;
        difference.checked_add(&m1, &self.p)?;
        h.checked_sub(&difference, &scratch)?;
        difference.mod_mul(&h, &self.u, &self.p, &mut context)?;
        scratch.checked_mul(&difference, &self.q, &mut context)?;
        h.checked_add(&scratch, &m2)?;
        store(&h, result)
    }
}

impl Consistent {
    fn new(key: &CrtKey<'_>, modulus: &BigNumRef, e: BigNum) -> Result<Self, ErrorStack> {
        let part = SecretNumber::given_away;
        // OpenSSL uses d only when its check of the CRT result has failed. What it answers then is
        // thrown away, so any number will do.
        let d = BigNum::from_u32(1)?;
        let rsa = Rsa::from_private_components(
            modulus.to_owned()?,
            e.to_owned()?,
            d,
            part(key.p)?,
            part(key.q)?,
            part(key.dp)?,
            part(key.dq)?,
            part(key.u)?,
        )?;
        Ok(Self { rsa, e })
    }

    /// Computes into `result`; `c` is `message` as a number, below the modulus. Returns whether the
    /// power of the result by e is the message.
    fn apply(
        &self,
        c: &BigNumRef,
        message: &[u8],
        modulus: &BigNumRef,
        result: &mut [u8],
    ) -> Result<bool, ErrorStack> {
        let width = self.rsa.size() as usize;
        // The message is below the modulus: what is cut off, if anything, is zeros.
        let message = &message[message.len().saturating_sub(width)..];
        let (padding, field) = result.split_at_mut(result.len().saturating_sub(width));
        padding.fill(0);
        if self
            .rsa
            .private_decrypt(message, field, Padding::NONE)
            .is_err()
        {
            // Primes that are none can have no blinding, for one. The formula decides.
            return Ok(false);
        }
        let root = SecretNumber::variable_time_from(field)?;
        let mut power = SecretNumber::variable_time()?;
        power.mod_exp(&root, &self.e, modulus, &mut *BigNumContext::new_secure()?)?;
        Ok(power.ucmp(c).is_eq())
    }
}

/// `base ^ exponent mod prime` in constant time.
fn reduced_power(
    base: &BigNumRef,
    exponent: &SecretNumber,
    prime: &SecretNumber,
    context: &mut BigNumContextRef,
) -> Result<SecretNumber, ErrorStack> {
    let mut reduced = SecretNumber::zero()?;
    reduced.nnmod(base, prime, context)?;
    let mut power = SecretNumber::zero()?;
    power.mod_exp(&reduced, exponent, prime, context)?;
    Ok(power)
}

/// `number - 1`, for an odd number.
fn predecessor(number: &SecretNumber) -> Result<SecretNumber, ErrorStack> {
    let mut even = SecretNumber::zero()?;
    let one = BigNum::from_u32(1)?;
    even.checked_sub(number, &one)?;
    Ok(even)
}

fn is_one(number: &BigNumRef) -> bool {
    number.num_bits() == 1
}

/// A key says nothing about itself.
impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[u8; 5]) -> PrivateKey {
        let [p, q, dp, dq, u] = parts.each_ref().map(core::slice::from_ref);
        PrivateKey::import(&CrtKey { p, q, dp, dq, u }).unwrap()
    }

    fn power(base: u32, exponent: u32, modulus: u32) -> u32 {
        (0..exponent).fold(1 % modulus, |power, _| power * base % modulus)
    }

    fn formula(c: u32, parts: &[u8; 5]) -> u32 {
        let [p, q, dp, dq, u] = parts.map(u32::from);
        let (m1, m2) = (power(c, dp, p), power(c, dq, q));
        m2 + u * (m1 + p - m2 % p) % p * q
    }

    fn apply(key: &PrivateKey, c: u32) -> u32 {
        let mut result = [0xff; 4];
        key.apply(&c.to_be_bytes(), &mut result).unwrap();
        u32::from_be_bytes(result)
    }

    #[test]
    fn which_parts_make_a_key() {
        // 11 * 5 with e = 3: dp = 7, dq = 3, u = 9; and with 5 in front: u = 1.
        for parts in [[11, 5, 7, 3, 9], [5, 11, 3, 7, 1]] {
            let key = key(&parts);
            assert!(key.consistent.is_some());
            for c in 0..55 {
                assert_eq!(apply(&key, c), formula(c, &parts), "{c}");
            }
        }
        for parts in [
            [11, 5, 7, 1, 9],
            [11, 5, 5, 3, 9],
            [11, 5, 7, 3, 8],
            [11, 5, 1, 1, 9],
            [11, 1, 7, 0, 1],
            [1, 11, 0, 7, 0],
            [1, 1, 0, 0, 0],
        ] {
            let key = key(&parts);
            assert!(key.consistent.is_none(), "{parts:?}");
            for c in 0..u32::from(parts[0]) * u32::from(parts[1]) {
                assert_eq!(apply(&key, c), formula(c, &parts), "{parts:?} {c}");
            }
        }
    }

    #[test]
    fn composites_that_fit_give_the_formula_or_a_root() {
        let parts = [15, 11, 5, 7, 11];
        let key = key(&parts);
        assert!(key.consistent.is_some());
        for c in 0..165 {
            let result = apply(&key, c);
            assert!(
                result == formula(c, &parts) || power(result, 3, 165) == c,
                "{c}"
            );
        }
    }
}
