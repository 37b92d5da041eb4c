//! APCB and CRYCB: the control blocks that give a guest its matrix (spec 1.2).

use crate::ids::Apqn;
use crate::mask::{AdapterMask, ControlMask, Mask256, UsageMask};

/// The three masks of a guest. Which block of the CRYCB holds them depends on [`CrycbFormat`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Apcb {
    /// Adapters.
    pub apm: AdapterMask,
    /// Usage domains.
    pub aqm: UsageMask,
    /// Control domains.
    pub adm: ControlMask,
}

/// CRYCB format, in the two low bits of the CRYCB designation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CrycbFormat {
    /// No MSA extension 3: APCB0.
    Format0,
    /// MSA extension 3 without APXA: APCB0.
    Format1,
    /// MSA extension 3 and APXA: APCB1.
    Format2,
}

/// Size of a format-2 CRYCB in bytes.
pub const CRYCB_LEN: usize = 256;
const APCB1: usize = 0x80;

impl CrycbFormat {
    /// The format that a hypervisor chooses for a guest (spec 1.2).
    #[must_use]
    pub const fn choose(guest_has_msa3: bool, host_has_apxa: bool) -> Self {
        match (guest_has_msa3, host_has_apxa) {
            (false, _) => Self::Format0,
            (true, false) => Self::Format1,
            (true, true) => Self::Format2,
        }
    }

    /// The two low bits of the designation: 0, 1 or 3.
    #[must_use]
    pub const fn designation_bits(self) -> u8 {
        match self {
            Self::Format0 => 0b00,
            Self::Format1 => 0b01,
            Self::Format2 => 0b11,
        }
    }

    /// The format with these designation bits; 2 is not one.
    #[must_use]
    pub const fn from_designation_bits(bits: u8) -> Option<Self> {
        match bits {
            0b00 => Some(Self::Format0),
            0b01 => Some(Self::Format1),
            0b11 => Some(Self::Format2),
            _ => None,
        }
    }

    /// The part of `apcb` that a block of this format can hold: everything in format 2, adapters
    /// 0..=63 and domains 0..=15 otherwise.
    #[must_use]
    pub fn truncate(self, apcb: &Apcb) -> Apcb {
        match self {
            Self::Format2 => *apcb,
            Self::Format0 | Self::Format1 => {
                let domains = Mask256::range(0, 15);
                Apcb {
                    apm: apcb.apm & AdapterMask(Mask256::range(0, 63)),
                    aqm: apcb.aqm & UsageMask(domains),
                    adm: apcb.adm & ControlMask(domains),
                }
            }
        }
    }
}

impl Apcb {
    /// No adapter and no domain.
    pub const EMPTY: Self = Self {
        apm: AdapterMask::EMPTY,
        aqm: UsageMask::EMPTY,
        adm: ControlMask::EMPTY,
    };

    /// Whether the guest has this queue: its adapter in APM and its domain in AQM.
    #[must_use]
    pub const fn contains(&self, apqn: Apqn) -> bool {
        self.apm.contains(apqn.apid) && self.aqm.contains(apqn.apqi)
    }

    /// The queues, APM x AQM, adapter-major ascending.
    pub fn queues(&self) -> impl Iterator<Item = Apqn> + use<> {
        let domains = self.aqm;
        self.apm
            .iter()
            .flat_map(move |apid| domains.iter().map(move |apqi| Apqn { apid, apqi }))
    }

    /// The masks in a 256-byte CRYCB of the given format; everything else is zero.
    #[must_use]
    pub fn encode(&self, format: CrycbFormat) -> [u8; CRYCB_LEN] {
        let mut crycb = [0; CRYCB_LEN];
        let [apm, aqm, adm] = [self.apm.0, self.aqm.0, self.adm.0].map(Mask256::to_be_bytes);
        match format {
            CrycbFormat::Format2 => {
                crycb[APCB1..APCB1 + 32].copy_from_slice(&apm);
                crycb[APCB1 + 32..APCB1 + 64].copy_from_slice(&aqm);
                crycb[APCB1 + 64..APCB1 + 96].copy_from_slice(&adm);
            }
            CrycbFormat::Format0 | CrycbFormat::Format1 => {
                crycb[..8].copy_from_slice(&apm[..8]);
                crycb[8..10].copy_from_slice(&aqm[..2]);
                crycb[16..18].copy_from_slice(&adm[..2]);
            }
        }
        crycb
    }

    /// The masks of a CRYCB of the given format.
    #[must_use]
    pub fn decode(crycb: &[u8; CRYCB_LEN], format: CrycbFormat) -> Self {
        let mask = |at: usize, len: usize| {
            let mut bytes = [0; 32];
            bytes[..len].copy_from_slice(&crycb[at..at + len]);
            Mask256::from_be_bytes(&bytes)
        };
        let [apm, aqm, adm] = match format {
            CrycbFormat::Format2 => [(APCB1, 32), (APCB1 + 32, 32), (APCB1 + 64, 32)],
            CrycbFormat::Format0 | CrycbFormat::Format1 => [(0, 8), (8, 2), (16, 2)],
        }
        .map(|(at, len)| mask(at, len));
        Self {
            apm: AdapterMask(apm),
            aqm: UsageMask(aqm),
            adm: ControlMask(adm),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ids::{Apid, Apqi};
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn format_2_masks_of_test_t56() {
        let mut apcb = Apcb::default();
        apcb.apm.insert(Apid(5));
        apcb.aqm.insert(Apqi(4));
        apcb.adm.insert(Apqi(0x10));
        let crycb = apcb.encode(CrycbFormat::Format2);
        assert_eq!((crycb[0x80], crycb[0xa0], crycb[0xc2]), (0x04, 0x08, 0x80));
        assert_eq!(crycb.iter().filter(|byte| **byte != 0).count(), 3);
        assert_eq!(apcb.queues().collect::<Vec<_>>(), [Apqn::new(5, 4)]);
    }

    #[test]
    fn formats_and_designation_bits() {
        assert_eq!(CrycbFormat::choose(true, true).designation_bits(), 3);
        assert_eq!(CrycbFormat::choose(true, false).designation_bits(), 1);
        assert_eq!(CrycbFormat::choose(false, true).designation_bits(), 0);
        assert_eq!(CrycbFormat::from_designation_bits(2), None);
    }

    proptest! {
        #[test]
        fn crycbs_round_trip(masks: [[u8; 32]; 3]) {
            let [apm, aqm, adm] = masks.map(|bytes| Mask256::from_be_bytes(&bytes));
            let apcb = Apcb { apm: AdapterMask(apm), aqm: UsageMask(aqm), adm: ControlMask(adm) };
            for format in [CrycbFormat::Format0, CrycbFormat::Format1, CrycbFormat::Format2] {
                let decoded = Apcb::decode(&apcb.encode(format), format);
                prop_assert_eq!(decoded, format.truncate(&apcb));
            }
        }
    }
}
