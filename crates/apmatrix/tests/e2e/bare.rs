//! Pieces of machine code on a CPU without an operating system, in QEMU with our plugin.
//!
//! A test says what each piece starts with and gets what it left behind; the program in
//! `bare/runner.c` knows nothing about either.
//!
//! ```text
//!   0x020000  runner            (ELF, from QEMU's -kernel)
//!   0x200000  number of steps, steps, code and data of the test   (from QEMU's loader device)
//! ```

mod machine;

use std::fs;
use std::path::PathBuf;

use crate::instance::Instance;

/// Where the runner finds its steps.
const SCRIPT: u64 = 0x0020_0000;
/// Where code and data of a test start, well behind the steps.
const DATA: u64 = 0x0030_0000;
/// An address behind the memory of the machine.
pub(crate) const NOWHERE: u64 = 0x4000_0000;
/// The last byte of memory.
pub(crate) const LAST: u64 = 0x03ff_ffff;

/// PSW masks: addresses of 64, 31 and 24 bits.
pub(crate) const BITS_64: u64 = 0x0000_0001_8000_0000;
pub(crate) const BITS_31: u64 = 0x0000_0000_8000_0000;
pub(crate) const BITS_24: u64 = 0;
/// PSW mask: problem state.
pub(crate) const PROBLEM: u64 = 0x0001_0000_0000_0000;

const SVC: [u8; 2] = [0x0a, 0];
/// An instruction on registers that cannot fail, to give a piece a length.
const NOP: [u8; 2] = [0x07, 0];

/// A piece of code and what it starts with.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    mask: u64,
    registers: [u64; 16],
    code: Vec<u8>,
    /// Where the code starts in its page; 0 for anywhere.
    offset: usize,
    dump: (u64, u64),
}

impl Step {
    /// These instructions in 64-bit mode; register n holds a value that only it has.
    pub(crate) fn new(code: &[u8]) -> Self {
        let mut registers = [0; 16];
        for (number, register) in (0..).zip(&mut registers) {
            *register = 0x1122_3344_5566_0000 | number;
        }
        Self {
            mask: BITS_64,
            registers,
            code: code.to_vec(),
            offset: 0,
            dump: (0, 0),
        }
    }

    /// The same with other code.
    pub(crate) fn code(mut self, code: &[u8]) -> Self {
        self.code = code.to_vec();
        self
    }

    /// With another PSW mask.
    pub(crate) fn mask(mut self, mask: u64) -> Self {
        self.mask = mask;
        self
    }

    /// With this value in a register.
    pub(crate) fn r(mut self, number: usize, value: u64) -> Self {
        self.registers[number] = value;
        self
    }

    /// With its code at this place in a page.
    pub(crate) fn at_offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Shows this memory afterwards.
    pub(crate) fn show(mut self, address: u64, length: u64) -> Self {
        self.dump = (address, length);
        self
    }

    /// The PSW mask that it starts with.
    pub(crate) fn psw_mask(&self) -> u64 {
        self.mask
    }

    /// What register `number` starts with.
    pub(crate) fn before(&self, number: usize) -> u64 {
        self.registers[number]
    }
}

/// How a piece ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It ran to its end.
    Completed,
    /// A program exception.
    Exception {
        /// Its interruption code.
        code: u16,
        /// The instruction length that was stored.
        length: u16,
        /// The old PSW's address, counted from the start of the code.
        behind: u64,
    },
}

/// What a piece left behind.
#[derive(Clone, Debug)]
pub(crate) struct After {
    /// How it ended.
    pub(crate) end: End,
    /// The condition code in the old PSW.
    pub(crate) cc: u8,
    /// The old PSW's mask.
    pub(crate) mask: u64,
    /// The general registers.
    pub(crate) r: [u64; 16],
    /// The memory that was to be shown.
    pub(crate) shown: Vec<u8>,
}

