//! What a CPU timer is now.
//!
//! A machine check stores the CPU timer, and Linux accounts time by it. QEMU shows only when the timer
//! will expire, on a clock of its own. But kernels read the timer by STPT wherever they account time,
//! in particular right before they load the PSW of another program, and that is where interruptions
//! are delivered. So while something is to be delivered, each STPT is noted, and its result, which it
//! has stored in the guest's memory, is the timer a moment ago.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::stfle::operand_address;

/// A result that is older may have been overwritten.
const FRESH: Duration = Duration::from_millis(10);
/// LPSWEs without an STPT in front after which the guest is one that does not account time.
const PATIENCE: u32 = 100;

/// STPT in the guest's program (format S).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stpt {
    base: u8,
    displacement: u16,
}

impl Stpt {
    /// The instruction in these four bytes, if it is STPT.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        let [0xb2, 0x09, high, low] = bytes else {
            return None;
        };
        Some(Self {
            base: high >> 4,
            displacement: u16::from_be_bytes([high & 0xf, low]),
        })
    }
}

/// The last STPT of one vCPU.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Where the result is and when it was stored.
    last: Option<(u64, Instant)>,
    /// LPSWEs that found none.
    without: u32,
}

/// What is known of a CPU timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CpuTimer {
    /// Its value, in units of 1/4096 microsecond.
    Known(u64),
    /// Nothing yet: the guest is going to read it.
    Unread,
    /// The guest does not read it.
    Unused,
}

impl Readings {
    /// STPT is about to be executed.
    pub(crate) fn note(&self, cpu: &mut impl Cpu, stpt: Stpt) -> Result<(), CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        if !mask.problem_state() {
            let address = operand_address(cpu, stpt.base, stpt.displacement)?;
            self.lock().last = Some((address, Instant::now()));
        }
        Ok(())
    }

    /// The timer at an LPSWE.
    pub(crate) fn now(&self, cpu: &mut impl Cpu) -> CpuTimer {
        let mut state = self.lock();
        let fresh = state.last.take().filter(|(_, at)| at.elapsed() < FRESH);
        let mut stored = Vec::with_capacity(8);
        if let Some((address, at)) = fresh
            && cpu.load(address, 8, &mut stored)
            && let Ok(bytes) = <[u8; 8]>::try_from(stored)
        {
            state.without = 0;
            // FRESH bounds the product.
            let passed = u64::try_from(at.elapsed().as_nanos() * 4096 / 1000).unwrap_or(0);
            return CpuTimer::Known(u64::from_be_bytes(bytes).wrapping_sub(passed));
        }
        state.without = state.without.saturating_add(1);
        if state.without > PATIENCE {
            CpuTimer::Unused
        } else {
            CpuTimer::Unread
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
