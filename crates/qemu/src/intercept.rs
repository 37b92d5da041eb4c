//! PQAP, NQAP and DQAP: from registers and guest memory to an [`Instruction`] and back.
//!
//! ```text
//!   problem state? --> privileged operation          (the plugin runs before QEMU's own check)
//!   decode (arch::registers) --> specification
//!   operands in memory --> addressing                (NQAP message, DQAP buffer, QCI block)
//!   execute --> GR1, GR2, psmid, lengths, condition code --> next instruction
//! ```

use std::cell::Cell;

use arch::registers::{CpuState, decode_dqap, decode_nqap, decode_pqap, encode_pqap};
use arch::{Facilities, Instruction, Outcome, ProgramException};

use crate::cpu::{AddressingMode, Cpu, CpuError, PswMask, Register, pages};
use crate::exception::interrupt;

/// Whoever executes an instruction for several virtual CPUs.
pub(crate) trait Executor {
    /// Facilities that were granted.
    fn facilities(&self) -> Facilities;
    /// Whether adapters above 63 and domains above 15 can be named.
    fn apxa(&self) -> bool;
    /// Longest message and reply in bytes.
    fn max_message(&self) -> usize;
    /// Executes one instruction; does not wait longer than a deadline.
    fn execute(&self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome;
}

/// One of the three instructions in the guest's program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ApInsn {
    /// Which one.
    pub(crate) kind: ApKind,
    /// First register operand, 0..=15.
    pub(crate) r1: u8,
    /// Second register operand, 0..=15.
    pub(crate) r2: u8,
}

/// The three instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ApKind {
    Pqap,
    Nqap,
    Dqap,
}

impl ApInsn {
    /// Length of each of them in bytes.
    pub(crate) const LEN: u64 = 4;

    /// The instruction in these four bytes (format RRE), if it is one of ours.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        let [0xb2, opcode, _, registers] = bytes else {
            return None;
        };
        let kind = match opcode {
            0xad => ApKind::Nqap,
            0xae => ApKind::Dqap,
            0xaf => ApKind::Pqap,
            _ => return None,
        };
        Some(Self {
            kind,
            r1: registers >> 4,
            r2: registers & 0xf,
        })
    }
}

/// Why an instruction did not complete.
enum Stop {
    Exception(ProgramException),
    Cpu(CpuError),
}

impl From<ProgramException> for Stop {
    fn from(exception: ProgramException) -> Self {
        Self::Exception(exception)
    }
}

impl From<CpuError> for Stop {
    fn from(error: CpuError) -> Self {
        Self::Cpu(error)
    }
}

