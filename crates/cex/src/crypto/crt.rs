//! The private operation in CRT form.
//!
//! ```text
//!   import --- the parts belong to a key with a short e ---> used once:  the formula, blinded
//!      |                                                     used again: OpenSSL's RSA, blinded
//!      |                                                         | result ^ e != message
//!      |                                                         v
//!      +------ any other parts ----------------------------> the formula, constant time
//! ```
//! A request carries p, q, dp, dq and u and no public exponent. For a real key it follows: e is the
//! inverse of dp modulo p - 1, and being short it must also fit dq. Nearly every key has one of three, which
//! are tried before anything is inverted.
//!
//! With e the message is blinded by a random number, and the result is checked, which defeats an attacker
//! who can disturb one half. For the first use of a key that is done here (file `blinding.rs`): whoever sends
//! another key with each request would wait longer for OpenSSL's preparations (its blinding inverts a number of full
//! length) than for the operation. At the second use OpenSSL's own RSA is prepared, which from then on
//! computes both halves side by side with everything ready.
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
//! Which of the ways is taken, and e, are no secrets.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use openssl::bn::{BigNum, BigNumContext, BigNumContextRef, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use zeroize::Zeroizing;

use super::blinding::Blinding;
use super::secret::SecretNumber;
use super::{OperandError, check_reduced, store};
use crate::type50::{CrtKey, SizeClass};

/// Longest public exponent in bits that a consistent key may have.
const MAX_PUBLIC_BITS: i32 = 64;
/// Public exponents that are tried before one is computed.
const COMMON_EXPONENTS: [u32; 3] = [65537, 3, 17];
/// The longest modulus in bytes of any key block.
const LONGEST: usize = SizeClass::Bits4096.field_len();

/// A private key in CRT form, ready for use. Whoever expects the key again keeps it: from the second use
/// on it is as fast as OpenSSL's own keys.
pub struct PrivateKey {
    parts: Parts,
    /// p times q. OpenSSL makes no difference between public and secret moduli here.
    modulus: SecretNumber,
    /// Public exponent, if the parts belong to a key that has a short one.
    e: Option<BigNum>,
    used: AtomicBool,
    /// Made at the second use; `None` in it when OpenSSL does not take the key.
    prepared: OnceLock<Option<Prepared>>,
}

/// The numbers of a request.
struct Parts {
    p: SecretNumber,
    q: SecretNumber,
    dp: SecretNumber,
    dq: SecretNumber,
    u: SecretNumber,
}

