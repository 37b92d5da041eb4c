//! What a coprocessor tells its driver about itself and its master keys. An accelerator tells nothing.

use crate::{Apid, Apqn};

/// Asks cards about themselves, as a driver does by the card's own messages.
pub trait CardQueries {
    /// What the card says about itself; `None` when it gives no answer.
    fn card_facts(&mut self, apid: Apid) -> Option<CardFacts>;

    /// What the card says about the master keys of a domain; `None` when it gives no answer.
    fn master_keys(&mut self, apqn: Apqn) -> Option<MasterKeys>;
}

impl<T: CardQueries + ?Sized> CardQueries for &mut T {
    fn card_facts(&mut self, apid: Apid) -> Option<CardFacts> {
        (**self).card_facts(apid)
    }

    fn master_keys(&mut self, apqn: Apqn) -> Option<MasterKeys> {
        (**self).master_keys(apqn)
    }
}

/// What a coprocessor says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardFacts {
    /// A CCA coprocessor.
    Cca {
        /// Serial number in ASCII.
        serial: [u8; 8],
    },
    /// An EP11 coprocessor.
    Ep11 {
        /// Serial number and instance in ASCII.
        serial: [u8; 16],
        /// Ordinal number of the API.
        api_ordinal: u32,
        /// Version of the firmware: major, minor.
        firmware: (u8, u8),
        /// Names of the operation modes.
        op_modes: &'static [&'static str],
    },
}

/// Verification patterns of one master key of a CCA coprocessor, of `N` bytes; `None` where the
/// register has no complete key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRegisters<const N: usize> {
    /// The key being loaded.
    pub new: Option<[u8; N]>,
    /// The key in use.
    pub current: Option<[u8; N]>,
    /// The key that was in use before.
    pub old: Option<[u8; N]>,
}

impl<const N: usize> KeyRegisters<N> {
    /// No key at all.
    pub const EMPTY: Self = Self {
        new: None,
        current: None,
        old: None,
    };

    /// A key in use, and nothing else.
    #[must_use]
    pub const fn with_current(pattern: [u8; N]) -> Self {
        Self {
            current: Some(pattern),
            ..Self::EMPTY
        }
    }
}

/// The master keys of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MasterKeys {
    /// Of a CCA coprocessor.
    Cca {
        /// Key of AES keys.
        aes: KeyRegisters<8>,
        /// Key of AES-protected public-key tokens.
        apka: KeyRegisters<8>,
        /// Key of RSA keys.
        asym: KeyRegisters<16>,
    },
    /// Of an EP11 coprocessor.
    Ep11 {
        /// Pattern of the wrapping key in use.
        current: Option<[u8; 32]>,
        /// Names of the operation modes.
        op_modes: &'static [&'static str],
    },
}
