//! The facility bits that QEMU's CPU model does not have.
//!
//! QEMU executes STFLE itself and stores the list byte by byte. A callback before the instruction
//! remembers the operand address of this vCPU, a memory callback after each store puts our bits
//! into the byte that was stored. That works wherever the instruction stands in its block, and the
//! guest never sees a list without the bits.

use std::sync::atomic::{AtomicU64, Ordering};

use arch::Facilities;

use crate::cpu::{Cpu, CpuError, PswMask, Register};

/// No STFLE is under way: no byte of a list lies that far from this address.
const NONE: u64 = u64::MAX;

/// The STFLE that a vCPU is executing.
#[derive(Debug)]
pub(crate) struct FacilityList {
    address: AtomicU64,
}

impl Default for FacilityList {
    fn default() -> Self {
        Self {
            address: AtomicU64::new(NONE),
        }
    }
}

/// STFLE in the guest's program (format S).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stfle {
    base: u8,
    displacement: u16,
}

impl Stfle {
    /// The instruction in these four bytes, if it is STFLE.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        let [0xb2, 0xb0, high, low] = bytes else {
            return None;
        };
        Some(Self {
            base: high >> 4,
            displacement: u16::from_be_bytes([high & 0xf, low]),
        })
    }

    /// The operand's logical address.
    pub(crate) fn address(self, cpu: &mut impl Cpu) -> Result<u64, CpuError> {
        operand_address(cpu, self.base, self.displacement)
    }
}

/// Base register plus displacement, cut to the addressing mode. Register 0 means no base.
pub(crate) fn operand_address(
    cpu: &mut impl Cpu,
    base: u8,
    displacement: u16,
) -> Result<u64, CpuError> {
    let base = match base {
        0 => 0,
        number => cpu.get(Register::General(number & 0xf))?,
    };
    let mode = PswMask(cpu.get(Register::PswMask)?).addressing();
    Ok(mode.address(base.wrapping_add(displacement.into())))
}

impl FacilityList {
    /// STFLE is about to store at `address`.
    pub(crate) fn begin(&self, address: u64) {
        self.address.store(address, Ordering::Relaxed);
    }

    /// The bits to set in the byte at `address`, which STFLE has just stored; 0 for none.
    pub(crate) fn bits_at(&self, address: u64, facilities: Facilities) -> u8 {
        let list = self.address.load(Ordering::Relaxed);
        if list == NONE {
            return 0;
        }
        byte_of_list(facilities, address.wrapping_sub(list))
    }
}

/// Byte number `index` of a facility list that has `facilities` and nothing else.
fn byte_of_list(facilities: Facilities, index: u64) -> u8 {
    Facilities::STFLE_BITS
        .into_iter()
        .filter(|(facility, bit)| {
            facilities.contains(*facility)
                && *facility != Facilities::MSA3
                && u64::from(bit / 8) == index
        })
        .fold(0, |byte, (_, bit)| byte | 0x80 >> (bit % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_12_15_and_65() {
        let all = Facilities::all();
        assert_eq!(byte_of_list(all, 1), 0x09);
        assert_eq!(byte_of_list(all, 8), 0x40);
        assert_eq!(byte_of_list(all, 9), 0, "MSA 3 is the CPU model's own");
        assert_eq!(byte_of_list(Facilities::APFT, 1), 0x01);
        assert_eq!(
            (0..=255)
                .filter(|byte| byte_of_list(all, *byte) != 0)
                .count(),
            2
        );
    }

    #[test]
    fn only_the_list_of_this_instruction_is_changed() {
        let list = FacilityList::default();
        assert_eq!(list.bits_at(0, Facilities::all()), 0);
        list.begin(0x1000);
        assert_eq!(list.bits_at(0x1001, Facilities::all()), 0x09);
        assert_eq!(list.bits_at(0x0fff, Facilities::all()), 0);
    }

    #[test]
    fn operands_of_format_s() {
        let stfle = Stfle::decode([0xb2, 0xb0, 0x5f, 0xff]);
        let expected = Stfle {
            base: 5,
            displacement: 0xfff,
        };
        assert_eq!(stfle, Some(expected));
        assert_eq!(Stfle::decode([0xb2, 0xb1, 0, 0]), None);
    }
}