/// The key as OpenSSL takes it, with Montgomery contexts and blinding.
struct Prepared(Rsa<Private>);

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
        let mut modulus = SecretNumber::variable_time()?;
        modulus.checked_mul(&parts.p, &parts.q, &mut context)?;
        let e = parts.public_exponent(&mut context)?;
        Ok(Self {
            parts,
            modulus,
            e,
            used: AtomicBool::new(false),
            prepared: OnceLock::new(),
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
        if let Some(prepared) = self.prepared()
            && prepared.apply(message, result)
        {
            return Ok(());
        }
        let c = SecretNumber::from_be_bytes(message)?;
        check_reduced(&c, &self.modulus)?;
        let mut context = BigNumContext::new_secure()?;
        let blinded = match &self.e {
            Some(e) => self.blinded(&c, e, &mut context)?,
            None => None,
        };
        let number = match blinded {
            Some(number) => number,
            None => self.parts.formula(&c, &mut context)?,
        };
        store(&number, result);
        Ok(())
    }

    /// OpenSSL's key, from the second use on.
    fn prepared(&self) -> Option<&Prepared> {
        let e = self.e.as_ref()?;
        if !self.used.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.prepared
            .get_or_init(|| Prepared::new(&self.parts, &self.modulus, e).ok())
            .as_ref()
    }

    /// The private operation on a blinded message; `None` if the power of the result by e is not the
    /// message.
    fn blinded(
        &self,
        c: &SecretNumber,
        e: &BigNumRef,
        context: &mut BigNumContextRef,
    ) -> Result<Option<SecretNumber>, ErrorStack> {
        let Some(blinding) = Blinding::draw(&self.modulus, e, context)? else {
            return Ok(None);
        };
        let mut masked = SecretNumber::zero()?;
        masked.mod_mul(c, &blinding.factor, &self.modulus, context)?;
        let root = self.parts.formula(&masked, context)?;
        let mut result = SecretNumber::variable_time()?;
        result.mod_mul(&root, &blinding.inverse, &self.modulus, context)?;
        let mut power = SecretNumber::variable_time()?;
        power.mod_exp(&result, e, &self.modulus, context)?;
        Ok(power.ucmp(c).is_eq().then_some(result))
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
        if p1.num_bits() == 0 || q1.num_bits() == 0 {
            return Ok(None);
        }
        let mut inverts_both = |e: &BigNumRef, context: &mut BigNumContextRef| {
            for (exponent, order) in [(&self.dp, &p1), (&self.dq, &q1)] {
                scratch.mod_mul(e, exponent, order, context)?;
                if !is_one(&scratch) {
                    return Ok::<_, ErrorStack>(false);
                }
            }
            Ok(true)
        };
        for common in COMMON_EXPONENTS {
            let e = BigNum::from_u32(common)?;
            if inverts_both(&e, context)? {
                return Ok(Some(e));
            }
        }
        let mut e = BigNum::new()?;
        let fits = e.mod_inverse(&self.dp, &p1, context).is_ok()
            && (2..=MAX_PUBLIC_BITS).contains(&e.num_bits())
            && inverts_both(&e, context)?;
        Ok(fits.then_some(e))
    }

    /// The formula of the card spec.
    fn formula(
        &self,
        c: &SecretNumber,
        context: &mut BigNumContextRef,
    ) -> Result<SecretNumber, ErrorStack> {
        let m1 = reduced_power(c, &self.dp, &self.p, context)?;
        let m2 = reduced_power(c, &self.dq, &self.q, context)?;
        let mut scratch = SecretNumber::zero()?;
        let mut difference = SecretNumber::zero()?;
        let mut h = SecretNumber::zero()?;
        // m1 + p - (m2 mod p) lies in 1..2p: never negative, whatever the key.
        scratch.nnmod(&m2, &self.p, context)?;
        difference.checked_add(&m1, &self.p)?;
        h.checked_sub(&difference, &scratch)?;
        difference.mod_mul(&h, &self.u, &self.p, context)?;
        scratch.checked_mul(&difference, &self.q, context)?;
        h.checked_add(&scratch, &m2)?;
        Ok(h)
    }
}

impl Prepared {
    fn new(parts: &Parts, modulus: &BigNumRef, e: &BigNumRef) -> Result<Self, ErrorStack> {
        // OpenSSL uses d only when its check of the CRT result has failed. What it answers then is
        // thrown away, so any number will do.
        let d = BigNum::from_u32(1)?;
        Ok(Self(Rsa::from_private_components(
            modulus.to_owned()?,
            e.to_owned()?,
            d,
            parts.p.given_away()?,
            parts.q.given_away()?,
            parts.dp.given_away()?,
            parts.dq.given_away()?,
            parts.u.given_away()?,
        )?))
    }

