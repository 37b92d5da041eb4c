//! The running virtual CPU, through QEMU's interface.

use std::cell::Cell;
use std::ffi::{CStr, c_uint};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::cpu::{Cpu, CpuError, Register};
use crate::ffi;

/// Handles of the registers that we use. All virtual CPUs of a machine have the same ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handles {
    psw_mask: Handle,
    prefix: Handle,
    general: [Handle; 16],
    control: [Handle; 16],
    access: [Handle; 16],
    float: [Handle; 16],
    /// Low halves of vector registers 0 to 15; the high halves are the floating-point registers.
    vector_low: [Handle; 16],
    /// Vector registers 16 to 31.
    vector_high: [Handle; 16],
    float_control: Handle,
    clock_comparator: Handle,
    timer_expiry: Handle,
}

/// A register's handle.
#[derive(Clone, Copy, Debug)]
struct Handle(*mut ffi::RegisterHandle);

// SAFETY: a handle is a number that QEMU packs into a pointer; it is never dereferenced, and QEMU
// accepts it on any vCPU thread.
unsafe impl Send for Handle {}
// SAFETY: as above; the value never changes.
unsafe impl Sync for Handle {}

impl Handles {
    /// Finds the handles. Call it in the vCPU-init callback. The error names a missing register.
    pub(crate) fn find() -> Result<Self, &'static str> {
        let registers = RegisterList::read()?;
        let find = |name: &'static str| registers.find(name).ok_or(name);
        let family = |prefix: &'static str, first: usize, suffix: &str| {
            let mut handles = [Handle(std::ptr::null_mut()); 16];
            for (number, handle) in handles.iter_mut().enumerate() {
                let name = format!("{prefix}{}{suffix}", first + number);
                *handle = registers.find(&name).ok_or(prefix)?;
            }
            Ok::<_, &'static str>(handles)
        };
        Ok(Self {
            psw_mask: find("pswm")?,
            prefix: find("prefix")?,
            general: family("r", 0, "")?,
            control: family("cr", 0, "")?,
            access: family("acr", 0, "")?,
            float: family("f", 0, "")?,
            vector_low: family("v", 0, "l")?,
            vector_high: family("v", 16, "")?,
            float_control: find("fpc")?,
            clock_comparator: find("ckc")?,
            timer_expiry: find("cputm")?,
        })
    }

    fn of(&self, register: Register) -> Handle {
        match register {
            Register::PswMask => self.psw_mask,
            Register::Prefix => self.prefix,
            Register::General(number) => self.general[usize::from(number & 0xf)],
            Register::Control(number) => self.control[usize::from(number & 0xf)],
            Register::Access(number) => self.access[usize::from(number & 0xf)],
            Register::Float(number) => self.float[usize::from(number & 0xf)],
            Register::FloatControl => self.float_control,
            Register::ClockComparator => self.clock_comparator,
            Register::TimerExpiry => self.timer_expiry,
        }
    }
}

/// QEMU's list of registers.
struct RegisterList {
    array: NonNull<ffi::GArray>,
    element_size: usize,
    len: usize,
}

impl RegisterList {
    fn read() -> Result<Self, &'static str> {
        // SAFETY: called in the vCPU-init callback, where the interface allows it.
        let array = unsafe { ffi::qemu_plugin_get_registers() };
        let array = NonNull::new(array).ok_or("any register")?;
        // SAFETY: a non-null GArray that we own.
        let element_size = unsafe { ffi::g_array_get_element_size(array.as_ptr()) };
        // SAFETY: its public members may be read.
        let len = unsafe { array.as_ref() }.len;
        let list = Self {
            array,
            element_size: element_size as usize,
            len: len as usize,
        };
        if list.element_size < size_of::<ffi::RegisterDescription>() {
            return Err("a description of any register");
        }
        Ok(list)
    }

    fn find(&self, wanted: &str) -> Option<Handle> {
        (0..self.len)
            .map(|index| self.description(index))
            .filter(|description| !description.name.is_null())
            .find(|description| {
                // SAFETY: a description's name is a NUL-terminated string that QEMU keeps.
                let name = unsafe { CStr::from_ptr(description.name) };
                name.to_bytes() == wanted.as_bytes()
            })
            .map(|description| Handle(description.handle))
    }

    /// The description number `index`, which is below `len`.
    fn description(&self, index: usize) -> ffi::RegisterDescription {
        // SAFETY: the array is alive until `self` is dropped; its members may be read.
        let data = unsafe { self.array.as_ref() }.data;
        // SAFETY: `index` is below the array's length and the step is its element size.
        let element = unsafe { data.add(index * self.element_size) };
        // SAFETY: an element is at least as long as the description, as `read` has checked; it may
        // be unaligned as far as we know.
        unsafe { element.cast::<ffi::RegisterDescription>().read_unaligned() }
    }
}

impl Drop for RegisterList {
    fn drop(&mut self) {
        // SAFETY: we own the array and drop it once; 1 frees its elements too.
        unsafe { ffi::g_array_free(self.array.as_ptr(), 1) };
    }
}

/// A `GLib` byte array that nobody uses, with the room that it has got.
struct Spare(Cell<Option<NonNull<ffi::GByteArray>>>);

thread_local! {
    /// What the last callback on this thread has left for the next one, so that none of them allocates.
    static SPARE: Spare = const { Spare(Cell::new(None)) };
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(array) = self.0.take() {
            // SAFETY: the array was left to us and is dropped once; 1 frees its bytes too.
            unsafe { ffi::g_byte_array_free(array.as_ptr(), 1) };
        }
    }
}

/// A `GLib` byte array that we own.
struct Bytes(NonNull<ffi::GByteArray>);

