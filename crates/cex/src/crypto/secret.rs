//! Big numbers that leave no trace.

use core::fmt;
use core::ops::{Deref, DerefMut};

use openssl::bn::BigNum;
use openssl::error::ErrorStack;

/// A big number that is erased when it is dropped and that OpenSSL handles without branches or
/// memory accesses that depend on its value, wherever OpenSSL has such code.
///
/// It is made as OpenSSL's *secure* number, which is also erased whenever OpenSSL moves it to a
/// larger block.
pub(crate) struct SecretNumber(BigNum);

impl SecretNumber {
    /// Zero, to be computed with in whatever way is fastest, but erased all the same.
    pub(crate) fn variable_time() -> Result<Self, ErrorStack> {
        Ok(Self(BigNum::new_secure()?))
    }

    /// A number as of [`variable_time`](Self::variable_time).
    pub(crate) fn variable_time_from(bytes: &[u8]) -> Result<Self, ErrorStack> {
        let mut number = Self::variable_time()?;
        number.copy_from_slice(bytes)?;
        Ok(number)
    }

    /// Zero.
    pub(crate) fn zero() -> Result<Self, ErrorStack> {
        let mut number = BigNum::new_secure()?;
        number.set_const_time();
        Ok(Self(number))
    }

    /// The same number, to be computed with as of [`variable_time`](Self::variable_time).
    pub(crate) fn in_variable_time(&self) -> Result<Self, ErrorStack> {
        let mut number = Self::variable_time()?;
        // OpenSSL's copy takes over no flag that a number has for its timing.
        number.lshift(&self.0, 0)?;
        Ok(number)
    }

    /// A copy to give away to OpenSSL, which then erases it.
    pub(crate) fn given_away(&self) -> Result<BigNum, ErrorStack> {
        let mut number = self.0.to_owned()?;
        number.set_const_time();
        Ok(number)
    }

    /// The number, for OpenSSL to keep: as a *secure* number it is erased when it is freed.
    pub(crate) fn into_inner(self) -> Result<BigNum, ErrorStack> {
        self.0.to_owned()
    }

    /// The number in big-endian bytes; leading zeros do not matter.
    pub(crate) fn from_be_bytes(bytes: &[u8]) -> Result<Self, ErrorStack> {
        let mut number = Self::zero()?;
        number.copy_from_slice(bytes)?;
        Ok(number)
    }
}

impl Deref for SecretNumber {
    type Target = BigNum;

    fn deref(&self) -> &BigNum {
        &self.0
    }
}

impl DerefMut for SecretNumber {
    fn deref_mut(&mut self) -> &mut BigNum {
        &mut self.0
    }
}

impl Drop for SecretNumber {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for SecretNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