    /// Computes into `result`. Returns whether that was possible and the power of the result by e is the
    /// message; whatever else there is to say about the operands is for the caller to find out.
    fn apply(&self, message: &[u8], result: &mut [u8]) -> bool {
        let width = self.0.size() as usize;
        let mut check = Zeroizing::new([0; LONGEST]);
        if width > result.len() || width > LONGEST {
            return false;
        }
        let (zeros, message) = message.split_at(message.len().saturating_sub(width));
        let (padding, field) = result.split_at_mut(result.len() - width);
        padding.fill(0);
        // Primes that are none can have no blinding, for one.
        if zeros.iter().any(|byte| *byte != 0)
            || self
                .0
                .private_decrypt(message, field, Padding::NONE)
                .is_err()
            || self
                .0
                .public_encrypt(field, &mut *check, Padding::NONE)
                .is_err()
        {
            return false;
        }
        let (above, power) = check[..width].split_at(width - message.len());
        above.iter().all(|byte| *byte == 0) && power == message
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
            assert!(key.e.is_some());
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
            assert!(key.e.is_none(), "{parts:?}");
            for c in 0..u32::from(parts[0]) * u32::from(parts[1]) {
                assert_eq!(apply(&key, c), formula(c, &parts), "{parts:?} {c}");
            }
        }
    }

    #[test]
    fn composites_that_fit_give_the_formula_or_a_root() {
        let parts = [15, 11, 5, 7, 11];
        let key = key(&parts);
        assert!(key.e.is_some());
        for c in 0..165 {
            let result = apply(&key, c);
            assert!(
                result == formula(c, &parts) || power(result, 3, 165) == c,
                "{c}"
            );
        }
    }

    /// A key of `bits` bits with this exponent.
    fn real_key(bits: u32, e: u32) -> Rsa<Private> {
        Rsa::generate_with_e(bits, &BigNum::from_u32(e).unwrap()).unwrap()
    }

    fn parts_of(rsa: &Rsa<Private>) -> [Vec<u8>; 5] {
        let parts = [rsa.p(), rsa.q(), rsa.dmp1(), rsa.dmq1(), rsa.iqmp()];
        parts.map(|part| part.unwrap().to_vec())
    }

    fn imported(parts: &[Vec<u8>; 5]) -> PrivateKey {
        let [p, q, dp, dq, u] = parts;
        PrivateKey::import(&CrtKey { p, q, dp, dq, u }).unwrap()
    }

    #[test]
    fn every_use_of_a_key_gives_what_openssl_gives() {
        // Tried, and computed.
        for e in [65537, 3, 17, 37, 0xffff_fffb] {
            for bits in [512, 1024, 2048] {
                let rsa = real_key(bits, e);
                let key = imported(&parts_of(&rsa));
                assert_eq!(key.e.as_ref(), Some(&BigNum::from_u32(e).unwrap()));
                let size = rsa.size() as usize;
                for fill in [0, 1, 0x5a, 0x7f] {
                    let mut message = vec![fill; size];
                    message[0] = 0;
                    let [mut expected, mut result] = [vec![0; size], vec![0xff; size + 8]];
                    rsa.private_decrypt(&message, &mut expected, Padding::NONE)
                        .unwrap();
                    // With its leading zeros, without, and with more than the modulus has.
                    let longer = [&[0; 8][..], &message].concat();
                    for message in [&message[..], &message[1..], &longer] {
                        key.apply(message, &mut result).unwrap();
                        assert_eq!(result[..8], [0; 8]);
                        assert_eq!(result[8..], expected);
                    }
                }
                assert!(key.prepared.get().is_some_and(Option::is_some));
                let modulus = rsa.n().to_vec();
                let refused = key.apply(&modulus, &mut vec![0; size]);
                assert!(matches!(refused, Err(OperandError::NotReduced)));
                let refused = key.apply(&[&[1], &modulus[..]].concat(), &mut vec![0; size]);
                assert!(matches!(refused, Err(OperandError::NotReduced)));
            }
        }
    }

    /// Half of the result is wrong: what comes out must not be OpenSSL's or the blinded result, of which
    /// somebody who knows the right one would get a factor of the modulus.
    #[test]
    fn a_result_that_does_not_verify_is_never_given_away() {
        let rsa = real_key(1024, 65537);
        let mut parts = parts_of(&rsa);
        let good = imported(&parts);
        // Another exponent for one half that still is a key's part for the first prime alone.
        let last = parts[3].last_mut().unwrap();
        *last ^= 2;
        let disturbed = PrivateKey {
            e: good.e,
            modulus: good.modulus,
            parts: imported(&parts).parts,
            used: AtomicBool::new(false),
            prepared: OnceLock::new(),
        };
        let message = [0x11; 127];
        let mut context = BigNumContext::new().unwrap();
        let c = SecretNumber::from_be_bytes(&message).unwrap();
        let e = disturbed.e.as_ref().unwrap();
        assert!(disturbed.blinded(&c, e, &mut context).unwrap().is_none());
        let prepared = Prepared::new(&disturbed.parts, &disturbed.modulus, e).unwrap();
        assert!(!prepared.apply(&message, &mut [0; 128]));
        // By the formula then, at each use.
        let formula = disturbed.parts.formula(&c, &mut context).unwrap();
        for _ in 0..3 {
            let mut result = [0xff; 128];
            disturbed.apply(&message, &mut result).unwrap();
            assert_eq!(BigNum::from_slice(&result).unwrap(), **formula);
        }
    }
}
