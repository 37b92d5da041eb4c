//! Adapter interruptions at the start of blocks, for guests that have them.
//!
//! At a block's start QEMU's state is whole: the condition code is computed and the address is known
//! from translation. In the middle of a block neither is sure.

use std::ffi::{c_int, c_uint, c_void};

use crate::callbacks::{SCOREBOARD, Site, current, guarded, is_execute_target, on_moving, sites};
use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::ffi;
use crate::plugin::Plugin;
use crate::psw::Psw;
use crate::vcpu::Vcpu;

/// Has interruptions delivered at the start of `block`, which has `count` instructions, unless it is
/// the target of an EXECUTE: there QEMU itself delivers none.
///
/// # Safety
/// `block` is the block of a translation callback that is running.
pub(crate) unsafe fn watch(block: *mut ffi::Block, count: usize) {
    let Some(scoreboard) = SCOREBOARD.get().filter(|_| count > 0) else {
        return;
    };
    // SAFETY: the caller vouches for the block, which has a first instruction.
    let insn = unsafe { ffi::qemu_plugin_tb_get_insn(block, 0) };
    let mut bytes = [0; 4];
    // SAFETY: `insn` is valid during the callback and `bytes` has room for 4 bytes.
    unsafe { ffi::qemu_plugin_insn_data(insn, bytes.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: `insn` is valid during the callback.
    let pc = unsafe { ffi::qemu_plugin_insn_vaddr(insn) };
    if count == 1 && is_execute_target(pc, bytes) {
        return;
    }
    let site = Box::new(Site::Block { pc });
    let userdata = std::ptr::from_ref(site.as_ref()).cast_mut().cast();
    sites().push(site);
    // SAFETY: the caller vouches for the block; the site lives as long as the code.
    unsafe { scoreboard.watch_block(block, on_moving, ffi::CB_RW_REGS_PC, userdata) };
}

/// Delivers what is due to a CPU that is about to execute the block at `pc`.
pub(crate) fn deliver(
    vcpu: &mut Vcpu<'_>,
    plugin: &Plugin,
    index: c_uint,
    pc: u64,
) -> Result<Option<u64>, CpuError> {
    // The LPSWE of an emulated wait knows the PSW that is interrupted; this does not.
    if plugin.wait(index).is_none_or(|wait| wait.is_at(pc)) {
        return Ok(None);
    }
    let mask = PswMask(vcpu.get(Register::PswMask)?);
    let old = Psw { mask, address: pc };
    plugin.pending().interrupt(vcpu, old, None)
}

/// QEMU has interrupted the program at `from`.
pub(crate) unsafe extern "C-unwind" fn on_interrupt(
    vcpu: c_uint,
    _kind: c_int,
    from: u64,
    to: u64,
    _userdata: *mut c_void,
) {
    guarded(|plugin| {
        let wait = plugin.wait(vcpu)?;
        if !wait.is_at(from) {
            return None;
        }
        // SAFETY: this callback runs on the vCPU's thread; only registers are read and memory is
        // written.
        let mut cpu = unsafe { current() }?;
        wait.interrupted(&mut cpu, from, to).ok()
    });
}
