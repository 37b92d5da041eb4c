//! Delivery of interruptions against a CPU made of arrays.

use std::collections::BTreeMap;
use std::time::Duration;

use arch::status::StatusFlags;
use arch::{Apqn, AqicControl, Instruction, Outcome, QueueStatus, ResponseCode};
use device::Alert;

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::css::CssInsn;
use crate::lpswe::Lpswe;
use crate::pending::{Board, Flags, Pending};
use crate::psw::Psw;
use crate::timer::{Clock, Stpt};
use crate::wait::Wait;

const PREFIX: u64 = 0x8000;
const NIB: u64 = 0x5018;
/// Address of the LPSWE, and of the PSW that it loads.
const PC: u64 = 0x2000;
const OPERAND: u64 = 0x3000;
const KERNEL: u64 = 0x0404_0001_8000_0000;
/// Enabled for everything, and waiting.
const WAIT: Psw = Psw {
    mask: PswMask(0x0706_0001_8000_0000),
    address: 0x4000,
};
const QUEUE: Apqn = Apqn::new(5, 4);

/// 64 KiB of memory and every register; logical addresses are absolute ones.
struct Machine {
    registers: BTreeMap<String, u64>,
    memory: Vec<u8>,
}

impl Machine {
    /// A CPU in the kernel, enabled in its control registers, with handlers at 0x1000 plus the place of
    /// their old PSW.
    fn new() -> Self {
        let mut machine = Self {
            registers: BTreeMap::new(),
            memory: vec![0; 0x1_0000],
        };
        machine.put(Register::PswMask, KERNEL);
        machine.put(Register::Prefix, PREFIX);
        machine.put(Register::Control(14), 0x1000_0000);
        machine.put(Register::Control(6), 0x0200_0000);
        for old in [0x120u64, 0x130, 0x160, 0x170] {
            let handler = Psw {
                mask: PswMask(KERNEL),
                address: 0x1000 + old,
            };
            assert!(machine.store_absolute(PREFIX + old + 0x80, &handler.to_bytes()));
        }
        assert!(machine.store(OPERAND, &WAIT.to_bytes()));
        machine
    }

    fn put(&mut self, register: Register, value: u64) {
        self.registers.insert(format!("{register:?}"), value);
    }

    fn psw(&mut self, old: u64) -> Psw {
        Psw::from_bytes(self.load_absolute(PREFIX + old).unwrap())
    }

    fn bytes(&self, address: u64, len: usize) -> &[u8] {
        &self.memory[usize::try_from(address).unwrap()..][..len]
    }
}

impl Cpu for Machine {
    fn get(&mut self, register: Register) -> Result<u64, CpuError> {
        let value = self.registers.get(&format!("{register:?}"));
        Ok(value.copied().unwrap_or(0))
    }

    fn vector(&mut self, number: u8) -> Result<u128, CpuError> {
        Ok(number.into())
    }

    fn set(&mut self, register: Register, value: u64) -> Result<(), CpuError> {
        self.put(register, value);
        Ok(())
    }

