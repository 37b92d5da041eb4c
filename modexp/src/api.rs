//! Libraries with OpenSSL's interface: the OpenSSL that the cards are linked with, the distribution's, AWS-LC.
//!
//! All functions are called through pointers, so that several versions can be in one process and have
//! their turns in the same rounds. AWS-LC's crate gives its symbols a prefix of their own, and the
//! distribution's library resolves its symbols within itself.

use std::ffi::{CStr, c_char, c_int, c_void};

/// An object of a library, known to it alone.
pub(crate) type Object = *mut c_void;

/// The distribution's library.
const DISTRIBUTION: &str = "libcrypto.so.3";

macro_rules! api {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions that are used, under their own names.
        #[expect(non_snake_case, reason = "the names of C")]
        pub(crate) struct Api {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        /// The OpenSSL that `openssl-sys` brings.
        mod linked {
            use super::{Object, c_char, c_int};
            unsafe extern "C" {
                $(pub(super) fn $name($(_: $argument),*) $(-> $result)?;)*
            }
        }

        impl Api {
            fn linked() -> Self {
                openssl_sys::init();
                Self { $($name: linked::$name,)* }
            }

            /// # Safety
            /// `library` is an OpenSSL 3 and is never unloaded.
            unsafe fn loaded(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: these are the functions' types in OpenSSL 3, and they stay loaded.
                    $($name: unsafe { *library.get(concat!(stringify!($name), "\0").as_bytes())? },)*
                })
            }

            /// As AWS-LC declares them where lengths are `int`.
            #[cfg(feature = "aws-lc")]
            fn aws_lc() -> Self {
                Self {
                    // SAFETY: the same functions, with objects that have no type here: pointers are
                    // passed alike. Where AWS-LC has another type, the function here has ours.
                    $($name: unsafe {
                        std::mem::transmute::<
                            *const (),
                            unsafe extern "C" fn($($argument),*) $(-> $result)?,
                        >(aws_lc::$name as *const ())
                    },)*
                }
            }
        }
    };
}

api! {
    OpenSSL_version: fn(c_int) -> *const c_char;
    BN_bin2bn: fn(*const u8, c_int, Object) -> Object;
    BN_bn2binpad: fn(Object, *mut u8, c_int) -> c_int;
    BN_new: fn() -> Object;
    BN_free: fn(Object);
    BN_clear_free: fn(Object);
    BN_CTX_new: fn() -> Object;
    BN_CTX_free: fn(Object);
    BN_MONT_CTX_new: fn() -> Object;
    BN_MONT_CTX_set: fn(Object, Object, Object) -> c_int;
    BN_MONT_CTX_free: fn(Object);
    BN_mod_exp_mont: fn(Object, Object, Object, Object, Object, Object) -> c_int;
    BN_mod_exp_mont_consttime: fn(Object, Object, Object, Object, Object, Object) -> c_int;
    RSA_new: fn() -> Object;
    RSA_free: fn(Object);
    RSA_set0_key: fn(Object, Object, Object, Object) -> c_int;
    RSA_set0_factors: fn(Object, Object, Object) -> c_int;
    RSA_set0_crt_params: fn(Object, Object, Object, Object) -> c_int;
    RSA_private_decrypt: fn(c_int, *const u8, *mut u8, Object, c_int) -> c_int;
}

/// AWS-LC's functions; those that take a `size_t` where OpenSSL takes an `int` have OpenSSL's type.
#[cfg(feature = "aws-lc")]
#[expect(non_snake_case, reason = "the names of C")]
mod aws_lc {
    use super::c_int;
    use aws_lc_sys::{BIGNUM, RSA};
    pub(super) use aws_lc_sys::{
        BN_CTX_free, BN_CTX_new, BN_MONT_CTX_free, BN_MONT_CTX_new, BN_MONT_CTX_set, BN_bn2binpad,
        BN_clear_free, BN_free, BN_mod_exp_mont, BN_mod_exp_mont_consttime, BN_new,
        OpenSSL_version, RSA_free, RSA_new, RSA_set0_crt_params, RSA_set0_factors, RSA_set0_key,
    };

    /// # Safety
    /// As OpenSSL's.
    pub(super) unsafe extern "C" fn BN_bin2bn(
        bytes: *const u8,
        length: c_int,
        into: *mut BIGNUM,
    ) -> *mut BIGNUM {
        let length = usize::try_from(length).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { aws_lc_sys::BN_bin2bn(bytes, length, into) }
    }

    /// # Safety
    /// As OpenSSL's.
    pub(super) unsafe extern "C" fn RSA_private_decrypt(
        length: c_int,
        from: *const u8,
        to: *mut u8,
        rsa: *mut RSA,
        padding: c_int,
    ) -> c_int {
        let length = usize::try_from(length).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { aws_lc_sys::RSA_private_decrypt(length, from, to, rsa, padding) }
    }
}

/// One library.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) api: Api,
}

impl Library {
    /// The one that the cards use.
    pub(crate) fn linked() -> Self {
        Self {
            name: "OpenSSL, vendored",
            api: Api::linked(),
        }
    }

    /// The distribution's.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn distribution() -> Result<Self, String> {
        // SAFETY: that file name is OpenSSL 3's.
        let api = unsafe { open(DISTRIBUTION) }.map_err(|error| error.to_string())?;
        Ok(Self {
            name: "OpenSSL, distribution",
            api,
        })
    }

    /// AWS-LC.
    #[cfg(feature = "aws-lc")]
    pub(crate) fn aws_lc() -> Self {
        Self {
            name: "AWS-LC",
            api: Api::aws_lc(),
        }
    }

    /// What the library says about itself.
    pub(crate) fn version(&self) -> String {
        // SAFETY: it returns a static string for every number.
        let text = unsafe { CStr::from_ptr((self.api.OpenSSL_version)(0)) };
        text.to_string_lossy().into_owned()
    }
}

/// Loads an OpenSSL for as long as the process lives: it does not expect to be unloaded before.
///
/// # Safety
/// A library of this name is an OpenSSL 3.
unsafe fn open(name: &str) -> Result<Api, libloading::Error> {
    // SAFETY: OpenSSL's initialization has no conditions.
    let library = unsafe { libloading::Library::new(name) }?;
    // SAFETY: the caller's promise, and it is never unloaded.
    unsafe { Api::loaded(Box::leak(Box::new(library))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        // SAFETY: there is no library of this name.
        let missing = unsafe { open("libcrypto.so.none") };
        let reason = missing.err().map(|error| error.to_string());
        assert!(reason.is_some_and(|reason| reason.contains("libcrypto.so.none")));
    }
}
