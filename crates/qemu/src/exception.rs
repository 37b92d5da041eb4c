//! Program interruptions delivered by hand: the plugin interface has no call for them.
//!
//! A suppressed instruction leaves the PSW address behind itself. The old PSW and the interruption
//! code go into this CPU's low core, the new PSW comes from there.
//!
//! The condition code of the old PSW can be that of an earlier instruction, because QEMU computes
//! condition codes only when somebody needs them. No handler of an AP exception looks at it.

use arch::ProgramException;

use crate::cpu::{Cpu, CpuError, PswMask, Register};

/// Low core: instruction length (16 bits) and interruption code (16 bits).
const CODE: u64 = 0x8c;
/// Low core: the old PSW of a program interruption.
const OLD_PSW: u64 = 0x150;
/// Low core: the new PSW of a program interruption.
const NEW_PSW: u64 = 0x1d0;

/// Where the guest continues after [`interrupt`]; `None` when the interruption could not be
/// delivered and QEMU has to do something of its own: its operation exception ends in the same
/// handler.
pub(crate) fn interrupt(
    cpu: &mut impl Cpu,
    exception: ProgramException,
    next: u64,
) -> Result<Option<u64>, CpuError> {
    let prefix = cpu.get(Register::Prefix)?;
    let mask = PswMask(cpu.get(Register::PswMask)?);
    let Some(new) = cpu.load_absolute(prefix + NEW_PSW) else {
        return Ok(None);
    };
    let (new_mask, new_address) = halves(new);
    // QEMU would halt this CPU inside the callback: a guest without a handler is lost anyway.
    if PswMask(new_mask).wait() {
        return Ok(None);
    }
    let next = mask.addressing().address(next);
    let mut old = [0; 16];
    old[..8].copy_from_slice(&mask.0.to_be_bytes());
    old[8..].copy_from_slice(&next.to_be_bytes());
    let [high, low] = exception.code().to_be_bytes();
    let stored = cpu.store_absolute(prefix + OLD_PSW, &old)
        && cpu.store_absolute(prefix + CODE, &[0, 4, high, low]);
    if !stored {
        return Ok(None);
    }
    cpu.set(Register::PswMask, new_mask)?;
    Ok(Some(new_address))
}

fn halves(psw: [u8; 16]) -> (u64, u64) {
    let value = u128::from_be_bytes(psw);
    let [high, low] = [value >> 64, value & u128::from(u64::MAX)];
    (
        u64::try_from(high).unwrap_or(0),
        u64::try_from(low).unwrap_or(0),
    )
}
