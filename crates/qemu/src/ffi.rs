//! QEMU's plugin interface, version 7: the functions that this plugin calls and no more.
//!
//! Written from the documented facts of the interface. The symbols resolve from the QEMU process
//! that loads the plugin; the `g_*` ones from its `GLib`. Everything here is only named by
//! [`crate::callbacks`] and [`crate::vcpu`].

use std::ffi::{c_char, c_int, c_uint, c_void};

/// The interface version that this plugin is written for.
pub(crate) const API_VERSION: c_int = 7;

/// The plugin's id, given at install.
pub(crate) type PluginId = u64;

/// A callback with a vCPU: `(vcpu_index, userdata)`.
pub(crate) type VcpuCallback = unsafe extern "C-unwind" fn(c_uint, *mut c_void);
/// The translation callback: `(block, userdata)`.
pub(crate) type TranslateCallback = unsafe extern "C-unwind" fn(*mut Block, *mut c_void);
/// A memory callback: `(vcpu_index, info, address, userdata)`.
pub(crate) type MemoryCallback = unsafe extern "C-unwind" fn(c_uint, u32, u64, *mut c_void);
/// A discontinuity: `(vcpu_index, kind, from, to, userdata)`.
pub(crate) type DiscontinuityCallback =
    unsafe extern "C-unwind" fn(c_uint, c_int, u64, u64, *mut c_void);
/// A callback without a vCPU: `(userdata)`.
pub(crate) type PlainCallback = unsafe extern "C-unwind" fn(*mut c_void);

/// A block that is being translated. Opaque; valid during the callback only.
#[repr(C)]
pub(crate) struct Block {
    _opaque: [u8; 0],
}

/// An instruction of a [`Block`]. Opaque.
#[repr(C)]
pub(crate) struct Insn {
    _opaque: [u8; 0],
}

/// A register's handle. Opaque, never dereferenced: QEMU packs numbers into it, and 0 is one.
#[repr(C)]
pub(crate) struct RegisterHandle {
    _opaque: [u8; 0],
}

/// `GLib`'s growable bytes: the two public members.
#[repr(C)]
pub(crate) struct GByteArray {
    pub(crate) data: *mut u8,
    pub(crate) len: c_uint,
}

/// `GLib`'s array: the two public members.
#[repr(C)]
pub(crate) struct GArray {
    pub(crate) data: *mut c_char,
    pub(crate) len: c_uint,
}

/// The part of a register's description that this plugin reads. The elements of the array may be
/// longer: step by `g_array_get_element_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RegisterDescription {
    pub(crate) handle: *mut RegisterHandle,
    pub(crate) name: *const c_char,
}

/// What QEMU tells at install.
#[repr(C)]
pub(crate) struct Info {
    pub(crate) target_name: *const c_char,
    pub(crate) min_version: c_int,
    pub(crate) current_version: c_int,
    pub(crate) system_emulation: bool,
    pub(crate) smp_vcpus: c_int,
    pub(crate) max_vcpus: c_int,
}

/// A scoreboard: memory per vCPU that translated code reads in line. Opaque.
#[repr(C)]
pub(crate) struct Scoreboard {
    _opaque: [u8; 0],
}

/// A 64-bit number in each vCPU's part of a scoreboard.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerVcpu {
    pub(crate) board: *mut Scoreboard,
    pub(crate) offset: usize,
}

/// Discontinuities that no instruction causes.
pub(crate) const DISCON_INTERRUPT: c_int = 1;
/// The callback runs when the number is not the operand.
pub(crate) const COND_NE: c_int = 3;
/// The callback reads registers.
pub(crate) const CB_R_REGS: c_int = 1;
/// The callback reads and writes registers and may set the program counter.
pub(crate) const CB_RW_REGS_PC: c_int = 3;
/// A memory callback for stores.
pub(crate) const MEM_STORE: c_int = 2;
/// A memory operation by hardware address succeeded.
pub(crate) const HWADDR_OK: c_int = 0;

unsafe extern "C-unwind" {
    pub(crate) fn qemu_plugin_register_vcpu_init_cb(
        id: PluginId,
        callback: VcpuCallback,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: PluginId,
        callback: TranslateCallback,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_flush_cb(
        id: PluginId,
        callback: PlainCallback,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut Insn,
        callback: VcpuCallback,
        flags: c_int,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cond_cb(
        insn: *mut Insn,
        callback: VcpuCallback,
        flags: c_int,
        condition: c_int,
        number: PerVcpu,
        operand: u64,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_tb_exec_cond_cb(
        block: *mut Block,
        callback: VcpuCallback,
        flags: c_int,
        condition: c_int,
        number: PerVcpu,
        operand: u64,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_discon_cb(
        id: PluginId,
        kinds: c_int,
        callback: DiscontinuityCallback,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_scoreboard_new(element_size: usize) -> *mut Scoreboard;
    pub(crate) fn qemu_plugin_u64_set(number: PerVcpu, vcpu_index: c_uint, value: u64);
    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        callback: MemoryCallback,
        flags: c_int,
        access: c_int,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    pub(crate) fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Insn;
    pub(crate) fn qemu_plugin_insn_data(insn: *const Insn, to: *mut c_void, len: usize) -> usize;
    pub(crate) fn qemu_plugin_insn_vaddr(insn: *const Insn) -> u64;
    pub(crate) fn qemu_plugin_get_registers() -> *mut GArray;
    pub(crate) fn qemu_plugin_read_register(
        handle: *mut RegisterHandle,
        to: *mut GByteArray,
    ) -> bool;
    pub(crate) fn qemu_plugin_write_register(
        handle: *mut RegisterHandle,
        from: *mut GByteArray,
    ) -> bool;
    pub(crate) fn qemu_plugin_read_memory_vaddr(
        address: u64,
        to: *mut GByteArray,
        len: usize,
    ) -> bool;
    pub(crate) fn qemu_plugin_write_memory_vaddr(address: u64, from: *mut GByteArray) -> bool;
    pub(crate) fn qemu_plugin_read_memory_hwaddr(
        address: u64,
        to: *mut GByteArray,
        len: usize,
    ) -> c_int;
    pub(crate) fn qemu_plugin_write_memory_hwaddr(address: u64, from: *mut GByteArray) -> c_int;
    /// Continues the guest at `address`. Does not return and runs no destructor.
    pub(crate) fn qemu_plugin_set_pc(address: u64) -> !;

    pub(crate) fn g_byte_array_new() -> *mut GByteArray;
    pub(crate) fn g_byte_array_set_size(array: *mut GByteArray, len: c_uint) -> *mut GByteArray;
    pub(crate) fn g_byte_array_append(
        array: *mut GByteArray,
        data: *const u8,
        len: c_uint,
    ) -> *mut GByteArray;
    pub(crate) fn g_byte_array_free(array: *mut GByteArray, free_segment: c_int) -> *mut u8;
    pub(crate) fn g_array_get_element_size(array: *mut GArray) -> c_uint;
    pub(crate) fn g_array_free(array: *mut GArray, free_segment: c_int) -> *mut c_char;
}