impl Bytes {
    fn new() -> Result<Self, CpuError> {
        if let Ok(Some(array)) = SPARE.try_with(|spare| spare.0.take()) {
            return Ok(Self(array));
        }
        // SAFETY: has no precondition.
        let array = unsafe { ffi::g_byte_array_new() };
        NonNull::new(array).map(Self).ok_or(CpuError)
    }

    fn as_ptr(&self) -> *mut ffi::GByteArray {
        self.0.as_ptr()
    }

    fn clear(&mut self) {
        // SAFETY: we own the array.
        unsafe { ffi::g_byte_array_set_size(self.as_ptr(), 0) };
    }

    /// Replaces the content.
    fn fill(&mut self, bytes: &[u8]) -> Result<(), CpuError> {
        let len = c_uint::try_from(bytes.len()).map_err(|_| CpuError)?;
        self.clear();
        // SAFETY: we own the array; `bytes` has `len` readable bytes, which `GLib` copies.
        unsafe { ffi::g_byte_array_append(self.as_ptr(), bytes.as_ptr(), len) };
        Ok(())
    }

    fn content(&self) -> &[u8] {
        // SAFETY: we own the array; its public members may be read.
        let array = unsafe { self.0.as_ref() };
        if array.data.is_null() || array.len == 0 {
            return &[];
        }
        // SAFETY: `GLib` keeps `len` initialised bytes at `data`; nothing changes the array while
        // `self` is borrowed.
        unsafe { std::slice::from_raw_parts(array.data, array.len as usize) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        let left = SPARE.try_with(|spare| spare.0.replace(Some(self.0)));
        // Two at a time do not happen, and neither does a callback at a thread's end.
        drop(Spare(Cell::new(left.unwrap_or(Some(self.0)))));
    }
}

/// The vCPU of this thread, inside a callback that may read and write registers.
pub(crate) struct Vcpu<'a> {
    handles: &'a Handles,
    bytes: Bytes,
    /// Registers belong to this thread's vCPU.
    _this_thread: PhantomData<*const ()>,
}

impl<'a> Vcpu<'a> {
    /// # Safety
    /// The caller is a callback on a vCPU thread that was registered with the flags for what is
    /// going to be done (`CB_R_REGS`, `CB_RW_REGS_PC`), and `self` does not outlive it.
    pub(crate) unsafe fn current(handles: &'a Handles) -> Result<Self, CpuError> {
        Ok(Self {
            handles,
            bytes: Bytes::new()?,
            _this_thread: PhantomData,
        })
    }

    fn read(&mut self, handle: Handle) -> Result<u128, CpuError> {
        self.bytes.clear();
        // SAFETY: in a callback with register access (see `current`), with one of QEMU's handles
        // and an array that we own.
        let read = unsafe { ffi::qemu_plugin_read_register(handle.0, self.bytes.as_ptr()) };
        let value = self.bytes.content();
        // Registers are big-endian, of 4, 8 or 16 bytes.
        if !read || value.is_empty() || value.len() > 16 {
            return Err(CpuError);
        }
        Ok(value
            .iter()
            .fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

impl Cpu for Vcpu<'_> {
    fn get(&mut self, register: Register) -> Result<u64, CpuError> {
        let value = self.read(self.handles.of(register))?;
        u64::try_from(value).map_err(|_| CpuError)
    }

    fn vector(&mut self, number: u8) -> Result<u128, CpuError> {
        let index = usize::from(number & 0xf);
        if number >= 16 {
            return self.read(self.handles.vector_high[index]);
        }
        let high = self.read(self.handles.float[index])?;
        Ok(high << 64 | self.read(self.handles.vector_low[index])?)
    }

    fn set(&mut self, register: Register, value: u64) -> Result<(), CpuError> {
        self.bytes.fill(&value.to_be_bytes())?;
        let handle = self.handles.of(register);
        // SAFETY: in a callback with register access (see `current`); the array has the 8 bytes of
        // the general registers and of the PSW mask.
        let written = unsafe { ffi::qemu_plugin_write_register(handle.0, self.bytes.as_ptr()) };
        if written { Ok(()) } else { Err(CpuError) }
    }

    fn load(&mut self, address: u64, len: usize, to: &mut Vec<u8>) -> bool {
        if len == 0 {
            return true;
        }
        self.bytes.clear();
        let array = self.bytes.as_ptr();
        // SAFETY: on a vCPU thread (see `current`), with an array that we own and a length that is
        // not 0.
        let read = unsafe { ffi::qemu_plugin_read_memory_vaddr(address, array, len) };
        let Some(content) = self.bytes.content().get(..len) else {
            return false;
        };
        to.extend_from_slice(content);
        read
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> bool {
        if self.bytes.fill(bytes).is_err() {
            return false;
        }
        // SAFETY: on a vCPU thread (see `current`), with an array that we own.
        unsafe { ffi::qemu_plugin_write_memory_vaddr(address, self.bytes.as_ptr()) }
    }

    fn load_absolute(&mut self, address: u64) -> Option<[u8; 16]> {
        self.bytes.clear();
        let array = self.bytes.as_ptr();
        // SAFETY: on a vCPU thread (see `current`), with an array that we own and a length that is
        // not 0.
        let result = unsafe { ffi::qemu_plugin_read_memory_hwaddr(address, array, 16) };
        if result != ffi::HWADDR_OK {
            return None;
        }
        self.bytes.content().try_into().ok()
    }

    fn store_absolute(&mut self, address: u64, bytes: &[u8]) -> bool {
        if self.bytes.fill(bytes).is_err() {
            return false;
        }
        // SAFETY: on a vCPU thread in a callback of an executing block, with an array that we own.
        let result = unsafe { ffi::qemu_plugin_write_memory_hwaddr(address, self.bytes.as_ptr()) };
        result == ffi::HWADDR_OK
    }
}
