//! The operations by a library with OpenSSL's interface.
//!
//! A private operation in CRT form is the library's RSA, which blinds the message and checks the result. An
//! exponentiation with a secret is the library's constant-time one, with a public exponent the fast one.

use std::ffi::c_int;
use std::ptr::null_mut;

use crate::api::{Api, Library, Object};
use crate::operation::{Contender, KeyNumbers, Operation};

const NO_PADDING: c_int = 3;

/// A library with a key, prepared.
pub(crate) struct WithKey<'n> {
    library: &'n Library,
    numbers: &'n KeyNumbers,
    rsa: Object,
    modulus: Modulus<'n>,
}

/// A modulus with its Montgomery context.
struct Modulus<'n> {
    api: &'n Api,
    n: Object,
    montgomery: Object,
    context: Object,
}

impl<'n> WithKey<'n> {
    pub(crate) fn new(library: &'n Library, numbers: &'n KeyNumbers) -> Self {
        Self {
            library,
            numbers,
            rsa: rsa(&library.api, numbers),
            modulus: Modulus::new(&library.api, &numbers.key.n),
        }
    }
}

impl Drop for WithKey<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { (self.library.api.RSA_free)(self.rsa) }
    }
}

impl<'n> Modulus<'n> {
    fn new(api: &'n Api, bytes: &[u8]) -> Self {
        let n = number(api, bytes);
        // SAFETY: objects of this library, which live as long as this value.
        unsafe {
            let (context, montgomery) = ((api.BN_CTX_new)(), (api.BN_MONT_CTX_new)());
            assert_eq!((api.BN_MONT_CTX_set)(montgomery, n, context), 1);
            Self {
                api,
                n,
                montgomery,
                context,
            }
        }
    }

    /// `message ^ exponent` into `result`.
    fn power(&self, message: &[u8], exponent: Exponent<'_>, result: &mut [u8]) -> bool {
        let api = self.api;
        let (function, exponent) = match exponent {
            Exponent::Secret(bytes) => (api.BN_mod_exp_mont_consttime, bytes),
            Exponent::Public(bytes) => (api.BN_mod_exp_mont, bytes),
        };
        let [base, exponent] = [message, exponent].map(|bytes| number(api, bytes));
        let length = length(result);
        // SAFETY: objects of this library; `result` has the length that is said.
        unsafe {
            let power = (api.BN_new)();
            let done = function(power, base, exponent, self.n, self.context, self.montgomery) == 1
                && (api.BN_bn2binpad)(power, result.as_mut_ptr(), length) == length;
            for number in [base, exponent, power] {
                (api.BN_clear_free)(number);
            }
            done
        }
    }
}

impl Drop for Modulus<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe {
            (self.api.BN_MONT_CTX_free)(self.montgomery);
            (self.api.BN_free)(self.n);
            (self.api.BN_CTX_free)(self.context);
        }
    }
}

#[derive(Clone, Copy)]
enum Exponent<'b> {
    Secret(&'b [u8]),
    Public(&'b [u8]),
}

impl Contender for WithKey<'_> {
    fn name(&self) -> &'static str {
        self.library.name
    }

    fn run(&mut self, operation: Operation, result: &mut [u8]) -> bool {
        let api = &self.library.api;
        let KeyNumbers { key, message, .. } = self.numbers;
        let result = &mut result[..message.len()];
        let exponent = match operation {
            Operation::CrtFresh => {
                let fresh = rsa(api, self.numbers);
                let done = decrypt(api, fresh, message, result);
                // SAFETY: made here, freed once.
                unsafe { (api.RSA_free)(fresh) };
                return done;
            }
            Operation::CrtRepeated => return decrypt(api, self.rsa, message, result),
            Operation::PrivateFresh | Operation::PrivateRepeated => Exponent::Secret(&key.d),
            Operation::PublicFresh | Operation::PublicRepeated => Exponent::Public(&key.e),
        };
        if operation.is_fresh() {
            Modulus::new(api, &key.n).power(message, exponent, result)
        } else {
            self.modulus.power(message, exponent, result)
        }
    }
}

fn length(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).expect("numbers have thousands of bits")
}

fn number(api: &Api, bytes: &[u8]) -> Object {
    // SAFETY: the bytes are there; a new number is made.
    let number = unsafe { (api.BN_bin2bn)(bytes.as_ptr(), length(bytes), null_mut()) };
    assert!(!number.is_null(), "no memory");
    number
}

fn decrypt(api: &Api, rsa: Object, message: &[u8], result: &mut [u8]) -> bool {
    let (from, to) = (message.as_ptr(), result.as_mut_ptr());
    let length = length(message);
    // SAFETY: message and result have the length of the modulus.
    unsafe { (api.RSA_private_decrypt)(length, from, to, rsa, NO_PADDING) == length }
}

fn rsa(api: &Api, numbers: &KeyNumbers) -> Object {
    let key = &numbers.key;
    let [n, e, d, p, q, dp, dq, u] = [
        &key.n, &key.e, &key.d, &key.p, &key.q, &key.dp, &key.dq, &key.u,
    ]
    .map(|bytes| number(api, bytes));
    // SAFETY: the key takes the numbers over.
    unsafe {
        let rsa = (api.RSA_new)();
        assert_eq!((api.RSA_set0_key)(rsa, n, e, d), 1);
        assert_eq!((api.RSA_set0_factors)(rsa, p, q), 1);
        assert_eq!((api.RSA_set0_crt_params)(rsa, dp, dq, u), 1);
        rsa
    }
}
