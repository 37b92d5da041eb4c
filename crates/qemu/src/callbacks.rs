//! The functions that QEMU calls.
//!
//! QEMU must not die of us: each of them catches panics. A callback that continues the guest
//! somewhere else does all its work in an inner function and calls `qemu_plugin_set_pc` last, from a
//! frame that owns nothing, because that call jumps out without running destructors.
//!
//! ```text
//!   install -> options, connect -> register
//!   translate -> per instruction: AP     -> on_moving        (before; may set registers and PC)
//!                                 STFLE  -> on_stfle, on_stored (before; after each store)
//!                                 DIAG   -> on_diagnose      (before)
//!                                 entry  -> on_entry         (before)
//!                                 STCRW, CHSC -> on_moving   (before; may set registers and PC)
//!                                 LPSWE, behind STPT -> on_moving (before, if something is to be delivered)
//!   flush -> sites are freed: no translated code refers to them any more
//! ```

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::blocks;
use crate::board::Scoreboard;
use crate::cpu::{Cpu, CpuError};
use crate::css::CssInsn;
use crate::ffi;
use crate::intercept::{ApInsn, intercept};
use crate::keeper;
use crate::lpswe::Lpswe;
use crate::options::Options;
use crate::plugin::Plugin;
use crate::reset::{Diagnose, Resets};
use crate::say::say;
use crate::stfle::Stfle;
use crate::timer::Stpt;
use crate::vcpu::{Handles, Vcpu};

/// The interface version, read by QEMU before it installs the plugin.
// SAFETY: the name is the interface's own and exists once in this library.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = ffi::API_VERSION;

/// The loaded plugin. QEMU loads a library once; it stays until the process ends.
static PLUGIN: OnceLock<Plugin> = OnceLock::new();
/// The flags of vCPUs, made with the plugin.
pub(crate) static SCOREBOARD: OnceLock<Scoreboard> = OnceLock::new();
/// Found by the first vCPU.
static HANDLES: OnceLock<Handles> = OnceLock::new();
/// Boxed, because QEMU holds their addresses, which must stay when the vector grows.
#[allow(clippy::vec_box, reason = "see above; the lint depends on visibility")]
pub(crate) type Sites = Vec<Box<Site>>;
/// What callbacks of translated instructions point to.
static SITES: Mutex<Sites> = Mutex::new(Vec::new());

/// An instruction that was translated with a callback.
#[derive(Debug)]
pub(crate) enum Site {
    Ap {
        insn: ApInsn,
        pc: u64,
    },
    Stfle(Stfle),
    Diagnose(Diagnose),
    Css {
        insn: CssInsn,
        pc: u64,
    },
    Lpswe {
        insn: Lpswe,
        pc: u64,
    },
    /// The start of a block.
    Block {
        pc: u64,
    },
    /// The instruction behind it.
    AfterStpt(Stpt),
}

impl Site {
    /// Whether its callback may continue the guest somewhere else.
    const fn moves(&self) -> bool {
        match self {
            Self::Ap { .. } | Self::Css { .. } | Self::Lpswe { .. } | Self::Block { .. } => true,
            Self::Stfle(_) | Self::Diagnose(_) | Self::AfterStpt(_) => false,
        }
    }
}

/// Called by QEMU when it loads the plugin. Returns 0, or -1 after a message.
///
/// # Safety
/// QEMU calls it once with valid pointers, as its interface says.
// SAFETY: the name is the interface's own and exists once in this library.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C-unwind" fn qemu_plugin_install(
    id: ffi::PluginId,
    info: *const ffi::Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let installed = catch_unwind(|| {
        // SAFETY: QEMU passes a valid description that lives during the call.
        let info = unsafe { &*info };
        // SAFETY: QEMU passes `argc` valid strings.
        let args = unsafe { arguments(argc, argv) };
        install(id, info, &args)
    });
    match installed {
        Ok(Ok(())) => 0,
        Ok(Err(message)) => {
            say(format_args!("{message}"));
            -1
        }
        Err(_) => -1,
    }
}

/// # Safety
/// `argv` has `argc` pointers to NUL-terminated strings.
unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<String> {
    (0..usize::try_from(argc).unwrap_or(0))
        .map(|index| {
            // SAFETY: `index` is below `argc`.
            let arg = unsafe { argv.add(index) };
            // SAFETY: the caller vouches for the element.
            let arg = unsafe { *arg };
            // SAFETY: the caller vouches for the string.
            let arg = unsafe { CStr::from_ptr(arg) };
            arg.to_string_lossy().into_owned()
        })
        .collect()
}

