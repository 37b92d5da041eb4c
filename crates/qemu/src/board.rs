//! QEMU's scoreboard: the flags of vCPUs, where translated code can test them in line.

use std::ffi::{c_int, c_uint, c_void};

use crate::ffi;
use crate::pending::Board;

/// The flags of all vCPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scoreboard {
    deliver: ffi::PerVcpu,
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
        let board = unsafe { ffi::qemu_plugin_scoreboard_new(size_of::<u64>()) };
        Self {
            deliver: ffi::PerVcpu { board, offset: 0 },
        }
    }

    /// Has `callback` called before `insn` on vCPUs whose flag is set.
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
                self.deliver,
                0,
                userdata,
            );
        }
    }
}

impl Board for Scoreboard {
    fn set(&self, vcpu: u32, deliver: bool) {
        let vcpu: c_uint = vcpu;
        // SAFETY: the vCPU has started (see `Board`), so the scoreboard has a part for it.
        unsafe { ffi::qemu_plugin_u64_set(self.deliver, vcpu, u64::from(deliver)) };
    }
}
