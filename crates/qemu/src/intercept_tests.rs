//! The interception against a CPU made of arrays.

use std::cell::RefCell;
use std::collections::VecDeque;

use arch::instruction::Dequeued;
use arch::{Apqn, HwInfo, QciBlock, QueueStatus, ResponseCode};
use proptest::prelude::*;

use super::*;

const PREFIX: u64 = 0x4000;
const MASK_64: u64 = 0x0404_0001_8000_0000;
const PROBLEM: u64 = 0x0001_0000_0000_0000;
const HANDLER: u64 = 0x00aa_bb00;
const PC: u64 = 0x0010_0000;
const MEMORY: usize = 0x20_0000;

/// 2 MiB of memory, logical addresses are absolute ones.
struct FakeCpu {
    general: [u64; 16],
    mask: u64,
    memory: Vec<u8>,
}

impl FakeCpu {
    fn new(mask: u64) -> Self {
        let mut cpu = Self {
            general: [0; 16],
            mask,
            memory: vec![0; MEMORY],
        };
        let new_psw = [MASK_64.to_be_bytes(), HANDLER.to_be_bytes()].concat();
        assert!(cpu.store_absolute(PREFIX + 0x1d0, &new_psw));
        cpu
    }

    fn range(&self, address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.memory.len()).then_some(start..end)
    }

    fn bytes(&self, address: u64, len: usize) -> &[u8] {
        &self.memory[self.range(address, len).unwrap()]
    }
}

impl Cpu for FakeCpu {
    fn get(&mut self, register: Register) -> Result<u64, CpuError> {
        Ok(match register {
            Register::PswMask => self.mask,
            Register::Prefix => PREFIX,
            Register::General(number) => self.general[usize::from(number)],
            _ => return Err(CpuError),
        })
    }

    fn vector(&mut self, _number: u8) -> Result<u128, CpuError> {
        Err(CpuError)
    }

    fn set(&mut self, register: Register, value: u64) -> Result<(), CpuError> {
        match register {
            Register::PswMask => self.mask = value,
            Register::General(number) => self.general[usize::from(number)] = value,
            _ => return Err(CpuError),
        }
        Ok(())
    }

    fn load(&mut self, address: u64, len: usize, to: &mut Vec<u8>) -> bool {
        let Some(range) = self.range(address, len) else {
            return false;
        };
        to.extend_from_slice(&self.memory[range]);
        true
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some(range) = self.range(address, bytes.len()) else {
            return false;
        };
        self.memory[range].copy_from_slice(bytes);
        true
    }

    fn load_absolute(&mut self, address: u64) -> Option<[u8; 16]> {
        self.bytes(address, 16).try_into().ok()
    }

    fn store_absolute(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.store(address, bytes)
    }
}

/// Answers with one outcome and keeps what it was asked.
#[derive(Default)]
struct FakeExecutor {
    seen: RefCell<Vec<String>>,
    outcomes: RefCell<VecDeque<(Outcome, Vec<u8>)>>,
}

impl FakeExecutor {
    fn answering(outcome: Outcome, reply: &[u8]) -> Self {
        let executor = Self::default();
        executor
            .outcomes
            .borrow_mut()
            .push_back((outcome, reply.to_vec()));
        executor
    }
}

impl Executor for FakeExecutor {
    fn facilities(&self) -> Facilities {
        Facilities::APFT | Facilities::APQCI
    }

    fn apxa(&self) -> bool {
        true
    }

    fn max_message(&self) -> usize {
        0x3000
    }

    fn execute(&self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.seen.borrow_mut().push(format!("{instruction:x?}"));
        match self.outcomes.borrow_mut().pop_front() {
            Some((outcome, bytes)) => {
                reply[..bytes.len()].copy_from_slice(&bytes);
                outcome
            }
            None => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        }
    }
}

fn run(cpu: &mut FakeCpu, executor: &FakeExecutor, opcode: u8, registers: u8) -> Option<u64> {
    let insn = ApInsn::decode([0xb2, opcode, 0, registers]).unwrap();
    intercept(cpu, executor, insn, PC).unwrap()
}

fn cc(cpu: &FakeCpu) -> u64 {
    cpu.mask >> 44 & 3
}

/// The interruption code that was stored, if the guest continues in its handler.
fn exception(cpu: &FakeCpu, next: Option<u64>) -> Option<u16> {
    (next == Some(HANDLER)).then(|| {
        assert_eq!(cpu.bytes(PREFIX + 0x8c, 2), [0, 4]);
        assert_eq!(cpu.bytes(PREFIX + 0x158, 8), (PC + 4).to_be_bytes());
        u16::from_be_bytes(cpu.bytes(PREFIX + 0x8e, 2).try_into().unwrap())
    })
}

const OK: QueueStatus = QueueStatus::code_only(ResponseCode::NORMAL);
const NQAP: u8 = 0xad;
const DQAP: u8 = 0xae;
const PQAP: u8 = 0xaf;