fn install(id: ffi::PluginId, info: &ffi::Info, args: &[String]) -> Result<(), String> {
    if !(info.min_version..=info.current_version).contains(&ffi::API_VERSION) {
        return Err(format!(
            "this QEMU speaks plugin interface {} to {}; {} is needed (QEMU 11.1)",
            info.min_version,
            info.current_version,
            ffi::API_VERSION
        ));
    }
    // SAFETY: the target's name is a NUL-terminated string during install.
    let target = unsafe { CStr::from_ptr(info.target_name) };
    if target != c"s390x" || !info.system_emulation {
        return Err(format!(
            "this is a plugin for qemu-system-s390x, not for {}",
            target.to_string_lossy()
        ));
    }
    let options = Options::parse(args.iter().map(String::as_str)).map_err(|e| e.to_string())?;
    let Some(features) = options.features else {
        say(format_args!(
            "no CPU feature 'ap': the guest has no AP instructions"
        ));
        return Ok(());
    };
    let max_vcpus = usize::try_from(info.max_vcpus).unwrap_or(1).max(1);
    let scoreboard = SCOREBOARD.get_or_init(Scoreboard::new);
    let plugin = Plugin::open(&options, features, max_vcpus, Box::new(*scoreboard))
        .map_err(|error| format!("{}: {}", options.socket.display(), chain(&error)))?;
    if PLUGIN.set(plugin).is_err() {
        return Err("loaded twice; a machine has one AP matrix".to_owned());
    }
    let none = std::ptr::null_mut();
    if PLUGIN.get().is_some_and(Plugin::has_interrupts) {
        // SAFETY: `id` is ours; the callback has the type of the interface and lives in this library.
        unsafe {
            ffi::qemu_plugin_register_vcpu_discon_cb(
                id,
                ffi::DISCON_INTERRUPT,
                blocks::on_interrupt,
                none,
            );
        }
    }
    // SAFETY: `id` is ours; the callbacks have the types of the interface and live in this library,
    // which is never unloaded.
    unsafe { ffi::qemu_plugin_register_vcpu_init_cb(id, on_vcpu, none) };
    // SAFETY: as above.
    unsafe { ffi::qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate, none) };
    // SAFETY: as above.
    unsafe { ffi::qemu_plugin_register_flush_cb(id, on_flush, none) };
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Runs `work` and returns what it returns, or `None` after a panic.
pub(crate) fn guarded<T>(work: impl FnOnce(&'static Plugin) -> Option<T>) -> Option<T> {
    let plugin = PLUGIN.get()?;
    // Whatever a panic leaves behind is behind locks that do not mind, or atomic.
    catch_unwind(AssertUnwindSafe(|| work(plugin))).unwrap_or_else(|_| {
        plugin
            .limiter()
            .say(format_args!("internal error, please report it"));
        None
    })
}

/// The vCPU of this thread, once the registers are known.
///
/// # Safety
/// As [`Vcpu::current`].
pub(crate) unsafe fn current() -> Option<Vcpu<'static>> {
    let handles = HANDLES.get()?;
    // SAFETY: the caller is in a callback as `Vcpu::current` asks for.
    unsafe { Vcpu::current(handles) }.ok()
}

pub(crate) fn sites() -> MutexGuard<'static, Sites> {
    SITES.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C-unwind" fn on_vcpu(vcpu: c_uint, _userdata: *mut c_void) {
    guarded(|plugin| {
        keeper::start(plugin);
        plugin.vcpu_started(vcpu);
        if HANDLES.get().is_none() {
            match Handles::find() {
                Ok(handles) => drop(HANDLES.set(handles)),
                Err(name) => plugin.limiter().say(format_args!(
                    "QEMU does not show {name}: no AP instructions for the guest"
                )),
            }
        }
        None::<()>
    });
}

unsafe extern "C-unwind" fn on_flush(_userdata: *mut c_void) {
    // QEMU has stopped all vCPUs and dropped the code that refers to the sites.
    guarded(|_| {
        sites().clear();
        None::<()>
    });
}

unsafe extern "C-unwind" fn on_translate(block: *mut ffi::Block, _userdata: *mut c_void) {
    guarded(|plugin| {
        // SAFETY: QEMU passes a block that is valid during this callback.
        unsafe { translate(plugin, block) };
        None::<()>
    });
}

