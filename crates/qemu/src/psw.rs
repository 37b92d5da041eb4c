//! Whole PSWs, and the places in low core where interruptions exchange them.

use crate::cpu::{Cpu, CpuError, PswMask, Register};

/// A PSW: the mask and the address of the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Psw {
    pub(crate) mask: PswMask,
    pub(crate) address: u64,
}

impl Psw {
    /// The PSW in 16 bytes of storage.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let half = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        Self {
            mask: PswMask(half(&bytes[..8])),
            address: half(&bytes[8..]),
        }
    }

    /// Its 16 bytes in storage.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.mask.0) << 64 | u128::from(self.address)).to_be_bytes()
    }

    /// Whether LPSWE of this PSW completes without an exception: no reserved bit, an addressing mode
    /// that exists, and an address that fits it.
    pub(crate) const fn is_valid(self) -> bool {
        let fits = match self.mask.addressing() {
            crate::cpu::AddressingMode::Bits24 => self.address >> 24 == 0,
            crate::cpu::AddressingMode::Bits31 => self.address >> 31 == 0,
            crate::cpu::AddressingMode::Bits64 => true,
        };
        self.mask.is_valid() && fits && self.address & 1 == 0
    }
}

/// Where a class of interruptions stores the old PSW and finds the new one, from the prefix on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    old: u64,
    new: u64,
}

impl Slot {
    pub(crate) const PROGRAM: Self = Self::at(0x150);
    pub(crate) const MACHINE_CHECK: Self = Self::at(0x160);
    pub(crate) const IO: Self = Self::at(0x170);
    /// Those of interruptions that no instruction causes: restart, external, machine check, I/O.
    pub(crate) const ASYNCHRONOUS: [Self; 4] = [
        Self::at(0x120),
        Self::at(0x130),
        Self::MACHINE_CHECK,
        Self::IO,
    ];

    /// New PSWs stand 128 bytes behind the old ones.
    const fn at(old: u64) -> Self {
        Self {
            old,
            new: old + 0x80,
        }
    }

    /// The new PSW; `None` when the CPU has no low core, or when the new PSW would stop it: QEMU
    /// would halt this CPU inside the callback, and a guest without a handler is lost anyway.
    pub(crate) fn new_psw(self, cpu: &mut impl Cpu) -> Result<Option<Psw>, CpuError> {
        let prefix = cpu.get(Register::Prefix)?;
        let new = cpu.load_absolute(prefix + self.new).map(Psw::from_bytes);
        Ok(new.filter(|new| !new.mask.wait()))
    }

    /// The old PSW.
    pub(crate) fn old_psw(self, cpu: &mut impl Cpu) -> Result<Option<Psw>, CpuError> {
        let prefix = cpu.get(Register::Prefix)?;
        Ok(cpu.load_absolute(prefix + self.old).map(Psw::from_bytes))
    }

    /// Stores the old PSW; false when the CPU has no low core.
    pub(crate) fn store_old(self, cpu: &mut impl Cpu, old: Psw) -> Result<bool, CpuError> {
        let prefix = cpu.get(Register::Prefix)?;
        Ok(cpu.store_absolute(prefix + self.old, &old.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_halves() {
        let psw = Psw {
            mask: PswMask(0x0706_0001_8000_0000),
            address: 0x12_3456,
        };
        assert_eq!(Psw::from_bytes(psw.to_bytes()), psw);
        assert_eq!(psw.to_bytes()[..2], [0x07, 0x06]);
    }

    #[test]
    fn a_psw_that_lpswe_refuses_is_not_valid() {
        let valid = |mask, address| {
            Psw {
                mask: PswMask(mask),
                address,
            }
            .is_valid()
        };
        assert!(valid(0x0706_0001_8000_0000, 0x12_3456));
        assert!(valid(0x0002_0000_8000_0000, 0x7fff_fffe));
        assert!(!valid(0x0706_0001_8000_0000, 0x12_3457), "odd address");
        assert!(!valid(0x0706_0001_0000_0000, 0x12_3456), "EA without BA");
        assert!(!valid(0x0706_0000_8000_0000, 0x8000_0000), "above 31 bits");
        assert!(!valid(0x0706_0000_0000_0000, 0x0100_0000), "above 24 bits");
        assert!(!valid(0x8706_0001_8000_0000, 0), "bit 0");
        assert!(!valid(0x070e_0001_8000_0000, 0), "bit 12");
        assert!(!valid(0x0706_0001_8000_0001, 0), "bit 63");
    }
}
