//! GR2 of TAPQ: what kind of adapter stands behind a queue (spec 1.9).

use core::fmt;

/// Mode of a Crypto Express adapter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CardMode {
    /// Accelerator: clear-key RSA. Letter A.
    Accelerator,
    /// CCA coprocessor. Letter C.
    Cca,
    /// EP11 coprocessor. Letter P.
    Ep11,
}

impl CardMode {
    /// The letter behind the type name: `CEX8A`, `CEX8C`, `CEX8P`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Accelerator => 'A',
            Self::Cca => 'C',
            Self::Ep11 => 'P',
        }
    }

    /// The mode with this letter.
    #[must_use]
    pub const fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'A' => Some(Self::Accelerator),
            'C' => Some(Self::Cca),
            'P' => Some(Self::Ep11),
            _ => None,
        }
    }
}

/// AP type: the hardware generation of an adapter. 10 is CEX4, 14 is CEX8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApType(pub u8);

impl ApType {
    /// Oldest type that Linux still serves.
    pub const CEX4: Self = Self(10);
    /// Newest type that Linux knows by itself; newer ones are asked for a compatible type by QACT.
    pub const CEX8: Self = Self(14);

    /// The digit in `CEX8A`: the type number minus 6.
    #[must_use]
    pub const fn generation(self) -> u8 {
        self.0.saturating_sub(6)
    }

    /// Whether Linux's drivers know this type (CEX4..CEX8).
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 >= Self::CEX4.0 && self.0 <= Self::CEX8.0
    }
}

/// Bits of the facility word, the upper half of GR2.
pub mod function {
    /// S: special commands.
    pub const APSC: u32 = 0x8000_0000;
    /// M: modular exponentiation up to 4096 bits.
    pub const MEX_4K: u32 = 0x4000_0000;
    /// C: CRT up to 4096 bits.
    pub const CRT_4K: u32 = 0x2000_0000;
    /// D: CCA coprocessor mode.
    pub const CCA: u32 = 0x1000_0000;
    /// A: accelerator mode.
    pub const ACCELERATOR: u32 = 0x0800_0000;
    /// X: EP11 mode.
    pub const EP11: u32 = 0x0400_0000;
    /// N: extended addressing.
    pub const APXA: u32 = 0x0200_0000;
    /// F: full function set.
    pub const FULL: u32 = 0x0080_0000;
}

/// Hardware information of a queue: the 64 bits of GR2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HwInfo(pub u64);

impl HwInfo {
    /// Builds the word: facility word `functions`, type, Nd field, maximum message length `ml` in
    /// units of 4096 bytes (0..=15, 0 means 12 KiB) and queue depth field `qd` (0..=15).
    #[must_use]
    pub const fn new(functions: u32, ap_type: ApType, nd: u8, ml: u8, qd: u8) -> Self {
        Self(
            (functions as u64) << 32
                | (ap_type.0 as u64) << 24
                | (nd as u64) << 16
                | ((ml & 0xf) as u64) << 8
                | (qd & 0xf) as u64,
        )
    }

    /// The facility word.
    #[must_use]
    pub const fn functions(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// AP type.
    #[must_use]
    pub const fn ap_type(self) -> ApType {
        ApType(self.0.to_be_bytes()[4])
    }

    /// ML field: maximum message length in units of 4096 bytes.
    #[must_use]
    pub const fn ml(self) -> u8 {
        self.0.to_be_bytes()[6] & 0xf
    }

    /// QD field; the queue takes `qd + 1` messages.
    #[must_use]
    pub const fn qd(self) -> u8 {
        self.0.to_be_bytes()[7] & 0xf
    }

    /// Messages that the queue takes.
    #[must_use]
    pub const fn depth(self) -> usize {
        self.qd() as usize + 1
    }

    /// Messages with which a driver takes the queue for full. Linux sends no more than the QD field says,
    /// as a Linux guest with many requesters shows, so it leaves the last place free. A queue with a single
    /// place is full when that is taken.
    #[must_use]
    pub const fn driver_depth(self) -> u8 {
        let qd = self.qd();
        if qd == 0 { 1 } else { qd }
    }

    /// Maximum message size in bytes: ML * 4096, or 12 KiB when ML is 0.
    #[must_use]
    pub const fn max_message_size(self) -> usize {
        match self.ml() {
            0 => DEFAULT_MAX_MESSAGE,
            ml => ml as usize * 4096,
        }
    }

    /// The mode, decided in the order accelerator, CCA, EP11; `None` when no mode bit is set.
    #[must_use]
    pub const fn mode(self) -> Option<CardMode> {
        let functions = self.functions();
        if functions & function::ACCELERATOR != 0 {
            Some(CardMode::Accelerator)
        } else if functions & function::CCA != 0 {
            Some(CardMode::Cca)
        } else if functions & function::EP11 != 0 {
            Some(CardMode::Ep11)
        } else {
            None
        }
    }

    /// The fields that belong to the card and not to one queue: everything but the secure-execution
    /// bind state. Linux re-creates a card when they change.
    #[must_use]
    pub const fn card_fields(self) -> u64 {
        self.0 & 0xffff_0000_ffff_0f0f
    }
}

impl fmt::Debug for HwInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// Message size limit of a card whose ML field is 0, in bytes.
pub const DEFAULT_MAX_MESSAGE: usize = 12 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cex8_accelerator_word() {
        let info = HwInfo::new(0x6a80_0000, ApType::CEX8, 0, 0, 8);
        assert_eq!(info.0, 0x6a80_0000_0e00_0008);
        assert_eq!((info.ap_type(), info.qd(), info.ml()), (ApType::CEX8, 8, 0));
        assert_eq!(info.max_message_size(), 12288);
        assert_eq!(info.mode(), Some(CardMode::Accelerator));
        assert_eq!(info.ap_type().generation(), 8);
    }

    #[test]
    fn a_driver_leaves_the_last_place_free() {
        for (qd, depth, for_driver) in [(0, 1, 1), (1, 2, 1), (7, 8, 7), (15, 16, 15)] {
            let info = HwInfo::new(0, ApType::CEX8, 0, 0, qd);
            assert_eq!((info.depth(), info.driver_depth()), (depth, for_driver));
        }
    }

    #[test]
    fn mode_letters_round_trip() {
        for mode in [CardMode::Accelerator, CardMode::Cca, CardMode::Ep11] {
            assert_eq!(CardMode::from_letter(mode.letter()), Some(mode));
        }
    }
}
