//! The operations by `crypto-bigint`: constant time, in Rust. It has no RSA; the CRT form is put together
//! here, without blinding and without a check of the result, so that it has less to do than the others.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Odd};

use crate::operation::{Contender, KeyNumbers, Operation};

/// Length of 65537, which is public.
const PUBLIC_BITS: u32 = 17;

/// The library with a key, prepared.
pub(crate) struct WithKey<'n> {
    numbers: &'n KeyNumbers,
    modulus: BoxedMontyParams,
    crt: Crt,
}

/// A key in CRT form.
struct Crt {
    p: Half,
    q: Half,
    u: BoxedMontyForm,
}

struct Half {
    prime: NonZero<BoxedUint>,
    params: BoxedMontyParams,
    exponent: BoxedUint,
}

fn number(bytes: &[u8], bits: u32) -> BoxedUint {
    BoxedUint::from_be_slice(bytes, bits).expect("it fits")
}

fn odd(bytes: &[u8], bits: u32) -> Odd<BoxedUint> {
    Option::from(number(bytes, bits).into_odd()).expect("it is odd")
}

impl<'n> WithKey<'n> {
    pub(crate) fn new(numbers: &'n KeyNumbers) -> Self {
        let key = &numbers.key;
        Self {
            numbers,
            modulus: BoxedMontyParams::new(odd(&key.n, key.bits)),
            crt: Crt::new(numbers),
        }
    }
}

impl Half {
    fn new(prime: &[u8], exponent: &[u8], bits: u32) -> Self {
        let prime = odd(prime, bits);
        Self {
            params: BoxedMontyParams::new(prime.clone()),
            prime: prime.into_nz(),
            exponent: number(exponent, bits),
        }
    }

    fn power(&self, message: &BoxedUint) -> BoxedMontyForm {
        BoxedMontyForm::new(message.rem(&self.prime), &self.params).pow(&self.exponent)
    }
}

impl Crt {
    fn new(numbers: &KeyNumbers) -> Self {
        let key = &numbers.key;
        let bits = key.bits / 2;
        let p = Half::new(&key.p, &key.dp, bits);
        Self {
            u: BoxedMontyForm::new(number(&key.u, bits), &p.params),
            q: Half::new(&key.q, &key.dq, bits),
            p,
        }
    }

    /// `m2 + (m1 - m2) u mod p * q`. p is the larger prime, so m2 is reduced modulo p.
    fn apply(&self, message: &BoxedUint) -> BoxedUint {
        let m2 = self.q.power(message).retrieve();
        let difference = self
            .p
            .power(message)
            .sub(&BoxedMontyForm::new(m2.clone(), &self.p.params));
        let h = difference.mul(&self.u).retrieve();
        h.concatenating_mul(self.q.prime.as_ref()).wrapping_add(m2)
    }
}

impl Contender for WithKey<'_> {
    fn name(&self) -> &'static str {
        "crypto-bigint"
    }

    fn run(&mut self, operation: Operation, result: &mut [u8]) -> bool {
        let key = &self.numbers.key;
        let message = number(&self.numbers.message, key.bits);
        let fresh = match operation {
            Operation::PrivateFresh => BoxedMontyParams::new(odd(&key.n, key.bits)),
            Operation::PublicFresh => BoxedMontyParams::new_vartime(odd(&key.n, key.bits)),
            Operation::CrtFresh
            | Operation::CrtRepeated
            | Operation::PrivateRepeated
            | Operation::PublicRepeated => self.modulus.clone(),
        };
        let power = match operation {
            Operation::CrtFresh => Crt::new(self.numbers).apply(&message),
            Operation::CrtRepeated => self.crt.apply(&message),
            Operation::PrivateFresh | Operation::PrivateRepeated => {
                let d = number(&key.d, key.bits);
                BoxedMontyForm::new(message, &fresh).pow(&d).retrieve()
            }
            Operation::PublicFresh | Operation::PublicRepeated => {
                let e = number(&key.e, 32);
                BoxedMontyForm::new(message, &fresh)
                    .pow_bounded_exp(&e, PUBLIC_BITS)
                    .retrieve()
            }
        };
        let bytes = power.to_be_bytes();
        let length = self.numbers.message.len();
        result[..length].copy_from_slice(&bytes[bytes.len() - length..]);
        true
    }
}
