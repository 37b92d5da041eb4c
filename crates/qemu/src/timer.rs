//! What a CPU timer is now.
//!
//! A machine check stores the CPU timer, and Linux accounts time by it. QEMU shows only when the timer
//! will expire, by a clock of its own that a plugin cannot read. But kernels read the timer by STPT
//! wherever they account time, at the latest on their way to the LPSWE where interruptions are
//! delivered. So while something is to be delivered each STPT is looked at: expiry less result is
//! QEMU's clock at that moment, and from then on ours tells how far it has gone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::stfle::operand_address;

/// QEMU's clock stops with the machine, ours does not: an older comparison may be wrong.
const FRESH: Duration = Duration::from_millis(500);
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

/// QEMU's clock, as far as the guest's STPTs have shown it. All vCPUs have the same one.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// QEMU's clock in nanoseconds, and when it showed that.
    shown: Option<(u64, Instant)>,
    /// LPSWEs that found nothing.
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

impl Clock {
    /// STPT has just been executed.
    pub(crate) fn read(&self, cpu: &mut impl Cpu, stpt: Stpt) -> Result<(), CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        let address = operand_address(cpu, stpt.base, stpt.displacement)?;
        let mut stored = Vec::with_capacity(8);
        if mask.problem_state() || !cpu.load(address, 8, &mut stored) {
            return Ok(());
        }
        let expiry = cpu.get(Register::TimerExpiry)?;
        if let Ok(bytes) = <[u8; 8]>::try_from(stored) {
            let left = nanoseconds(u64::from_be_bytes(bytes));
            self.lock().shown = Some((expiry.wrapping_sub(left), Instant::now()));
        }
        Ok(())
    }

    /// The CPU timer at an LPSWE.
    pub(crate) fn timer(&self, cpu: &mut impl Cpu) -> Result<CpuTimer, CpuError> {
        let expiry = cpu.get(Register::TimerExpiry)?;
        let mut state = self.lock();
        let fresh = state.shown.map(|(shown, at)| (shown, at.elapsed()));
        if let Some((shown, passed)) = fresh.filter(|(_, passed)| *passed < FRESH) {
            state.without = 0;
            // FRESH bounds the number.
            let now = shown.wrapping_add(u64::try_from(passed.as_nanos()).unwrap_or(0));
            return Ok(CpuTimer::Known(timer_units(expiry.wrapping_sub(now))));
        }
        state.without = state.without.saturating_add(1);
        Ok(if state.without > PATIENCE {
            CpuTimer::Unused
        } else {
            CpuTimer::Unread
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units of 1/4096 microsecond, that is 125/512 nanoseconds, as nanoseconds.
const fn nanoseconds(units: u64) -> u64 {
    (units >> 9) * 125 + (units & 0x1ff) * 125 / 512
}

/// The opposite of [`nanoseconds`].
const fn timer_units(nanoseconds: u64) -> u64 {
    ((nanoseconds / 125) << 9) + (nanoseconds % 125) * 512 / 125
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_there_and_back() {
        assert_eq!(nanoseconds(4096), 1000);
        assert_eq!(timer_units(1_000_000), 4_096_000);
        for value in [0, 1, 511, 4097, 1 << 40, i64::MAX as u64] {
            assert!(value - timer_units(nanoseconds(value)) <= 5, "{value}");
        }
    }
}