/// # Safety
/// `block` is the block of a translation callback that is running.
unsafe fn translate(plugin: &Plugin, block: *mut ffi::Block) {
    // SAFETY: the caller vouches for the block.
    let count = unsafe { ffi::qemu_plugin_tb_n_insns(block) };
    if plugin.has_interrupts() {
        // SAFETY: the caller vouches for the block.
        unsafe { blocks::watch(block, count) };
    }
    let mut stpt = None;
    for index in 0..count {
        // SAFETY: the caller vouches for the block; `index` is below its length.
        let insn = unsafe { ffi::qemu_plugin_tb_get_insn(block, index) };
        let mut bytes = [0; 4];
        // SAFETY: `insn` is valid during the callback and `bytes` has room for 4 bytes.
        unsafe { ffi::qemu_plugin_insn_data(insn, bytes.as_mut_ptr().cast(), bytes.len()) };
        // SAFETY: `insn` is valid during the callback.
        let pc = unsafe { ffi::qemu_plugin_insn_vaddr(insn) };
        if index == 0 && plugin.resets().is_entry(pc) {
            // SAFETY: `insn` is valid; the callback reads registers only.
            unsafe {
                ffi::qemu_plugin_register_vcpu_insn_exec_cb(
                    insn,
                    on_entry,
                    ffi::CB_R_REGS,
                    std::ptr::null_mut(),
                );
            }
        }
        if let Some(stpt) = std::mem::replace(&mut stpt, Stpt::decode(bytes)) {
            // SAFETY: `insn` is valid during the callback.
            unsafe { watch(insn, Site::AfterStpt(stpt)) };
        }
        let site = if let Some(ap) = ApInsn::decode(bytes) {
            Site::Ap { insn: ap, pc }
        } else if let Some(insn) = CssInsn::decode(bytes) {
            Site::Css { insn, pc }
        } else if let Some(insn) = Lpswe::decode(bytes) {
            Site::Lpswe { insn, pc }
        } else if let Some(stfle) = Stfle::decode(bytes) {
            Site::Stfle(stfle)
        } else if let Some(diagnose) = Diagnose::decode(bytes) {
            Site::Diagnose(diagnose)
        } else {
            continue;
        };
        if site.moves() && count == 1 && is_execute_target(pc, bytes) {
            continue;
        }
        // SAFETY: `insn` is valid during the callback.
        unsafe { watch(insn, site) };
    }
}

/// Registers the callbacks of `site`.
///
/// # Safety
/// `insn` is an instruction of a block that is being translated.
unsafe fn watch(insn: *mut ffi::Insn, site: Site) {
    let site = Box::new(site);
    let userdata = std::ptr::from_ref(site.as_ref()).cast_mut().cast();
    let (callback, flags): (ffi::VcpuCallback, _) = match *site {
        Site::Ap { .. } | Site::Css { .. } => (on_moving, ffi::CB_RW_REGS_PC),
        Site::Lpswe { .. } | Site::Block { .. } | Site::AfterStpt(_) => {
            sites().push(site);
            if let Some(scoreboard) = SCOREBOARD.get() {
                // SAFETY: the caller vouches for `insn`; the site lives as long as the code.
                unsafe { scoreboard.watch(insn, on_moving, ffi::CB_RW_REGS_PC, userdata) };
            }
            return;
        }
        Site::Stfle(_) => (on_stfle, ffi::CB_R_REGS),
        Site::Diagnose(_) => (on_diagnose, ffi::CB_R_REGS),
    };
    let stores = matches!(*site, Site::Stfle(_));
    sites().push(site);
    // SAFETY: the caller vouches for `insn`; the site lives until the translated code is dropped.
    unsafe { ffi::qemu_plugin_register_vcpu_insn_exec_cb(insn, callback, flags, userdata) };
    if stores {
        // SAFETY: as above.
        unsafe {
            ffi::qemu_plugin_register_vcpu_mem_cb(
                insn,
                on_stored,
                ffi::CB_R_REGS,
                ffi::MEM_STORE,
                std::ptr::null_mut(),
            );
        }
    }
}

/// QEMU translates the target of EXECUTE as a block of its own at the address of the EXECUTE, with
/// state that setting the program counter would not clear. An instruction there is left to QEMU,
/// which answers an AP instruction with an operation exception; nobody executes them that way.
pub(crate) fn is_execute_target(pc: u64, bytes: [u8; 4]) -> bool {
    // SAFETY: the translation callback runs on a vCPU thread; only memory is read.
    let Some(mut vcpu) = (unsafe { current() }) else {
        return false;
    };
    let mut memory = Vec::with_capacity(2);
    vcpu.load(pc, 2, &mut memory) && memory != bytes[..2]
}

