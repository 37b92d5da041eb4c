//! When the guest starts anew: its queues are reset before the new kernel runs.
//!
//! Three ways lead there:
//!
//! | way | noticed by |
//! |---|---|
//! | the guest re-IPLs or resets itself | DIAGNOSE 0x308, before QEMU executes it |
//! | `system_reset` in QEMU's monitor, a watchdog, kexec without DIAGNOSE | the very first instruction of the machine runs again without address translation |
//! | QEMU ends | the connection closes |
//!
//! A machine that only asked what it has needs no reset, so one happens only if an instruction
//! changed a queue since the last one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::Instruction;

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::stfle::operand_address;

/// DIAGNOSE in the guest's program (format RS): R1, R3, base and displacement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Diagnose {
    r3: u8,
    base: u8,
    displacement: u16,
}

/// Function code of "re-IPL and reset".
const RE_IPL: u64 = 0x308;

impl Diagnose {
    /// The instruction in these four bytes, if it is DIAGNOSE.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        let [0x83, registers, high, low] = bytes else {
            return None;
        };
        Some(Self {
            r3: registers & 0xf,
            base: high >> 4,
            displacement: u16::from_be_bytes([high & 0xf, low]),
        })
    }

    /// Whether the instruction, which is about to run, resets the machine: function 0x308 with
    /// subcode 0 or 1 (reset) or 3 or 4 (re-IPL), in supervisor state.
    pub(crate) fn resets(self, cpu: &mut impl Cpu) -> Result<bool, CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        let function = operand_address(cpu, self.base, self.displacement)? & 0xffff;
        if mask.problem_state() || function != RE_IPL {
            return Ok(false);
        }
        let subcode = cpu.get(Register::General(self.r3))?;
        Ok(matches!(subcode, 0 | 1 | 3 | 4))
    }
}

/// Whether queues have to be reset when the machine starts anew.
#[derive(Debug)]
pub(crate) struct Resets {
    touched: AtomicBool,
    /// Address of the first instruction that the machine ever translated, or [`UNKNOWN`].
    entry: AtomicU64,
}

/// Not an instruction's address: it is odd.
const UNKNOWN: u64 = u64::MAX;

impl Default for Resets {
    fn default() -> Self {
        Self {
            touched: AtomicBool::new(false),
            entry: AtomicU64::new(UNKNOWN),
        }
    }
}

impl Resets {
    /// Notes an instruction that is going to be executed.
    pub(crate) fn note(&self, instruction: &Instruction<'_>) {
        match instruction {
            Instruction::Tapq { .. } | Instruction::Qci | Instruction::Qact { .. } => {}
            Instruction::Rapq { .. }
            | Instruction::Zapq { .. }
            | Instruction::Aqic { .. }
            | Instruction::Nqap { .. }
            | Instruction::Dqap { .. } => {
                // Written once, so that vCPUs do not take the flag from each other.
                if !self.touched.load(Ordering::Relaxed) {
                    self.touched.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether a reset is due; it is not due any more afterwards.
    pub(crate) fn due(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    /// Whether `address` is where the machine starts. The first call decides.
    pub(crate) fn is_entry(&self, address: u64) -> bool {
        let known =
            self.entry
                .compare_exchange(UNKNOWN, address, Ordering::Relaxed, Ordering::Relaxed);
        known.map_or_else(|entry| entry == address, |_| true)
    }

    /// Whether the instruction at the machine's entry runs because the machine starts.
    pub(crate) fn starts(cpu: &mut impl Cpu) -> Result<bool, CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        Ok(!mask.translates() && !mask.problem_state())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::Apqn;

    #[test]
    fn only_instructions_that_change_a_queue_make_a_reset_due() {
        let resets = Resets::default();
        let apqn = Apqn::new(1, 2);
        let facilities = true;
        resets.note(&Instruction::Tapq { apqn, facilities });
        resets.note(&Instruction::Qci);
        assert!(!resets.due());
        resets.note(&Instruction::Dqap { apqn });
        assert!(resets.due());
        assert!(!resets.due());
    }

    #[test]
    fn the_first_address_is_the_entry() {
        let resets = Resets::default();
        assert!(resets.is_entry(0x10000));
        assert!(!resets.is_entry(0x10004));
        assert!(resets.is_entry(0x10000));
    }
}
