//! Raw RSA on OpenSSL: the only code that names it.
//!
//! # Timing
//!
//! What a guest must not learn is the key of *another* guest on the same machine, so every number
//! that can belong to a private key is a `SecretNumber`: OpenSSL then exponentiates with a fixed
//! window, a number of Montgomery multiplications that depends on lengths in words only, and a table
//! that is read in full at each step, and divides and inverts without branches on values.
//!
//! * A mod-expo exponent of more than 64 bits is secret. A shorter one is public: a private
//!   exponent of 64 bits is found by Wiener's attack in no time, whatever the timing says, and
//!   public exponents are what makes short ones common (they are 80 times faster this way).
//! * The modulus of a mod-expo is public, and whether operands are in range is no secret.
//! * In the CRT form everything but the message is secret, the primes included; see
//!   [`crt`].
//!
//! # Memory
//!
//! Secrets are erased on drop, also inside OpenSSL: its temporaries live in a context that is
//! erased and freed with the request. What is prepared for the next use of a key is erased with the key.

mod blinding;
pub mod crt;
mod public;
mod secret;

use core::cmp::Ordering;

use self::secret::SecretNumber;
use openssl::bn::{BigNumContext, BigNumRef};
use openssl::error::ErrorStack;

pub use self::crt::PrivateKey;
pub use self::public::PublicKey;

/// Why a computation was refused.
#[derive(Debug, thiserror::Error)]
pub enum OperandError {
    /// The modulus is zero.
    #[error("the modulus is zero")]
    ZeroModulus,
    /// The modulus is even.
    #[error("the modulus is even")]
    EvenModulus,
    /// p or q is zero or even.
    #[error("p or q is zero or even")]
    BadPrime,
    /// The message is not less than the modulus.
    #[error("the message is not less than the modulus")]
    NotReduced,
    /// OpenSSL failed, which for checked operands means that it has no memory.
    #[error("OpenSSL failed")]
    Library(#[from] ErrorStack),
}

/// Longest exponent in bytes that counts as public; see the module's notes on timing.
const PUBLIC_EXPONENT_LEN: usize = 8;

/// Computes `message ^ exponent mod modulus` into `result`, right justified. All operands are
/// big-endian; `result` is at least as long as the modulus without its leading zeros.
///
/// # Errors
/// A zero or even modulus, a message that is not less than the modulus, or OpenSSL's failure;
/// `result` is then unchanged.
pub fn mod_exp(
    message: &[u8],
    exponent: &[u8],
    modulus: &[u8],
    result: &mut [u8],
) -> Result<(), OperandError> {
    // Public, but the guest's: erased like everything else of a request.
    let modulus = SecretNumber::variable_time_from(modulus)?;
    if modulus.num_bits() == 0 {
        return Err(OperandError::ZeroModulus);
    }
    if modulus.is_even() {
        return Err(OperandError::EvenModulus);
    }
    let mut context = BigNumContext::new_secure()?;
    // Without the constant-time flag on any operand OpenSSL takes the fast way.
    let new = if is_public(exponent) {
        SecretNumber::variable_time
    } else {
        SecretNumber::zero
    };
    let [mut base, mut power, mut exact] = [new()?, new()?, new()?];
    base.copy_from_slice(message)?;
    check_reduced(&base, &modulus)?;
    exact.copy_from_slice(exponent)?;
    power.mod_exp(&base, &exact, &modulus, &mut context)?;
    store(&power, result);
    Ok(())
}

/// Whether an exponent is so short that it must be a public one: 64 bits; see the module's notes on
/// timing.
#[must_use]
pub fn is_public(exponent: &[u8]) -> bool {
    let leading = exponent.len().saturating_sub(PUBLIC_EXPONENT_LEN);
    exponent[..leading].iter().all(|byte| *byte == 0)
}

/// Whether the bytes are the same; it takes as long for all bytes of a length.
pub(crate) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && openssl::memcmp::eq(a, b)
}

/// The range check of every operation: the message must be less than the modulus.
fn check_reduced(message: &BigNumRef, modulus: &BigNumRef) -> Result<(), OperandError> {
    match message.ucmp(modulus) {
        Ordering::Less => Ok(()),
        Ordering::Equal | Ordering::Greater => Err(OperandError::NotReduced),
    }
}

/// Writes `number` right justified into `result`; bytes to its left become zero. `result` is at least
/// as long as the number.
///
/// Bit by bit, because `openssl` gives a number's bytes as a vector only, and a request allocates
/// nothing outside OpenSSL. That takes as long for every number of a length and less than a hundredth of the
/// time of what computed it.
fn store(number: &BigNumRef, result: &mut [u8]) {
    let mut bits = 0..;
    for byte in result.iter_mut().rev() {
        *byte = (&mut bits).take(8).enumerate().fold(0, |byte, (at, bit)| {
            byte | u8::from(number.is_bit_set(bit)) << at
        });
    }
}
