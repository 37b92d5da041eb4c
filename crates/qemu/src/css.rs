//! STCRW and CHSC: how the guest asks the channel subsystem what happened.
//!
//! Only what concerns AP is answered here. Everything else is QEMU's: it has channel report words and
//! events of its own.

use crate::cpu::{Cpu, CpuError, PswMask, Register};
use crate::pending::Pending;
use crate::stfle::operand_address;

/// One of the two instructions in the guest's program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CssInsn {
    /// STCRW: base and displacement of the word's place.
    StoreReportWord { base: u8, displacement: u16 },
    /// CHSC: the register with the block's address.
    Call { block: u8 },
}

/// The channel report word: from the channel subsystem, event information is pending.
const REPORT_WORD: [u8; 4] = [0x0b, 0, 0, 0];
/// CHSC code: store event information.
const STORE_EVENT_INFORMATION: u16 = 0x000e;
/// Length of that request.
const REQUEST: usize = 16;
/// In the request: the notification types that the guest wants.
const TYPES: std::ops::Range<usize> = 8..16;
/// The answer: 12 bytes, code 1 (done); notification type 0, nothing more pending, reporting source
/// 5 (AP), content 3 (the configuration changed).
const CONFIGURATION_CHANGED: [u8; 12] = [0, 0x0c, 0, 1, 0, 0, 0, 0, 0, 0, 5, 3];
const BLOCK: u64 = 4096;

impl CssInsn {
    /// Length of either in bytes.
    pub(crate) const LEN: u64 = 4;

    /// The instruction in these four bytes, if it is one of the two.
    pub(crate) fn decode(bytes: [u8; 4]) -> Option<Self> {
        match bytes {
            [0xb2, 0x39, high, low] => Some(Self::StoreReportWord {
                base: high >> 4,
                displacement: u16::from_be_bytes([high & 0xf, low]),
            }),
            [0xb2, 0x5f, _, registers] => Some(Self::Call {
                block: registers >> 4,
            }),
            _ => None,
        }
    }

    /// Executes the instruction, which stands at `pc`, if it is answered here: where the guest
    /// continues. `None` leaves it to QEMU, with its exceptions.
    pub(crate) fn execute(
        self,
        cpu: &mut impl Cpu,
        pending: &Pending,
        pc: u64,
    ) -> Result<Option<u64>, CpuError> {
        let mask = PswMask(cpu.get(Register::PswMask)?);
        if mask.problem_state() {
            return Ok(None);
        }
        let answered = match self {
            Self::StoreReportWord { base, displacement } => {
                let address = operand_address(cpu, base, displacement)?;
                store_report_word(cpu, pending, address)
            }
            Self::Call { block } => {
                let block = mask
                    .addressing()
                    .address(cpu.get(Register::General(block))?);
                store_event(cpu, pending, block)
            }
        };
        if !answered {
            return Ok(None);
        }
        cpu.set(Register::PswMask, mask.with_condition_code(0).0)?;
        let next = pc.wrapping_add(Self::LEN);
        Ok(Some(mask.addressing().address(next)))
    }
}

/// Whether a word was stored. A place that cannot be stored to is QEMU's to report.
fn store_report_word(cpu: &mut impl Cpu, pending: &Pending, address: u64) -> bool {
    address.is_multiple_of(4)
        && pending.change(|state| {
            let mut taken = state.report;
            let stored = taken.take_word() && cpu.store(address, &REPORT_WORD);
            if stored {
                state.report = taken;
            }
            stored
        })
}

/// Whether an event was stored.
fn store_event(cpu: &mut impl Cpu, pending: &Pending, block: u64) -> bool {
    let mut request = Vec::with_capacity(REQUEST);
    if !block.is_multiple_of(BLOCK) || !cpu.load(block, REQUEST, &mut request) {
        return false;
    }
    let half = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    let asks = usize::from(half(0)) == REQUEST && half(2) == STORE_EVENT_INFORMATION;
    // Without any type selected the request is of the oldest kind, which means type 0.
    let types = &request[TYPES];
    let wants_type_0 = types[0] & 0x80 != 0 || types.iter().all(|byte| *byte == 0);
    asks && wants_type_0
        && pending.change(|state| state.report.take_event())
        && cpu.store(block + REQUEST as u64, &CONFIGURATION_CHANGED)
}