#[test]
fn tapq_sets_status_information_and_condition_code() {
    let info = HwInfo(0x6a80_0000_0e00_0008);
    let executor = FakeExecutor::answering(Outcome::Tapq { status: OK, info }, &[]);
    let mut cpu = FakeCpu::new(MASK_64 | 3 << 44);
    cpu.general[0] = 0x0080_0504;
    cpu.general[1] = u64::MAX;
    assert_eq!(run(&mut cpu, &executor, PQAP, 0), Some(PC + 4));
    assert_eq!((cpu.general[1], cpu.general[2], cc(&cpu)), (0, info.0, 0));
    // The executor knows no second outcome: the queue is not there.
    assert_eq!(run(&mut cpu, &executor, PQAP, 0), Some(PC + 4));
    assert_eq!((cpu.general[1], cc(&cpu)), (0x0001_0000, 3));
}

#[test]
fn qci_stores_its_block_and_leaves_gr1_alone() {
    let block = QciBlock {
        na: 7,
        ..QciBlock::EMPTY
    };
    let executor = FakeExecutor::answering(Outcome::Qci(block), &[]);
    let mut cpu = FakeCpu::new(MASK_64);
    cpu.general[..3].copy_from_slice(&[0x0400_0000, 0x1234, 0x1_0ff8]);
    assert_eq!(run(&mut cpu, &executor, PQAP, 0), Some(PC + 4));
    assert_eq!(cpu.bytes(0x1_0ff8, 128), block.encode());
    assert_eq!((cpu.general[1], cc(&cpu)), (0x1234, 0));
}

#[test]
fn exceptions_go_to_the_guests_handler() {
    let executor = FakeExecutor::default();
    let mut user = FakeCpu::new(MASK_64 | PROBLEM);
    for opcode in [NQAP, DQAP, PQAP] {
        user.mask = MASK_64 | PROBLEM;
        let next = run(&mut user, &executor, opcode, 0x24);
        assert_eq!(exception(&user, next), Some(2), "{opcode:#x}");
        assert_eq!(user.mask, MASK_64);
        let old = (MASK_64 | PROBLEM).to_be_bytes();
        assert_eq!(user.bytes(PREFIX + 0x150, 8), old);
    }
    let mut cpu = FakeCpu::new(MASK_64);
    for (opcode, registers, gr0, gr2, r5) in [
        (PQAP, 0, 0x0a00_0504, 0, 1),
        (PQAP, 0, 0x0400_0000, 4, 1),
        (NQAP, 0x34, 0x4000_0504, 0, 1),
        (NQAP, 0x24, 0x4000_0504, 0, 0),
        (DQAP, 0x25, 0x8000_0504, 0, 1),
    ] {
        (cpu.general[0], cpu.general[2], cpu.general[5]) = (gr0, gr2, r5);
        let next = run(&mut cpu, &executor, opcode, registers);
        assert_eq!(exception(&cpu, next), Some(6), "{opcode:#x} {gr0:#x}");
    }
    assert!(executor.seen.borrow().is_empty());
}

#[test]
fn operands_outside_memory_are_addressing_exceptions() {
    let executor = FakeExecutor::default();
    let end = MEMORY as u64;
    for (opcode, address, len) in [
        (NQAP, end, 1),
        (NQAP, end - 16, 17),
        (DQAP, end - 16, 17),
        (DQAP, u64::MAX - 0x1000, 64),
    ] {
        let mut cpu = FakeCpu::new(MASK_64);
        cpu.general[..6].copy_from_slice(&[0x0504, 0, 0, 0, address, len]);
        let next = run(&mut cpu, &executor, opcode, 0x24);
        assert_eq!(exception(&cpu, next), Some(5), "{opcode:#x} {address:#x}");
    }
    assert!(executor.seen.borrow().is_empty(), "nothing left a queue");
    let executor = FakeExecutor::answering(Outcome::Qci(QciBlock::EMPTY), &[]);
    let mut cpu = FakeCpu::new(MASK_64);
    (cpu.general[0], cpu.general[2]) = (0x0400_0000, end - 8);
    let next = run(&mut cpu, &executor, PQAP, 0);
    assert_eq!(exception(&cpu, next), Some(5));
}

#[test]
fn a_guest_whose_handler_waits_is_left_to_qemu() {
    let mut cpu = FakeCpu::new(MASK_64 | PROBLEM);
    let wait = [0x0002_0001_8000_0000u64.to_be_bytes(), [0; 8]].concat();
    assert!(cpu.store_absolute(PREFIX + 0x1d0, &wait));
    assert_eq!(run(&mut cpu, &FakeExecutor::default(), PQAP, 0), None);
    assert_eq!(cpu.mask, MASK_64 | PROBLEM);
}