    fn load(&mut self, address: u64, len: usize, to: &mut Vec<u8>) -> bool {
        let start = usize::try_from(address).unwrap();
        let Some(bytes) = self.memory.get(start..start.saturating_add(len)) else {
            return false;
        };
        to.extend_from_slice(bytes);
        true
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> bool {
        let start = usize::try_from(address).unwrap();
        let Some(place) = self
            .memory
            .get_mut(start..start.saturating_add(bytes.len()))
        else {
            return false;
        };
        place.copy_from_slice(bytes);
        true
    }

    fn load_absolute(&mut self, address: u64) -> Option<[u8; 16]> {
        let mut bytes = Vec::new();
        self.load(address, 16, &mut bytes).then_some(())?;
        bytes.try_into().ok()
    }

    fn store_absolute(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.store(address, bytes)
    }
}

#[derive(Debug)]
struct NoBoard;

impl Board for NoBoard {
    fn show(&self, _vcpu: u32, _flags: Flags) {}
}

/// A CPU about to execute LPSWE, and what waits for it.
struct Scene {
    cpu: Machine,
    pending: Pending,
    clock: Clock,
    wait: Wait,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            cpu: Machine::new(),
            pending: Pending::new(Box::new(NoBoard)),
            clock: Clock::default(),
            wait: Wait::default(),
        };
        scene.pending.started(0);
        scene
    }

    /// The guest reads its CPU timer, which has 1 ms left.
    fn read_timer(&mut self) {
        self.cpu.put(Register::TimerExpiry, 1_000_000);
        assert!(self.cpu.store(0x100, &4_096_000u64.to_be_bytes()));
        let stpt = Stpt::decode([0xb2, 0x09, 0x01, 0x00]).unwrap();
        self.clock.read(&mut self.cpu, stpt).unwrap();
    }

    fn lpswe(&mut self) -> Option<u64> {
        let insn = Lpswe::decode([0xb2, 0xb2, 0x10, 0x00]).unwrap();
        self.cpu.put(Register::General(1), OPERAND);
        let (cpu, pending) = (&mut self.cpu, &self.pending);
        insn.execute(cpu, pending, &self.clock, &self.wait, PC)
            .unwrap()
    }

    fn change(&self) {
        self.pending.change(|state| state.report.change());
    }

    fn follow(&self, instruction: &Instruction<'_>, flags: StatusFlags) {
        let outcome = Outcome::Status(QueueStatus::new(ResponseCode::NORMAL, flags));
        self.pending
            .change(|state| state.adapter.follow(instruction, &outcome));
    }

    /// The queue interrupts on ISC 6, and has a request.
    fn request(&self) {
        let control = AqicControl::enable(6);
        let aqic = Instruction::Aqic {
            apqn: QUEUE,
            control,
            nib: NIB,
        };
        self.follow(&aqic, StatusFlags::INTERRUPTS);
        let nqap = Instruction::Nqap {
            apqn: QUEUE,
            psmid: 1,
            special: false,
            message: b"m",
        };
        self.follow(&nqap, StatusFlags::INTERRUPTS);
    }

    fn reply(&self) {
        let alert = Alert {
            apqn: QUEUE,
            isc: 6,
            nib: NIB,
            replies: 1,
        };
        self.pending.change(|state| state.adapter.alert(alert));
    }

    /// STCRW at 0x200; whether it was answered here.
    fn store_report_word(&mut self) -> bool {
        let insn = CssInsn::decode([0xb2, 0x39, 0x02, 0x00]).unwrap();
        let next = insn.execute(&mut self.cpu, &self.pending, PC).unwrap();
        assert!(next.is_none_or(|next| next == PC + 4));
        next.is_some()
    }

    /// CHSC with this request at 0x6000; whether it was answered here.
    fn call(&mut self, request: [u8; 16]) -> bool {
        assert!(self.cpu.store(0x6000, &request));
        self.cpu.put(Register::General(2), 0x6000);
        let insn = CssInsn::decode([0xb2, 0x5f, 0, 0x20]).unwrap();
        let next = insn.execute(&mut self.cpu, &self.pending, PC).unwrap();
        next.is_some()
    }
}

