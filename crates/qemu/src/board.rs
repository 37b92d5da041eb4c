//! QEMU's scoreboard: the flags of vCPUs, where translated code can test them in line.

use std::ffi::{c_int, c_uint, c_void};

use crate::ffi;
use crate::pending::{Board, Flags};

/// The flags of all vCPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scoreboard {
    /// Something is to be delivered.
    deliver: ffi::PerVcpu,
    /// Something is to be delivered, or will be soon.
    expect: ffi::PerVcpu,
}

// SAFETY: QEMU's functions for scoreboards may be called on any thread; the pointer is never
// dereferenced here.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// All flags clear. It lives as long as QEMU.
    pub(crate) fn new() -> Self {
        // SAFETY: called while the plugin is installed, where the interface allows it.
        let board = unsafe { ffi::qemu_plugin_scoreboard_new(2 * size_of::<u64>()) };
        let number = |index| ffi::PerVcpu {
            board,
            offset: index * size_of::<u64>(),
        };
        Self {
            deliver: number(0),
            expect: number(1),
        }
    }

    /// Has `callback` called before `insn` on vCPUs to which something is to be delivered, now or soon.
    ///
    /// # Safety
    /// `insn` is an instruction of a block that is being translated; `userdata` is what the callback
    /// expects and lives as long as the translated code.
    pub(crate) unsafe fn watch(
        &self,
        insn: *mut ffi::Insn,
        callback: ffi::VcpuCallback,
        flags: c_int,
        userdata: *mut c_void,
    ) {
        // SAFETY: the caller vouches for `insn` and `userdata`; the scoreboard is never freed.
        unsafe {
            ffi::qemu_plugin_register_vcpu_insn_exec_cond_cb(
                insn,
                callback,
                flags,
                ffi::COND_NE,
                self.expect,
                0,
                userdata,
            );
        }
    }

    /// Has `callback` called at the start of `block` on vCPUs to which something is to be delivered now.
    ///
    /// # Safety
    /// `block` is being translated; `userdata` as for [`watch`](Self::watch).
    pub(crate) unsafe fn watch_block(
        &self,
        block: *mut ffi::Block,
        callback: ffi::VcpuCallback,
        flags: c_int,
        userdata: *mut c_void,
    ) {
        // SAFETY: the caller vouches for `block` and `userdata`; the scoreboard is never freed.
        unsafe {
            ffi::qemu_plugin_register_vcpu_tb_exec_cond_cb(
                block,
                callback,
                flags,
                ffi::COND_NE,
                self.deliver,
                0,
                userdata,
            );
        }
    }
}

impl Board for Scoreboard {
    fn show(&self, vcpu: u32, flags: Flags) {
        let vcpu: c_uint = vcpu;
        for (number, is_set) in [
            (self.deliver, flags.deliver),
            (self.expect, flags.deliver || flags.expect),
        ] {
            // SAFETY: the vCPU has started (see `Board`), so the scoreboard has a part for it.
            unsafe { ffi::qemu_plugin_u64_set(number, vcpu, u64::from(is_set)) };
        }
    }
}