#[test]
fn nqap_takes_message_and_psmid() {
    let executor = FakeExecutor::answering(Outcome::Status(OK), &[]);
    let mut cpu = FakeCpu::new(MASK_64);
    assert!(cpu.store(0x1_0ffe, &[1, 2, 3, 4]));
    cpu.general[0] = 0x4040_0504;
    cpu.general[2..6].copy_from_slice(&[0xdead_0000_1122_3344, 0xbeef_0000_5566_7788, 0x1_0ffe, 4]);
    assert_eq!(run(&mut cpu, &executor, NQAP, 0x24), Some(PC + 4));
    let expected = Instruction::Nqap {
        apqn: Apqn::new(5, 4),
        psmid: 0x1122_3344_5566_7788,
        special: true,
        message: &[1, 2, 3, 4],
    };
    assert_eq!(*executor.seen.borrow(), [format!("{expected:x?}")]);
    assert_eq!((cpu.general[1], cc(&cpu)), (0, 0));
}

#[test]
fn an_endless_message_is_cut_just_above_the_limit() {
    let executor = FakeExecutor::default();
    let mut cpu = FakeCpu::new(MASK_64);
    cpu.general[..6].copy_from_slice(&[0x0504, 0, 0, 0, 0x1000, u64::MAX]);
    assert_eq!(run(&mut cpu, &executor, NQAP, 0x24), Some(PC + 4));
    let seen = executor.seen.borrow();
    assert_eq!(seen[0].matches(", 0").count(), 0x3001 - 1);
}

#[test]
fn dqap_stores_the_reply_and_advances() {
    let outcome = Outcome::Dqap(Dequeued {
        status: OK,
        psmid: 0x1122_3344_5566_7788,
        stored: 5,
        residual: 0,
    });
    let executor = FakeExecutor::answering(outcome, b"reply");
    let mut cpu = FakeCpu::new(MASK_64);
    cpu.general[..6].copy_from_slice(&[0x8000_0504, 9, 9, 9, 0x1_0ffd, 0x100]);
    assert_eq!(run(&mut cpu, &executor, DQAP, 0x64), Some(PC + 4));
    assert_eq!(cpu.bytes(0x1_0ffd, 5), b"reply");
    assert_eq!(cpu.general[..3], [0x8000_0504, 0, 0]);
    assert_eq!(
        cpu.general[4..8],
        [0x1_1002, 0xfb, 0x1122_3344, 0x5566_7788]
    );
    assert_eq!(cc(&cpu), 0);
}

#[test]
fn a_partial_reply_leaves_a_residual_and_condition_code_1() {
    let outcome = Outcome::Dqap(Dequeued {
        status: OK,
        psmid: 1,
        stored: 16,
        residual: 128,
    });
    let executor = FakeExecutor::answering(outcome, &[7; 16]);
    let mut cpu = FakeCpu::new(MASK_64);
    cpu.general[..6].copy_from_slice(&[0x8000_0504, 0, 0, 0, 0x1_0000, 16]);
    assert_eq!(run(&mut cpu, &executor, DQAP, 0x64), Some(PC + 4));
    assert_eq!((cpu.general[2], cpu.general[5], cc(&cpu)), (128, 0, 1));
    assert_eq!(cpu.general[0], 0x0504, "not the first invocation any more");
}

#[test]
fn addresses_are_cut_to_the_addressing_mode() {
    let outcome = Outcome::Dqap(Dequeued {
        status: OK,
        psmid: 1,
        stored: 4,
        residual: 0,
    });
    for (mask, upper) in [(0, 0xff00_0000), (0x8000_0000, 0x8000_0000)] {
        let executor = FakeExecutor::answering(outcome, b"abcd");
        let mut cpu = FakeCpu::new(mask);
        let garbage = 0x1234_5678_0000_0000;
        cpu.general[..6].copy_from_slice(&[0x0504, 0, 0, 0, 0, 0]);
        (cpu.general[4], cpu.general[5]) = (garbage | upper | 0x1_0000, garbage | 8);
        assert_eq!(run(&mut cpu, &executor, DQAP, 0x64), Some(PC + 4));
        assert_eq!(cpu.bytes(0x1_0000, 4), b"abcd");
        assert_eq!(cpu.general[4], garbage | 0x1_0004);
        assert_eq!(cpu.general[5], garbage | 4);
    }
}

proptest! {
    #[test]
    fn any_registers_are_executed_without_panic(
        general: [u64; 16],
        mask: u64,
        opcode in prop_oneof![Just(NQAP), Just(DQAP), Just(PQAP)],
        registers: u8,
        small in 0u64..0x20_0000,
    ) {
        let mut cpu = FakeCpu::new(mask & !(1 << 49));
        cpu.general = general;
        cpu.general[usize::from(registers & 0xf)] = small;
        cpu.general[0] &= 0xffff_ffff_cf00_ffff;
        let insn = ApInsn::decode([0xb2, opcode, 0, registers]).unwrap();
        let next = intercept(&mut cpu, &FakeExecutor::default(), insn, PC).unwrap();
        prop_assert!(next.is_some());
    }
}
