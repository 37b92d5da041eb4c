//! What the coprocessors say about themselves: serial numbers, firmware, default test master keys.
//!
//! The keys are those that openCryptoki's tests expect in every domain; their verification patterns
//! are published there. Nothing is protected by them.

use arch::facts::{CardFacts, KeyRegisters, MasterKeys};
use arch::{Apid, CardMode};

use crate::Card;

/// Serial numbers begin with it; no real card's do.
const SERIAL: [u8; 4] = *b"93AA";
/// Serial number of an EP11 card's only instance.
const INSTANCE: [u8; 8] = *b"00000000";
const API_ORDINAL: u32 = 4;
const FIRMWARE: (u8, u8) = (5, 8);
const OP_MODES: &[&str] = &["FIPS2009", "BSI2009", "FIPS2011", "BSI2011", "BSICC2012"];
const AES: u64 = 0xe9a4_9a58_cd03_9bed;
const APKA: u64 = 0x5f2f_27aa_a2d5_9b4a;
/// The first half of the pattern; libraries compare no more of it.
const WRAPPING_KEY: u128 = 0x8b99_1263_e3a8_f4e4_be0d_5ec8_f0a4_df9e;

impl Card {
    /// What the card says about itself when it is adapter `apid`.
    #[must_use]
    pub fn facts(&self, apid: Apid) -> Option<CardFacts> {
        let serial = serial(apid);
        match self.mode() {
            CardMode::Accelerator => None,
            CardMode::Cca => Some(CardFacts::Cca { serial }),
            CardMode::Ep11 => {
                let mut long = [0; 16];
                long[..8].copy_from_slice(&serial);
                long[8..].copy_from_slice(&INSTANCE);
                Some(CardFacts::Ep11 {
                    serial: long,
                    api_ordinal: API_ORDINAL,
                    firmware: FIRMWARE,
                    op_modes: OP_MODES,
                })
            }
        }
    }

    /// The master keys of each of its domains.
    #[must_use]
    pub fn master_keys(&self) -> Option<MasterKeys> {
        match self.mode() {
            CardMode::Accelerator => None,
            CardMode::Cca => Some(MasterKeys::Cca {
                aes: KeyRegisters::with_current(AES.to_be_bytes()),
                apka: KeyRegisters::with_current(APKA.to_be_bytes()),
                asym: KeyRegisters::EMPTY,
            }),
            CardMode::Ep11 => {
                let mut pattern = [0; 32];
                pattern[..16].copy_from_slice(&WRAPPING_KEY.to_be_bytes());
                Some(MasterKeys::Ep11 {
                    current: Some(pattern),
                    op_modes: OP_MODES,
                })
            }
        }
    }
}

/// `93AA` and the adapter's number in four hexadecimal digits: unique in a machine, the same after
/// every start.
fn serial(apid: Apid) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut serial = *b"93AA0000";
    serial[..4].copy_from_slice(&SERIAL);
    serial[6] = DIGITS[usize::from(apid.0 >> 4)];
    serial[7] = DIGITS[usize::from(apid.0 & 0xf)];
    serial
}

#[cfg(test)]
mod tests {
    use arch::ApType;

    use super::*;

    fn card(mode: CardMode) -> Card {
        Card::new(ApType(14), mode)
    }

    #[test]
    fn each_adapter_has_its_own_serial_number() {
        let mut seen: Vec<[u8; 8]> = (0..=255).map(|apid| serial(Apid(apid))).collect();
        assert_eq!(&seen[0x5f], b"93AA005F");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 256);
    }

    #[test]
    fn an_accelerator_says_nothing() {
        let card = card(CardMode::Accelerator);
        assert_eq!((card.facts(Apid(4)), card.master_keys()), (None, None));
    }

    #[test]
    fn coprocessors_say_what_libraries_expect() {
        let Some(MasterKeys::Cca { aes, asym, .. }) = card(CardMode::Cca).master_keys() else {
            panic!("a CCA card has keys")
        };
        assert_eq!(aes.current, Some(AES.to_be_bytes()));
        assert_eq!(asym, KeyRegisters::EMPTY);
        let Some(CardFacts::Ep11 { serial, .. }) = card(CardMode::Ep11).facts(Apid(6)) else {
            panic!("an EP11 card has facts")
        };
        assert_eq!(&serial, b"93AA000600000000");
    }
}
