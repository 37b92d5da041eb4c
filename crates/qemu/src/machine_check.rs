//! The machine check that says "channel report pending".
//!
//! A machine check stores every register of the CPU, because the handler of a real one decides from
//! them whether the program can go on. Here nothing is broken: all of them are valid, and only the
//! channel report is pending.

use crate::cpu::{Cpu, CpuError, Register};
use crate::psw::{Psw, Slot};

/// Control register 14: channel reports may interrupt.
const CHANNEL_REPORTS: u64 = 0x1000_0000;
/// The interruption code: channel report pending, and everything below is valid.
const CODE: u64 = 0x0040_0f5d_4033_0000;
/// In the interruption code, bit 46: the CPU timer was stored.
const TIMER_VALID: u64 = 1 << 17;
/// In the interruption code, bit 25: the vector registers were stored.
const VECTORS_VALID: u64 = 1 << 38;

/// Places from the prefix on.
mod at {
    pub(super) const ARCHITECTURE: u64 = 0xa3;
    pub(super) const CODE: u64 = 0xe8;
    pub(super) const EXTENDED_SAVE_AREA: u64 = 0x11b0;
    pub(super) const FLOAT: u64 = 0x1200;
    pub(super) const GENERAL: u64 = 0x1280;
    pub(super) const PREFIX: u64 = 0x1318;
    pub(super) const FLOAT_CONTROL: u64 = 0x131c;
    pub(super) const TOD_PROGRAMMABLE: u64 = 0x1324;
    pub(super) const CPU_TIMER: u64 = 0x1328;
    pub(super) const CLOCK_COMPARATOR: u64 = 0x1330;
    pub(super) const ACCESS: u64 = 0x1340;
    pub(super) const CONTROL: u64 = 0x1380;
}

/// Whether a CPU with the PSW `psw` takes channel reports now.
pub(crate) fn is_enabled(cpu: &mut impl Cpu, psw: Psw) -> Result<bool, CpuError> {
    Ok(psw.mask.takes_machine_checks() && cpu.get(Register::Control(14))? & CHANNEL_REPORTS != 0)
}

/// Interrupts the program that has the PSW `old` while the CPU timer is `timer`, if known. Returns
/// where the guest continues, or `None` when the CPU cannot take the interruption; then its registers
/// are as they were.
pub(crate) fn deliver(
    cpu: &mut impl Cpu,
    old: Psw,
    timer: Option<u64>,
) -> Result<Option<u64>, CpuError> {
    let slot = Slot::MACHINE_CHECK;
    let Some(new) = slot.new_psw(cpu)? else {
        return Ok(None);
    };
    if !(save(cpu, timer)? && slot.store_old(cpu, old)?) {
        return Ok(None);
    }
    cpu.set(Register::PswMask, new.mask.0)?;
    Ok(Some(new.address))
}

/// Stores registers and code; false when the CPU has no low core.
fn save(cpu: &mut impl Cpu, timer: Option<u64>) -> Result<bool, CpuError> {
    let prefix = cpu.get(Register::Prefix)?;
    let (mut float, mut general) = ([0; 128], [0; 128]);
    let (mut access, mut control) = ([0; 64], [0; 128]);
    for number in 0..16u8 {
        let place = usize::from(number);
        let mut put = |area: &mut [u8], register, width: usize| {
            let value = cpu.get(register)?.to_be_bytes();
            area[place * width..][..width].copy_from_slice(&value[8 - width..]);
            Ok(())
        };
        put(&mut float, Register::Float(number), 8)?;
        put(&mut general, Register::General(number), 8)?;
        put(&mut access, Register::Access(number), 4)?;
        put(&mut control, Register::Control(number), 8)?;
    }
    let float_control = cpu.get(Register::FloatControl)?;
    // The area has no place for the lowest byte of the comparator.
    let comparator = cpu.get(Register::ClockComparator)? >> 8;
    let mut code = CODE;
    if !save_vectors(cpu, prefix)? {
        code &= !VECTORS_VALID;
    }
    if timer.is_none() {
        code &= !TIMER_VALID;
    }
    let low = |value: u64| -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = value.to_be_bytes();
        [a, b, c, d]
    };
    let areas: [(u64, &[u8]); 11] = [
        (at::FLOAT, &float),
        (at::GENERAL, &general),
        (at::PREFIX, &low(prefix)),
        (at::FLOAT_CONTROL, &low(float_control)),
        // QEMU does not show this register. Linux leaves it at 0.
        (at::TOD_PROGRAMMABLE, &[0; 4]),
        (at::CPU_TIMER, &timer.unwrap_or(0).to_be_bytes()),
        (at::CLOCK_COMPARATOR, &comparator.to_be_bytes()),
        (at::ACCESS, &access),
        (at::CONTROL, &control),
        (at::ARCHITECTURE, &[1]),
        (at::CODE, &code.to_be_bytes()),
    ];
    Ok(areas
        .iter()
        .all(|(place, bytes)| cpu.store_absolute(prefix + place, bytes)))
}

/// Stores the vector registers if the guest has named an area for them; whether it has.
fn save_vectors(cpu: &mut impl Cpu, prefix: u64) -> Result<bool, CpuError> {
    let Some(origin) = cpu.load_absolute(prefix + at::EXTENDED_SAVE_AREA) else {
        return Ok(false);
    };
    // The low bits of the first half are the length.
    let origin = Psw::from_bytes(origin).mask.0 & !0x3ff;
    if origin == 0 {
        return Ok(false);
    }
    let mut area = [0; 512];
    for (number, place) in (0..32u8).zip(area.chunks_exact_mut(16)) {
        place.copy_from_slice(&cpu.vector(number)?.to_be_bytes());
    }
    Ok(cpu.store_absolute(origin, &area))
}
