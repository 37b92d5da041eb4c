//! The QCI information block: what PQAP(QCI) stores (spec 1.4).

use bitflags::bitflags;

use crate::ids::{Apid, Apqi};
use crate::mask::{AdapterMask, ControlMask, Mask256, UsageMask};

bitflags! {
    /// The flag word of the block, bytes 0..4.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct QciFlags: u32 {
        /// S: special commands.
        const APSC = 0x8000_0000;
        /// N: extended addressing, numbers up to 255.
        const APXA = 0x4000_0000;
        /// C: PQAP(QACT) is available.
        const QACT = 0x2000_0000;
        /// R: response code 8A.
        const RC8A = 0x1000_0000;
        /// B: secure binding.
        const APSB = 0x0080_0000;
    }
}

/// Configuration of a partition or guest as PQAP(QCI) tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QciBlock {
    /// Installed functions.
    pub flags: QciFlags,
    /// Na: the highest adapter number; meaningful with [`QciFlags::APXA`].
    pub na: u8,
    /// Nd: the highest domain number; meaningful with [`QciFlags::APXA`].
    pub nd: u8,
    /// Adapters of the partition.
    pub apm: AdapterMask,
    /// Usage domains of the partition.
    pub aqm: UsageMask,
    /// Control domains of the partition.
    pub adm: ControlMask,
}

/// Size of the stored block in bytes; it must stand on a doubleword boundary.
pub const QCI_LEN: usize = 128;

impl QciBlock {
    /// A block without any function, adapter or domain.
    pub const EMPTY: Self = Self {
        flags: QciFlags::empty(),
        na: 0,
        nd: 0,
        apm: AdapterMask::EMPTY,
        aqm: UsageMask::EMPTY,
        adm: ControlMask::EMPTY,
    };

    /// The highest adapter number: Na with APXA, else 63 (spec 1.4).
    #[must_use]
    pub const fn max_adapter(&self) -> Apid {
        Apid(if self.flags.contains(QciFlags::APXA) {
            self.na
        } else {
            MAX_ADAPTER_WITHOUT_APXA
        })
    }

    /// The highest domain number: Nd with APXA, else 15 (spec 1.4).
    #[must_use]
    pub const fn max_domain(&self) -> Apqi {
        Apqi(if self.flags.contains(QciFlags::APXA) {
            self.nd
        } else {
            MAX_DOMAIN_WITHOUT_APXA
        })
    }

    /// The 128 bytes as stored; reserved bytes are zero.
    #[must_use]
    pub fn encode(&self) -> [u8; QCI_LEN] {
        let mut block = [0; QCI_LEN];
        block[..4].copy_from_slice(&self.flags.bits().to_be_bytes());
        block[4] = self.na;
        block[5] = self.nd;
        block[16..48].copy_from_slice(&self.apm.0.to_be_bytes());
        block[48..80].copy_from_slice(&self.aqm.0.to_be_bytes());
        block[80..112].copy_from_slice(&self.adm.0.to_be_bytes());
        block
    }

    /// The block in 128 stored bytes; unknown flags and reserved bytes are dropped.
    #[must_use]
    pub fn decode(block: &[u8; QCI_LEN]) -> Self {
        let mask = |at: usize| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(&block[at..at + 32]);
            Mask256::from_be_bytes(&bytes)
        };
        let [b0, b1, b2, b3, na, nd, ..] = *block;
        Self {
            flags: QciFlags::from_bits_truncate(u32::from_be_bytes([b0, b1, b2, b3])),
            na,
            nd,
            apm: AdapterMask(mask(16)),
            aqm: UsageMask(mask(48)),
            adm: ControlMask(mask(80)),
        }
    }
}

/// Highest adapter number that 6 bits can name.
pub const MAX_ADAPTER_WITHOUT_APXA: u8 = 63;
/// Highest domain number that 4 bits can name.
pub const MAX_DOMAIN_WITHOUT_APXA: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_round_trip(flags: u32, na: u8, nd: u8, masks: [[u8; 32]; 3]) {
            let [apm, aqm, adm] = masks.map(|bytes| Mask256::from_be_bytes(&bytes));
            let block = QciBlock {
                flags: QciFlags::from_bits_truncate(flags),
                na, nd,
                apm: AdapterMask(apm), aqm: UsageMask(aqm), adm: ControlMask(adm),
            };
            prop_assert_eq!(QciBlock::decode(&block.encode()), block);
        }
    }

    #[test]
    fn fields_stand_at_their_offsets() {
        let mut block = QciBlock::EMPTY;
        block.flags = QciFlags::APSC | QciFlags::APXA | QciFlags::QACT;
        (block.na, block.nd) = (63, 84);
        block.apm.insert(Apid(1));
        block.aqm.insert(Apqi(2));
        block.adm.insert(Apqi(8));
        let bytes = block.encode();
        assert_eq!(bytes[..6], [0xe0, 0, 0, 0, 63, 84]);
        assert_eq!(
            (bytes[16], bytes[48], bytes[80], bytes[81]),
            (0x40, 0x20, 0, 0x80)
        );
    }
}
