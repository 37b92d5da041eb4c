//! What is measured, and who can do it.

use std::error::Error;

use cex::reference::{ReferenceKey, mod_exp};

/// An operation of a card. With a *fresh* key everything about the key is prepared within the operation,
/// from bytes on; a *repeated* one was prepared before, as far as the library can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// The private operation in CRT form.
    CrtFresh,
    /// The same.
    CrtRepeated,
    /// The private exponent and the modulus alone, in constant time.
    PrivateFresh,
    /// The same.
    PrivateRepeated,
    /// The exponent 65537.
    PublicFresh,
    /// The same.
    PublicRepeated,
}

impl Operation {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 6] = [
        Self::CrtFresh,
        Self::CrtRepeated,
        Self::PrivateFresh,
        Self::PrivateRepeated,
        Self::PublicFresh,
        Self::PublicRepeated,
    ];

    /// As it is printed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CrtFresh => "CRT, fresh",
            Self::CrtRepeated => "CRT, repeated",
            Self::PrivateFresh => "mod-expo d, fresh",
            Self::PrivateRepeated => "mod-expo d, repeated",
            Self::PublicFresh => "mod-expo 65537, fresh",
            Self::PublicRepeated => "mod-expo 65537, repeated",
        }
    }

    /// Whether the key is prepared within the operation.
    pub(crate) const fn is_fresh(self) -> bool {
        matches!(
            self,
            Self::CrtFresh | Self::PrivateFresh | Self::PublicFresh
        )
    }
}

/// A key, a message, and the two right answers.
pub(crate) struct KeyNumbers {
    pub(crate) key: ReferenceKey,
    pub(crate) message: Vec<u8>,
    private: Vec<u8>,
    public: Vec<u8>,
}

impl KeyNumbers {
    pub(crate) fn new(key: ReferenceKey) -> Result<Self, Box<dyn Error>> {
        let message = key.random_message()?;
        let private = key.private(&message)?;
        if mod_exp(&private, &key.e, &key.n)? != message {
            return Err("the reference is wrong".into());
        }
        Ok(Self {
            private,
            public: mod_exp(&message, &key.e, &key.n)?,
            message,
            key,
        })
    }

    /// The right answer.
    pub(crate) fn expected(&self, operation: Operation) -> &[u8] {
        match operation {
            Operation::PublicFresh | Operation::PublicRepeated => &self.public,
            Operation::CrtFresh
            | Operation::CrtRepeated
            | Operation::PrivateFresh
            | Operation::PrivateRepeated => &self.private,
        }
    }
}

/// A library with one key.
pub(crate) trait Contender {
    /// As it is printed.
    fn name(&self) -> &'static str;

    /// Computes into `result`, which has the length of the modulus; `false` when that failed.
    fn run(&mut self, operation: Operation, result: &mut [u8]) -> bool;
}
