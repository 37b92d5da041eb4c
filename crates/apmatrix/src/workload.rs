//! RSA requests whose right answers OpenSSL computed beforehand.

use anyhow::{Context, Result};
use arch::Errno;
use cex::reference::{ReferenceKey, mod_exp};
use guest::Crt;

use crate::launch::vectors::{Expected, Key, VectorFile};

/// The sizes that every test of a guest covers, in bits.
pub const SIZES: [u32; 5] = [512, 1024, 2048, 3072, 4096];

/// `count` mod-expo and `count` CRT requests with a key of `bits`, added to `file`. The mod-expos
/// take the public and the private exponent in turn.
///
/// # Errors
/// When OpenSSL cannot make the key.
pub fn add_class(file: &mut VectorFile, bits: u32, count: usize) -> Result<()> {
    let key = ReferenceKey::generate(bits).context("OpenSSL cannot make a key")?;
    for number in 0..count {
        let message = key.random_message()?;
        let exponent = if number % 2 == 0 { &key.e } else { &key.d };
        let expected = mod_exp(&message, exponent, &key.n)?;
        let mod_expo = Key::ModExpo {
            exponent,
            modulus: &key.n,
        };
        file.push(bits, &message, mod_expo, Expected::Output(&expected))?;
        let message = key.random_message()?;
        let expected = key.private(&message)?;
        file.push(bits, &message, crt_key(&key), Expected::Output(&expected))?;
    }
    Ok(())
}

/// Requests that a card must refuse, each of which Linux answers with EINVAL: an even modulus, a
/// message that is not below the modulus, a CRT key without a prime.
///
/// # Errors
/// When OpenSSL cannot make the key.
pub fn add_bad_operands(file: &mut VectorFile, bits: u32) -> Result<()> {
    let key = ReferenceKey::generate(bits).context("OpenSSL cannot make a key")?;
    let refused = || Expected::Errno(Errno::EINVAL.raw().unsigned_abs());
    let message = key.random_message()?;
    let mut even = key.n.clone();
    even.last_mut().into_iter().for_each(|byte| *byte &= 0xfe);
    file.push(
        bits,
        &message,
        Key::ModExpo {
            exponent: &key.e,
            modulus: &even,
        },
        refused(),
    )?;
    file.push(
        bits,
        &key.n,
        Key::ModExpo {
            exponent: &key.e,
            modulus: &key.n,
        },
        refused(),
    )?;
    let no_prime = Key::Crt {
        p: &key.p,
        q: &[],
        dp: &key.dp,
        dq: &key.dq,
        u: &key.u,
    };
    file.push(bits, &message, no_prime, refused())?;
    Ok(())
}

/// A guest's private operation on `message` with this key.
#[must_use]
pub fn private<'a>(key: &'a ReferenceKey, message: &'a [u8]) -> Crt<'a> {
    Crt {
        message,
        p: &key.p,
        q: &key.q,
        dp: &key.dp,
        dq: &key.dq,
        u: &key.u,
    }
}

/// One CRT request, for measurements.
///
/// # Errors
/// When OpenSSL cannot make the key.
pub fn one_crt(bits: u32) -> Result<VectorFile> {
    let key = ReferenceKey::generate(bits).context("OpenSSL cannot make a key")?;
    let mut file = VectorFile::new();
    let message = key.random_message()?;
    let expected = key.private(&message)?;
    file.push(bits, &message, crt_key(&key), Expected::Output(&expected))?;
    Ok(file)
}

fn crt_key(key: &ReferenceKey) -> Key<'_> {
    Key::Crt {
        p: &key.p,
        q: &key.q,
        dp: &key.dp,
        dq: &key.dq,
        u: &key.u,
    }
}
