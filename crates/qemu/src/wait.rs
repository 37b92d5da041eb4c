//! The wait of a CPU while replies are on their way.
//!
//! A CPU that QEMU has halted is woken by nothing that a plugin can do. So a wait that a reply will end
//! soon is not left to QEMU: the LPSWE that begins it is executed again and again, each time after
//! waiting a slice here, with a PSW that takes the same interruptions but does not wait.
//!
//! ```text
//!   LPSWE of a wait PSW, replies awaited --> PSW without its wait bit, continue at the LPSWE
//!        ^                                                    |
//!        |   LPSWE again: wait a slice                        +-- QEMU interrupts in between: the old PSW
//!        +-- nothing ----------------------------------------+    that it stored becomes the wait PSW
//!        +-- something to deliver: old PSW = wait PSW
//!        +-- nothing awaited any more: QEMU executes LPSWE and halts
//! ```
//!
//! The guest cannot tell the difference: whoever interrupts, it finds the wait PSW interrupted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::psw::{Psw, Slot};

/// How long QEMU's own interruptions may be late. Replies end a slice at once.
pub(crate) const SLICE: Duration = Duration::from_micros(200);
/// A reply that takes longer is one that may never come: QEMU halts the CPU then.
const LONGEST: Duration = Duration::from_secs(1);

/// The wait of one vCPU.
#[derive(Debug, Default)]
pub(crate) struct Wait(Mutex<Option<Emulated>>);

#[derive(Clone, Copy, Debug)]
struct Emulated {
    /// Address of the LPSWE.
    pc: u64,
    /// What it loads.
    psw: Psw,
    since: Instant,
}

/// What an LPSWE of a wait PSW is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Begin: no interruption has been let through yet.
    Begin,
    /// Wait a slice.
    Again,
    /// Leave it to QEMU.
    Halt,
}

impl Wait {
    /// The LPSWE at `pc` is about to load `psw`, a wait PSW.
    pub(crate) fn step(&self, pc: u64, psw: Psw) -> Step {
        let mut emulated = self.lock();
        match *emulated {
            Some(wait) if wait.pc == pc && wait.psw == psw => {
                if wait.since.elapsed() < LONGEST {
                    return Step::Again;
                }
                *emulated = None;
                Step::Halt
            }
            _ => {
                let since = Instant::now();
                *emulated = Some(Emulated { pc, psw, since });
                Step::Begin
            }
        }
    }

    /// The wait has ended.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// Whether the CPU waits at the instruction at `pc`.
    pub(crate) fn is_at(&self, pc: u64) -> bool {
        self.lock().is_some_and(|wait| wait.pc == pc)
    }

    /// QEMU has interrupted the program at `from` and goes to `to`: if that program is the wait, the
    /// old PSW that QEMU stored becomes the wait PSW.
    pub(crate) fn interrupted(
        &self,
        cpu: &mut impl Cpu,
        from: u64,
        to: u64,
    ) -> Result<(), CpuError> {
        let Some(wait) = self.lock().take_if(|wait| wait.pc == from) else {
            return Ok(());
        };
        for slot in Slot::ASYNCHRONOUS {
            if let Some(new) = slot.new_psw(cpu)?
                && new.address == to
                && let Some(old) = slot.old_psw(cpu)?
                && old.address == from
            {
                slot.store_old(cpu, wait.psw)?;
                return Ok(());
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Emulated>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the wait that `psw` begins can be emulated on a CPU whose PSW mask is `now`: an
/// interruption can end it, and the LPSWE itself can be executed under its mask.
pub(crate) fn can_be_emulated(psw: Psw, now: PswMask) -> bool {
    psw.mask.wait() && psw.mask.takes_io() && psw.mask.same_space(now)
}

/// Lets interruptions through as the wait PSW does, without waiting. The guest continues at the LPSWE.
pub(crate) fn let_through(cpu: &mut impl Cpu, psw: Psw) -> Result<(), CpuError> {
    cpu.set(Register::PswMask, psw.mask.without_wait().0)
}
