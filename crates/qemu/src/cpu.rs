//! What the interception needs of a virtual CPU, and the few facts of its PSW.

/// A register of the virtual CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    /// The mask half of the PSW.
    PswMask,
    /// The prefix: where absolute storage holds this CPU's low core.
    Prefix,
    /// A general register, 0..=15.
    General(u8),
    /// A control register, 0..=15.
    Control(u8),
    /// An access register, 0..=15: 32 bits.
    Access(u8),
    /// A floating-point register, 0..=15.
    Float(u8),
    /// The floating-point control register: 32 bits.
    FloatControl,
    /// The clock comparator.
    ClockComparator,
    /// When the CPU timer will be 0, in nanoseconds of a clock of QEMU's.
    TimerExpiry,
}

/// QEMU, or a test, did not do what it always does: a register cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CpuError;

/// A virtual CPU at an instruction.
pub(crate) trait Cpu {
    /// Reads a register.
    fn get(&mut self, register: Register) -> Result<u64, CpuError>;
    /// Reads a vector register, 0..=31.
    fn vector(&mut self, number: u8) -> Result<u128, CpuError>;
    /// Writes a register.
    fn set(&mut self, register: Register, value: u64) -> Result<(), CpuError>;
    /// Appends `len` bytes at the logical address `address` to `to`; false when the guest has no
    /// memory there.
    fn load(&mut self, address: u64, len: usize, to: &mut Vec<u8>) -> bool;
    /// Stores at a logical address; false when the guest has no memory there.
    fn store(&mut self, address: u64, bytes: &[u8]) -> bool;
    /// Reads 16 bytes at an absolute address.
    fn load_absolute(&mut self, address: u64) -> Option<[u8; 16]>;
    /// Stores at an absolute address.
    fn store_absolute(&mut self, address: u64, bytes: &[u8]) -> bool;
}

/// The mask half of a PSW.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PswMask(pub(crate) u64);

impl PswMask {
    const DAT: u64 = 1 << 58;
    const IO: u64 = 1 << 57;
    const SPACE: u64 = 3 << 46;
    const MACHINE_CHECKS: u64 = 1 << 50;
    const WAIT: u64 = 1 << 49;
    const PROBLEM: u64 = 1 << 48;
    const CC: u64 = 3 << 44;
    const EXTENDED: u64 = 1 << 32;
    const BASIC: u64 = 1 << 31;
    /// Bits that have no meaning: LPSWE refuses them.
    const RESERVED: u64 = 0xb808_00fe_7fff_ffff;

    /// Bit 15: the program may not use privileged instructions.
    pub(crate) const fn problem_state(self) -> bool {
        self.0 & Self::PROBLEM != 0
    }

    /// Bit 14: the CPU does nothing but wait for an interruption.
    pub(crate) const fn wait(self) -> bool {
        self.0 & Self::WAIT != 0
    }

    /// Bit 6: I/O interruptions interrupt.
    pub(crate) const fn takes_io(self) -> bool {
        self.0 & Self::IO != 0
    }

    /// Without the wait bit.
    pub(crate) const fn without_wait(self) -> Self {
        Self(self.0 & !Self::WAIT)
    }

    /// Whether a program at the same address sees the same memory and has the same rights.
    pub(crate) const fn same_space(self, other: Self) -> bool {
        let parts = Self::DAT | Self::SPACE | Self::PROBLEM | Self::EXTENDED | Self::BASIC;
        (self.0 ^ other.0) & parts == 0
    }

    /// Bit 13: machine checks interrupt.
    pub(crate) const fn takes_machine_checks(self) -> bool {
        self.0 & Self::MACHINE_CHECKS != 0
    }

    /// Whether it can be loaded: no reserved bit, and an addressing mode that exists.
    pub(crate) const fn is_valid(self) -> bool {
        let extended_only = self.0 & (Self::EXTENDED | Self::BASIC) == Self::EXTENDED;
        self.0 & Self::RESERVED == 0 && !extended_only
    }

    /// Bit 5: addresses are translated.
    pub(crate) const fn translates(self) -> bool {
        self.0 & Self::DAT != 0
    }