const EVENT: [u8; 16] = [0, 16, 0, 0x0e, 0, 0, 0, 0, 0xa0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_change_is_a_machine_check_with_every_register() {
    let mut scene = Scene::new();
    scene.change();
    assert_eq!(scene.lpswe(), None, "the CPU timer is not known yet");
    scene.read_timer();
    scene.cpu.put(Register::General(9), 99);
    scene.cpu.put(Register::Access(1), 0x8765_4321);
    assert_eq!(scene.lpswe(), Some(0x1160));
    assert_eq!(scene.cpu.psw(0x160), WAIT, "as if it came behind the LPSWE");
    assert_eq!(scene.cpu.get(Register::PswMask), Ok(KERNEL));
    let bytes = |at: u64, len| scene.cpu.bytes(PREFIX + at, len);
    // No area for vector registers was named, so bit 25 is off.
    assert_eq!(bytes(0xe8, 8), 0x0040_0f1d_4033_0000u64.to_be_bytes());
    assert_eq!(bytes(0x1280 + 9 * 8, 8), 99u64.to_be_bytes());
    assert_eq!(bytes(0x1340 + 4, 4), 0x8765_4321u32.to_be_bytes());
    assert_eq!(bytes(0x1318, 4), 0x8000u32.to_be_bytes());
    assert_eq!(bytes(0x1380 + 14 * 8, 8), 0x1000_0000u64.to_be_bytes());
    let timer = u64::from_be_bytes(bytes(0x1328, 8).try_into().unwrap());
    assert!((1..=4_096_000).contains(&timer), "{timer}");
    assert_eq!(scene.lpswe(), None, "once");
}

#[test]
fn vector_registers_go_where_the_guest_says() {
    let mut scene = Scene::new();
    // The low bits are the length of the area.
    let area = 0x7000u64 | 0x0a;
    assert!(scene.cpu.store(PREFIX + 0x11b0, &area.to_be_bytes()));
    scene.change();
    scene.read_timer();
    assert!(scene.lpswe().is_some());
    let code = scene.cpu.bytes(PREFIX + 0xe8, 8);
    assert_eq!(code, 0x0040_0f5d_4033_0000u64.to_be_bytes());
    assert_eq!(scene.cpu.bytes(0x7000 + 31 * 16, 16), 31u128.to_be_bytes());
}

#[test]
fn a_machine_check_waits_until_it_is_enabled() {
    for disabled in [
        |cpu: &mut Machine| cpu.put(Register::Control(14), 0),
        |cpu: &mut Machine| cpu.put(Register::PswMask, KERNEL | 0x0001_0000_0000_0000),
        |cpu: &mut Machine| {
            let mask = PswMask(WAIT.mask.0 & !0x0004_0000_0000_0000);
            assert!(cpu.store(OPERAND, &Psw { mask, ..WAIT }.to_bytes()));
        },
        // A handler that waits, and a PSW that LPSWE refuses.
        |cpu: &mut Machine| assert!(cpu.store(PREFIX + 0x1e0, &WAIT.to_bytes())),
        |cpu: &mut Machine| assert!(cpu.store(OPERAND, &[0xff; 16])),
    ] {
        let mut scene = Scene::new();
        scene.change();
        scene.read_timer();
        disabled(&mut scene.cpu);
        assert_eq!(scene.lpswe(), None);
        assert!(scene.pending.change(|state| state.report.has_check()));
    }
}

#[test]
fn a_guest_that_never_reads_its_timer_is_told_nonetheless() {
    let mut scene = Scene::new();
    scene.change();
    let delivered = (0..200).find_map(|_| scene.lpswe());
    assert_eq!(delivered, Some(0x1160));
    let code = scene.cpu.bytes(PREFIX + 0xe8, 8);
    assert_eq!(
        code,
        0x0040_0f1d_4031_0000u64.to_be_bytes(),
        "bit 46 is off"
    );
}

#[test]
fn the_guest_asks_what_happened() {
    let mut scene = Scene::new();
    assert!(
        !scene.store_report_word() && !scene.call(EVENT),
        "QEMU's to answer"
    );
    scene.change();
    scene
        .cpu
        .put(Register::PswMask, KERNEL | 0x0000_3000_0000_0000);
    assert!(scene.store_report_word());
    assert_eq!(scene.cpu.bytes(0x200, 4), [0x0b, 0, 0, 0]);
    assert_eq!(
        scene.cpu.get(Register::PswMask),
        Ok(KERNEL),
        "condition code 0"
    );
    assert!(!scene.store_report_word(), "once");
    let mut other = EVENT;
    other[3] = 0x10;
    assert!(!scene.call(other), "another code");
    let mut other = EVENT;
    other[8] = 0x20;
    assert!(!scene.call(other), "another type of event");
    assert!(scene.call(EVENT));
    let answer = scene.cpu.bytes(0x6010, 12);
    assert_eq!(answer, [0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 5, 3]);
    assert!(!scene.call(EVENT), "once");
}

#[test]
fn a_user_program_is_not_answered() {
    let mut scene = Scene::new();
    scene.change();
    let problem = KERNEL | 0x0001_0000_0000_0000;
    scene.cpu.put(Register::PswMask, problem);
    assert!(!scene.store_report_word() && !scene.call(EVENT));
    scene.cpu.put(Register::PswMask, KERNEL);
    assert!(scene.store_report_word() && scene.call(EVENT));
}

#[test]
fn a_reply_is_an_io_interruption_and_a_byte() {
    let mut scene = Scene::new();
    scene.request();
    scene.reply();
    assert_eq!(scene.lpswe(), Some(0x1170));
    assert_eq!(scene.cpu.psw(0x170), WAIT);
    assert_eq!(scene.cpu.bytes(NIB, 1), [0xff]);
    let parameters = [0, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0, 0, 0];
    assert_eq!(scene.cpu.bytes(PREFIX + 0xb8, 12), parameters);
    // Not before the guest has looked at the first.
    scene.reply();
    assert_eq!(
        scene.pending.interrupt(&mut scene.cpu, WAIT, None),
        Ok(None)
    );
    assert!(scene.cpu.store(NIB, &[0]));
    // At the start of a block too, if the program lets it through.
    let mut at = |mask| {
        let old = Psw {
            mask: PswMask(mask),
            address: 0x4444,
        };
        scene.pending.interrupt(&mut scene.cpu, old, None).unwrap()
    };
    assert_eq!(at(KERNEL & !0x0200_0000_0000_0000), None);
    assert_eq!(at(KERNEL | 0x0200_0000_0000_0000), Some(0x1170));
    assert_eq!(scene.cpu.psw(0x170).address, 0x4444);
}

#[test]
fn a_guest_that_never_clears_its_byte_is_interrupted_nonetheless() {
    let mut scene = Scene::new();
    scene.request();
    scene.reply();
    assert!(scene.cpu.store(NIB, &[1]));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while scene.pending.interrupt(&mut scene.cpu, WAIT, None) == Ok(None) {
        assert!(std::time::Instant::now() < deadline, "never");
    }
}

#[test]
fn a_subclass_that_is_masked_waits() {
    let mut scene = Scene::new();
    scene.request();
    scene.reply();
    scene.cpu.put(Register::Control(6), 0xfd00_0000);
    // Replies are awaited no more than it takes: the wait is emulated meanwhile.
    assert_eq!(scene.lpswe(), Some(PC));
    assert_eq!(scene.cpu.bytes(NIB, 1), [0]);
    scene.cpu.put(Register::Control(6), 0x0200_0000);
    assert_eq!(scene.lpswe(), Some(0x1170));
}

#[test]
fn the_wait_for_a_reply_is_emulated_and_nobody_sees_it() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.lpswe(),
        None,
        "nothing is awaited: QEMU halts the CPU"
    );
    scene.request();
    assert_eq!(scene.lpswe(), Some(PC), "again and again");
    let open = 0x0704_0001_8000_0000;
    assert_eq!(
        scene.cpu.get(Register::PswMask),
        Ok(open),
        "without the wait"
    );
    assert_eq!(scene.lpswe(), Some(PC));
    // QEMU interrupts it by its own: external, old PSW as QEMU sees it.
    let seen = Psw {
        mask: PswMask(open),
        address: PC,
    };
    assert!(scene.cpu.store(PREFIX + 0x130, &seen.to_bytes()));
    let (cpu, wait) = (&mut scene.cpu, &scene.wait);
    wait.interrupted(cpu, PC, 0x1130).unwrap();
    assert_eq!(scene.cpu.psw(0x130), WAIT);
    assert!(!scene.wait.is_at(PC));
    // The reply ends the next one.
    assert_eq!(scene.lpswe(), Some(PC));
    scene.reply();
    assert_eq!(scene.lpswe(), Some(0x1170));
    assert_eq!(scene.cpu.psw(0x170), WAIT);
    assert!(!scene.wait.is_at(PC));
}

#[test]
fn a_wait_in_another_space_is_left_to_qemu() {
    let mut scene = Scene::new();
    scene.request();
    for other in [
        0x0400_0000_0000_0000,
        0x0000_4000_0000_0000,
        0x0001_0000_0000_0000,
    ] {
        let mask = PswMask(WAIT.mask.0 ^ other);
        assert!(scene.cpu.store(OPERAND, &Psw { mask, ..WAIT }.to_bytes()));
        assert_eq!(scene.lpswe(), None, "{other:x}");
    }
}

#[test]
fn a_slice_ends_when_the_reply_arrives() {
    let scene = Scene::new();
    scene.request();
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| scene.pending.wait(Duration::from_secs(600)));
        scene.reply();
        assert!(waits.join().unwrap());
    });
}