/// Executes `insn`, which stands at `pc`. Returns where the guest continues, or `None` when QEMU is
/// to execute the instruction itself (as an operation exception).
pub(crate) fn intercept(
    cpu: &mut impl Cpu,
    executor: &impl Executor,
    insn: ApInsn,
    pc: u64,
) -> Result<Option<u64>, CpuError> {
    let mask = PswMask(cpu.get(Register::PswMask)?);
    let state = CpuState {
        problem_state: mask.problem_state(),
        facilities: executor.facilities(),
        apxa: executor.apxa(),
    };
    let mut site = Site {
        cpu,
        executor,
        insn,
        mode: mask.addressing(),
        state,
    };
    let done = match insn.kind {
        ApKind::Pqap => site.pqap(),
        ApKind::Nqap => site.nqap(),
        ApKind::Dqap => site.dqap(),
    };
    let next = pc.wrapping_add(ApInsn::LEN);
    match done {
        Ok(cc) => {
            cpu.set(Register::PswMask, mask.with_condition_code(cc).0)?;
            Ok(Some(mask.addressing().address(next)))
        }
        Err(Stop::Exception(exception)) => interrupt(cpu, exception, next),
        Err(Stop::Cpu(error)) => Err(error),
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory for one message, which a vCPU's thread uses again and again.
struct Scratch(Vec<u8>);

impl Scratch {
    /// Empty; nested uses get memory of their own.
    fn borrow() -> Self {
        let mut memory = SCRATCH.take();
        memory.clear();
        Self(memory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(std::mem::take(&mut self.0));
    }
}

struct Site<'a, C, E> {
    cpu: &'a mut C,
    executor: &'a E,
    insn: ApInsn,
    mode: AddressingMode,
    state: CpuState,
}

impl<C: Cpu, E: Executor> Site<'_, C, E> {
    fn general(&mut self, number: u8) -> Result<u64, CpuError> {
        self.cpu.get(Register::General(number & 0xf))
    }

    fn set_general(&mut self, number: u8, value: u64) -> Result<(), CpuError> {
        self.cpu.set(Register::General(number & 0xf), value)
    }

    /// Executes PQAP; returns the condition code, as the other two do.
    fn pqap(&mut self) -> Result<u8, Stop> {
        let (gr0, gr1, gr2) = (self.general(0)?, self.general(1)?, self.general(2)?);
        let instruction = decode_pqap(gr0, gr1, gr2, &self.state)?;
        let outcome = self.executor.execute(&instruction, &mut []);
        let result = encode_pqap(&outcome)?;
        if let Outcome::Qci(block) = &outcome {
            self.store(gr2, &block.encode())?;
        }
        if let Some(gr1) = result.gr1 {
            self.set_general(1, gr1)?;
        }
        if let Some(gr2) = result.gr2 {
            self.set_general(2, gr2)?;
        }
        Ok(result.condition_code)
    }

    fn nqap(&mut self) -> Result<u8, Stop> {
        let (r1, r2) = (self.insn.r1, self.insn.r2);
        let gr0 = self.general(0)?;
        let length = self.general(r2 + 1)?;
        let length = self.mode.length(length);
        let operands = decode_nqap(gr0, (r1, r2), length, &self.state)?;
        let psmid = self.general(r1)? << 32 | self.general(r1 + 1)? & 0xffff_ffff;
        let address = self.general(r2)?;
        // One byte above the limit is enough for the executor to see that it is too long.
        let limit = self.executor.max_message() + 1;
        let length = usize::try_from(length).unwrap_or(limit).min(limit);
        let mut message = Scratch::borrow();
        message.0.reserve(length);
        for (address, len) in pages(self.mode, address, length) {
            if !self.cpu.load(address, len, &mut message.0) {
                return Err(ProgramException::Addressing.into());
            }
        }
        let instruction = Instruction::Nqap {
            apqn: operands.apqn,
            psmid,
            special: operands.special,
            message: &message.0,
        };
        let outcome = self.executor.execute(&instruction, &mut []);
        self.status(&outcome)
    }

    fn dqap(&mut self) -> Result<u8, Stop> {
        let (r1, r2) = (self.insn.r1, self.insn.r2);
        let gr0 = self.general(0)?;
        let length_register = self.general(r2 + 1)?;
        let length = self.mode.length(length_register);
        let apqn = decode_dqap(gr0, (r1, r2), length, &self.state)?;
        let address = self.general(r2)?;
        let limit = self.executor.max_message();
        let capacity = usize::try_from(length).unwrap_or(limit).min(limit);
        // A reply that leaves the queue must find its place, so look at every page before.
        let mut memory = Scratch::borrow();
        for (address, _) in pages(self.mode, address, capacity) {
            memory.0.clear();
            if !self.cpu.load(address, 1, &mut memory.0) {
                return Err(ProgramException::Addressing.into());
            }
        }
        memory.0.resize(capacity, 0);
        let buffer = &mut memory.0[..];
        let outcome = self.executor.execute(&Instruction::Dqap { apqn }, buffer);
        let Outcome::Dqap(dequeued) = outcome else {
            return self.status(&outcome);
        };
        let reply = &buffer[..dequeued.stored.min(capacity)];
        if !reply.is_empty() {
            self.store(address, reply)?;
            let stored = reply.len() as u64;
            let advanced = self.mode.address(address).wrapping_add(stored);
            let advanced = self.mode.update(address, self.mode.address(advanced));
            self.set_general(r2, advanced)?;
            let left = self.mode.update(length_register, length - stored);
            self.set_general(r2 + 1, left)?;
        }
        let residual = dequeued.residual as u64;
        self.set_general(2, residual)?;
        let partial = residual != 0;
        if partial {
            // Not the first invocation for this reply any more.
            self.set_general(0, gr0 & !0x8000_0000)?;
        }
        if dequeued.status.code.0 == 0 {
            self.set_general(r1, dequeued.psmid >> 32)?;
            self.set_general(r1 + 1, dequeued.psmid & 0xffff_ffff)?;
        }
        self.set_general(1, dequeued.status.to_gr1())?;
        let cc = dequeued.status.condition_code();
        Ok(if cc == 0 && partial { 1 } else { cc })
    }

    /// Stores the status word of NQAP, or of a DQAP without a reply.
    fn status(&mut self, outcome: &Outcome) -> Result<u8, Stop> {
        let result = encode_pqap(outcome)?;
        if let Some(gr1) = result.gr1 {
            self.set_general(1, gr1)?;
        }
        Ok(result.condition_code)
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        let mut rest = bytes;
        for (address, len) in pages(self.mode, address, bytes.len()) {
            let (piece, after) = rest.split_at(len);
            if !self.cpu.store(address, piece) {
                return Err(ProgramException::Addressing.into());
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "intercept_tests.rs"]
mod tests;