/// Steps with the memory that they use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    steps: Vec<(Step, u64)>,
    memory: Vec<u8>,
}

impl Script {
    /// Puts bytes into memory, at a page of their own; their address.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> u64 {
        self.place(bytes, 0)
    }

    fn place(&mut self, bytes: &[u8], offset: usize) -> u64 {
        let start = self.memory.len().next_multiple_of(0x1000) + offset;
        self.memory.resize(start, 0);
        self.memory.extend_from_slice(bytes);
        DATA + u64::try_from(start).expect("it is small")
    }

    /// Adds a step; its number in the results.
    pub(crate) fn step(&mut self, step: Step) -> usize {
        let code = [&step.code[..], &SVC, &NOP].concat();
        let address = self.place(&code, step.offset);
        self.steps.push((step, address));
        self.steps.len() - 1
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![self.steps.len() as u64];
        for (step, address) in &self.steps {
            words.extend([step.mask, *address]);
            words.extend(step.registers);
            words.extend([step.dump.0, step.dump.1]);
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_be_bytes).collect();
        let data = usize::try_from(DATA - SCRIPT).expect("a constant");
        assert!(bytes.len() <= data, "too many steps");
        bytes.resize(data, 0);
        bytes.extend_from_slice(&self.memory);
        bytes
    }

    /// Runs all steps in one machine that uses the mediated device `mdev` with these CPU features.
    pub(crate) fn run(&self, instance: &Instance, mdev: &str, features: &str) -> Vec<After> {
        let script = self.file(instance);
        let printed = machine::run(instance, &script, mdev, features);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), self.steps.len(), "{printed}");
        let results = self.steps.iter().zip(lines);
        results.map(|(step, line)| result(step, line)).collect()
    }

    /// Runs all steps but the last one, which must go on for ever, then resets the machine by QEMU's
    /// monitor and runs the first step again: its result is the last one.
    pub(crate) fn run_and_reset(
        &self,
        instance: &Instance,
        mdev: &str,
        features: &str,
    ) -> Vec<After> {
        let script = self.file(instance);
        let before = self.steps.len() - 1;
        let lines = machine::run_and_reset(instance, &script, mdev, features, before);
        let steps = self.steps[..before].iter().chain(&self.steps[..1]);
        steps
            .zip(lines)
            .map(|(step, line)| result(step, &line))
            .collect()
    }

    /// The script in a file that QEMU can load.
    fn file(&self, instance: &Instance) -> PathBuf {
        let script = instance.run_dir().join("script.bin");
        fs::write(&script, self.to_bytes()).expect("the run directory is writable");
        script
    }
}

/// What a step left behind, by its line.
fn result((step, address): &(Step, u64), line: &str) -> After {
    let after = parse(step, *address, line);
    after.unwrap_or_else(|| panic!("the runner printed {line:?}"))
}

/// One line of the runner: interruption codes (SVC, program), old PSW, registers, memory.
fn parse(step: &Step, address: u64, line: &str) -> Option<After> {
    let mut words = line.trim_end().split(' ');
    let mut hex = || u64::from_str_radix(words.next()?, 16).ok();
    let (_svc, program, mask, old) = (hex()?, hex()?, hex()?, hex()?);
    let mut r = [0; 16];
    for register in &mut r {
        *register = hex()?;
    }
    let digits = words.next().unwrap_or_default();
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let shown = (0..digits.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<_>>()?;
    let behind = old.wrapping_sub(address);
    let end = if program == 0xffff_ffff {
        let length = (step.code.len() + SVC.len()) as u64;
        assert_eq!(behind, length, "it ended somewhere else: {line}");
        End::Completed
    } else {
        End::Exception {
            code: u16::try_from(program & 0xffff).ok()?,
            length: u16::try_from(program >> 16).ok()?,
            behind,
        }
    };
    Some(After {
        end,
        cc: u8::try_from(mask >> 44 & 3).ok()?,
        mask,
        r,
        shown,
    })
}
