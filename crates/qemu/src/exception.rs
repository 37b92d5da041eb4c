//! Program interruptions delivered by hand: the plugin interface has no call for them.
//!
//! A suppressed instruction leaves the PSW address behind itself. The old PSW and the interruption
//! code go into this CPU's low core, the new PSW comes from there.
//!
//! The condition code of the old PSW can be that of an earlier instruction, because QEMU computes
//! condition codes only when somebody needs them. No handler of an AP exception looks at it.

use arch::ProgramException;

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::psw::{Psw, Slot};

/// Low core: instruction length (16 bits) and interruption code (16 bits).
const CODE: u64 = 0x8c;

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
    let Some(new) = Slot::PROGRAM.new_psw(cpu)? else {
        return Ok(None);
    };
    let address = mask.addressing().address(next);
    let [high, low] = exception.code().to_be_bytes();
    let stored = Slot::PROGRAM.store_old(cpu, Psw { mask, address })?
        && cpu.store_absolute(prefix + CODE, &[0, 4, high, low]);
    if !stored {
        return Ok(None);
    }
    cpu.set(Register::PswMask, new.mask.0)?;
    Ok(Some(new.address))
}