    /// With another condition code, 0..=3.
    pub(crate) const fn with_condition_code(self, cc: u8) -> Self {
        Self(self.0 & !Self::CC | ((cc & 3) as u64) << 44)
    }

    /// The addressing mode (bits 31 and 32).
    pub(crate) const fn addressing(self) -> AddressingMode {
        if self.0 & Self::EXTENDED != 0 {
            AddressingMode::Bits64
        } else if self.0 & Self::BASIC != 0 {
            AddressingMode::Bits31
        } else {
            AddressingMode::Bits24
        }
    }
}

/// How many bits of a register are an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AddressingMode {
    Bits24,
    Bits31,
    Bits64,
}

impl AddressingMode {
    /// The address that a register holds.
    pub(crate) const fn address(self, register: u64) -> u64 {
        match self {
            Self::Bits24 => register & 0x00ff_ffff,
            Self::Bits31 => register & 0x7fff_ffff,
            Self::Bits64 => register,
        }
    }

    /// The length that a register holds: 32 bits unless addresses have 64.
    pub(crate) const fn length(self, register: u64) -> u64 {
        match self {
            Self::Bits24 | Self::Bits31 => register & 0xffff_ffff,
            Self::Bits64 => register,
        }
    }

    /// A register that held `old` and now gets an address or length: bits that do not belong to it
    /// stay.
    pub(crate) const fn update(self, old: u64, new: u64) -> u64 {
        match self {
            Self::Bits24 | Self::Bits31 => old & !0xffff_ffff | new & 0xffff_ffff,
            Self::Bits64 => new,
        }
    }
}

/// Page size: no access crosses more than one translation at a time.
const PAGE: u64 = 4096;

/// The pieces of `len` bytes at `address`, none of which crosses a page; addresses wrap as the
/// mode says.
pub(crate) fn pages(mode: AddressingMode, address: u64, len: usize) -> Pages {
    Pages { mode, address, len }
}

/// See [`pages`].
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    mode: AddressingMode,
    address: u64,
    len: usize,
}

impl Iterator for Pages {
    type Item = (u64, usize);

    fn next(&mut self) -> Option<(u64, usize)> {
        if self.len == 0 {
            return None;
        }
        let address = self.mode.address(self.address);
        let room = usize::try_from(PAGE - address % PAGE).unwrap_or(usize::MAX);
        let len = self.len.min(room);
        self.address = address.wrapping_add(len as u64);
        self.len -= len;
        Some((address, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addressing_modes_of_the_psw() {
        let mode = |mask| PswMask(mask).addressing();
        assert_eq!(mode(0x0000_0001_8000_0000), AddressingMode::Bits64);
        assert_eq!(mode(0x0000_0000_8000_0000), AddressingMode::Bits31);
        assert_eq!(mode(0), AddressingMode::Bits24);
        let register = 0x1234_5678_9abc_def0;
        assert_eq!(AddressingMode::Bits24.address(register), 0x00bc_def0);
        assert_eq!(AddressingMode::Bits31.address(register), 0x1abc_def0);
        assert_eq!(AddressingMode::Bits31.length(register), 0x9abc_def0);
        assert_eq!(
            AddressingMode::Bits31.update(register, 0x1_0000_0001),
            0x1234_5678_0000_0001
        );
    }

    #[test]
    fn condition_code_replaces_the_old_one() {
        let mask = PswMask(0x0705_3000_8000_0000);
        assert_eq!(mask.with_condition_code(1).0, 0x0705_1000_8000_0000);
        assert!(mask.problem_state() && mask.translates() && !mask.wait());
    }

    #[test]
    fn pages_wrap_at_the_end_of_the_address_space() {
        let pieces: Vec<_> = pages(AddressingMode::Bits24, 0x00ff_fff0, 0x1020).collect();
        assert_eq!(pieces, [(0x00ff_fff0, 0x10), (0, 0x1000), (0x1000, 0x10)]);
        assert_eq!(pages(AddressingMode::Bits64, 5, 0).count(), 0);
    }
}