unsafe extern "C-unwind" fn on_entry(_vcpu: c_uint, _userdata: *mut c_void) {
    guarded(|plugin| {
        // SAFETY: this callback is registered with `CB_R_REGS`.
        let mut vcpu = unsafe { current() }?;
        if Resets::starts(&mut vcpu).ok()? {
            plugin.machine_starts("the machine starts again");
        }
        Some(())
    });
}

/// The site that a callback points to.
///
/// # Safety
/// `userdata` is a pointer that [`watch`] registered, and the translated code is still alive.
unsafe fn site<'a>(userdata: *mut c_void) -> Option<&'a Site> {
    // SAFETY: `watch` made the pointer from a boxed site, which is not freed before the code is.
    unsafe { userdata.cast::<Site>().as_ref() }
}

unsafe extern "C-unwind" fn on_diagnose(_vcpu: c_uint, userdata: *mut c_void) {
    guarded(|plugin| {
        // SAFETY: registered by `watch`.
        let Site::Diagnose(diagnose) = (unsafe { site(userdata) })? else {
            return None;
        };
        // SAFETY: this callback is registered with `CB_R_REGS`.
        let mut vcpu = unsafe { current() }?;
        if diagnose.resets(&mut vcpu).ok()? {
            plugin.machine_starts("the guest restarts");
        }
        Some(())
    });
}

unsafe extern "C-unwind" fn on_stfle(vcpu: c_uint, userdata: *mut c_void) {
    guarded(|plugin| {
        // SAFETY: registered by `watch`.
        let Site::Stfle(stfle) = (unsafe { site(userdata) })? else {
            return None;
        };
        // SAFETY: this callback is registered with `CB_R_REGS`.
        let mut cpu = unsafe { current() }?;
        plugin.list(vcpu)?.begin(stfle.address(&mut cpu).ok()?);
        Some(())
    });
}

unsafe extern "C-unwind" fn on_stored(
    vcpu: c_uint,
    _info: u32,
    address: u64,
    _userdata: *mut c_void,
) {
    guarded(|plugin| {
        let facilities = crate::intercept::Executor::facilities(plugin);
        let bits = plugin.list(vcpu)?.bits_at(address, facilities);
        if bits == 0 {
            return None;
        }
        // SAFETY: a memory callback runs on a vCPU thread; only memory is touched.
        let mut cpu = unsafe { current() }?;
        let mut byte = Vec::with_capacity(1);
        if cpu.load(address, 1, &mut byte) {
            let with_bits: Vec<u8> = byte.iter().map(|byte| byte | bits).collect();
            cpu.store(address, &with_bits);
        }
        Some(())
    });
}

pub(crate) unsafe extern "C-unwind" fn on_moving(vcpu: c_uint, userdata: *mut c_void) {
    // SAFETY: registered by `watch` with `CB_RW_REGS_PC`.
    let next = unsafe { execute(vcpu, userdata) };
    if let Some(next) = next {
        // SAFETY: this callback is registered with `CB_RW_REGS_PC`; this frame owns nothing that
        // would need a destructor, and neither does QEMU's code above it.
        unsafe { ffi::qemu_plugin_set_pc(next) }
    }
}

/// All the work of [`on_moving`]: where the guest continues, or `None` to let QEMU execute.
///
/// # Safety
/// The caller is a callback that [`watch`] registered with `CB_RW_REGS_PC`.
#[inline(never)]
unsafe fn execute(index: c_uint, userdata: *mut c_void) -> Option<u64> {
    guarded(|plugin| {
        // SAFETY: the caller vouches for it.
        let site = unsafe { site(userdata) }?;
        // SAFETY: the caller vouches for it.
        let mut vcpu = unsafe { current() }?;
        let pending = plugin.pending();
        let next = match *site {
            Site::Ap { insn, pc } => {
                plugin.tell_memory(&mut vcpu);
                intercept(&mut vcpu, plugin, insn, pc)
            }
            Site::Css { insn, pc } => insn.execute(&mut vcpu, pending, pc),
            Site::Lpswe { insn, pc } => {
                insn.execute(&mut vcpu, pending, plugin.clock(), plugin.wait(index)?, pc)
            }
            Site::Block { pc } => blocks::deliver(&mut vcpu, plugin, index, pc),
            Site::AfterStpt(stpt) => plugin.clock().read(&mut vcpu, stpt).map(|()| None),
            Site::Stfle(_) | Site::Diagnose(_) => Ok(None),
        };
        next.unwrap_or_else(|CpuError| {
            plugin
                .limiter()
                .say(format_args!("QEMU did not let us read or write a register"));
            None
        })
    })
}
