//! LPSWE, the instruction that ends interruptions and begins waits.
//!
//! What is pending is delivered as if it came right behind the instruction: the PSW that LPSWE would
//! load is the interrupted program's. That is exact, because an interruption can come between any two
//! instructions, and an idle CPU is interrupted with the PSW of its wait.

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::pending::Pending;
use crate::psw::Psw;
use crate::stfle::operand_address;
use crate::timer::Clock;
use crate::wait::{self, Step, Wait};

/// LPSWE in the guest's program (format S).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lpswe {
    base: u8,
    displacement: u16,
}

impl Lpswe {
    /// The instruction in these four bytes, if it is LPSWE.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        let [0xb2, 0xb2, high, low] = bytes else {
            return None;
        };
        Some(Self {
            base: high >> 4,
            displacement: u16::from_be_bytes([high & 0xf, low]),
        })
    }

    /// The PSW that it is about to load; `None` when it ends in an exception instead.
    fn operand(self, cpu: &mut impl Cpu) -> Result<Option<Psw>, CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        let address = operand_address(cpu, self.base, self.displacement)?;
        if mask.problem_state() || !address.is_multiple_of(8) {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(16);
        if !cpu.load(address, 16, &mut bytes) {
            return Ok(None);
        }
        let psw = <[u8; 16]>::try_from(bytes).map(Psw::from_bytes);
        Ok(psw.ok().filter(|psw| psw.is_valid()))
    }

    /// Delivers what the PSW to be loaded allows, or waits for it. The instruction stands at `pc`.
    /// Returns where the guest continues, or `None` to let QEMU execute the instruction.
    pub(crate) fn execute(
        self,
        cpu: &mut impl Cpu,
        pending: &Pending,
        clock: &Clock,
        wait: &Wait,
        pc: u64,
    ) -> Result<Option<u64>, CpuError> {
        let Some(psw) = self.operand(cpu)? else {
            return Ok(None);
        };
        let interrupt = |cpu: &mut _| pending.interrupt(cpu, psw, Some(clock));
        if let Some(next) = interrupt(cpu)? {
            wait.end();
            return Ok(Some(next));
        }
        let now = PswMask(cpu.get(Register::PswMask)?);
        if !wait::can_be_emulated(psw, now) {
            return Ok(None);
        }
        let stays = match wait.step(pc, psw) {
            Step::Begin => pending.is_expected(),
            Step::Again => pending.wait(wait::SLICE),
            Step::Halt => {
                pending.give_up();
                false
            }
        };
        if !stays {
            wait.end();
            return Ok(None);
        }
        if let Some(next) = interrupt(cpu)? {
            wait.end();
            return Ok(Some(next));
        }
        wait::let_through(cpu, psw)?;
        Ok(Some(pc))
    }
}
