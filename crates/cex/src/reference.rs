//! OpenSSL itself, asked directly: keys and results to hold the cards' answers against.
//!
//! Used by the demo, the benchmarks and the tests. Nothing here is on a request's way: results come
//! from OpenSSL's own RSA and its general modular exponentiation, not from the card models.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};

use crate::type50::CrtKey;

/// An RSA key pair that OpenSSL made. Numbers are big-endian without leading zeros, `p` is the larger
/// prime.
#[derive(Clone)]
pub struct ReferenceKey {
    rsa: Rsa<Private>,
    /// Size of the modulus in bits.
    pub bits: u32,
    /// Modulus.
    pub n: Vec<u8>,
    /// Public exponent.
    pub e: Vec<u8>,
    /// Private exponent.
    pub d: Vec<u8>,
    /// Larger prime.
    pub p: Vec<u8>,
    /// Smaller prime.
    pub q: Vec<u8>,
    /// Private exponent mod p - 1.
    pub dp: Vec<u8>,
    /// Private exponent mod q - 1.
    pub dq: Vec<u8>,
    /// Inverse of q mod p.
    pub u: Vec<u8>,
}

impl std::fmt::Debug for ReferenceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceKey")
            .field("bits", &self.bits)
            .finish_non_exhaustive()
    }
}

impl ReferenceKey {
    /// The private key in CRT form, as a request of an accelerator brings it.
    #[must_use]
    pub fn crt(&self) -> CrtKey<'_> {
        CrtKey {
            p: &self.p,
            q: &self.q,
            dp: &self.dp,
            dq: &self.dq,
            u: &self.u,
        }
    }

    /// A new key with `bits` bits (512 or more) and the public exponent 65537.
    ///
    /// # Errors
    /// OpenSSL's own, for a size that it does not make.
    pub fn generate(bits: u32) -> Result<Self, ErrorStack> {
        let made = Rsa::generate(bits)?;
        let copy = |number: Option<&BigNumRef>| number.map_or_else(BigNum::new, copy);
        let (first, second) = (copy(made.p())?, copy(made.q())?);
        let (p, q) = if first > second {
            (first, second)
        } else {
            (second, first)
        };
        let mut context = BigNumContext::new()?;
        let one = BigNum::from_u32(1)?;
        let mut exponent_of = |prime: &BigNum| -> Result<BigNum, ErrorStack> {
            let (mut order, mut exponent) = (BigNum::new()?, BigNum::new()?);
            order.checked_sub(prime, &one)?;
            exponent.nnmod(made.d(), &order, &mut context)?;
            Ok(exponent)
        };
        let (dp, dq) = (exponent_of(&p)?, exponent_of(&q)?);
        let mut u = BigNum::new()?;
        u.mod_inverse(&q, &p, &mut context)?;
        Ok(Self {
            bits,
            n: made.n().to_vec(),
            e: made.e().to_vec(),
            d: made.d().to_vec(),
            p: p.to_vec(),
            q: q.to_vec(),
            dp: dp.to_vec(),
            dq: dq.to_vec(),
            u: u.to_vec(),
            rsa: made,
        })
    }

    /// Size of the modulus in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.n.len()
    }

    /// A random message below the modulus, as long as the modulus.
    ///
    /// # Errors
    /// When OpenSSL has no random numbers.
    pub fn random_message(&self) -> Result<Vec<u8>, ErrorStack> {
        let modulus = BigNum::from_slice(&self.n)?;
        let mut message = BigNum::new()?;
        modulus.rand_range(&mut message)?;
        Ok(padded(&message, self.size()))
    }

    /// The private operation by OpenSSL's RSA (CRT, without padding); `message` is as long as the
    /// modulus.
    ///
    /// # Errors
    /// When the message is not below the modulus.
    pub fn private(&self, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut result = vec![0; self.size()];
        self.rsa
            .private_decrypt(message, &mut result, Padding::NONE)?;
        Ok(result)
    }
}

/// Name and release of the OpenSSL that the cards compute with.
#[must_use]
pub fn version() -> &'static str {
    openssl::version::version()
}

/// `message ^ exponent mod modulus` by OpenSSL's general function, as long as the modulus.
///
/// # Errors
/// OpenSSL's own, as for a modulus of zero.
pub fn mod_exp(message: &[u8], exponent: &[u8], modulus: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let [message, exponent, n] = [message, exponent, modulus].map(BigNum::from_slice);
    let mut result = BigNum::new()?;
    let mut context = BigNumContext::new()?;
    result.mod_exp(&*message?, &*exponent?, &*n?, &mut context)?;
    Ok(padded(&result, modulus.len()))
}

fn padded(number: &BigNumRef, size: usize) -> Vec<u8> {
    let bytes = number.to_vec();
    let mut result = vec![0; size.saturating_sub(bytes.len())];
    result.extend(bytes);
    result
}

fn copy(number: &BigNumRef) -> Result<BigNum, ErrorStack> {
    BigNum::from_slice(&number.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_and_mod_exp_agree() {
        let key = ReferenceKey::generate(512).unwrap();
        assert_eq!((key.bits, key.size()), (512, 64));
        let message = key.random_message().unwrap();
        let private = key.private(&message).unwrap();
        assert_eq!(private, mod_exp(&message, &key.d, &key.n).unwrap());
        assert_eq!(mod_exp(&private, &key.e, &key.n).unwrap(), message);
    }
}
