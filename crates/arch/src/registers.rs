//! From general registers to an [`Instruction`] and back (spec 1.5 and 1.6).
//!
//! For whoever intercepts the instructions of a guest. Conditions are checked in the order of spec
//! 1.5: problem state, undefined bits of GR0, function code, facilities, address range, operands.

use crate::aqic::AqicControl;
use crate::facility::Facilities;
use crate::ids::Apqn;
use crate::instruction::{Instruction, Outcome, ProgramException};
use crate::qci::{MAX_ADAPTER_WITHOUT_APXA, MAX_DOMAIN_WITHOUT_APXA};

/// What decides, besides the operands, whether an instruction is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuState {
    /// The program runs in problem state (PSW bit 15).
    pub problem_state: bool,
    /// Facilities of the CPU model.
    pub facilities: Facilities,
    /// Extended addressing: adapters above 63 and domains above 15 can be named.
    pub apxa: bool,
}

/// Undefined bits 41..47 of GR0 for functions without an F bit.
const PQAP_UNDEFINED: u64 = 0x007f_0000;
/// The F bit of RAPQ and ZAPQ, the IF bit of QACT.
const PQAP_F: u64 = 0x0040_0000;
/// The T bit of TAPQ.
const PQAP_T: u64 = 0x0080_0000;
/// NQAP: bits 32, 34, 35 and 40 must be zero.
const NQAP_UNDEFINED: u64 = 0xb080_0000;
/// NQAP: special command.
const NQAP_SPECIAL: u64 = 0x0040_0000;
/// DQAP: bits 33, 34, 35, 40 and 41 must be zero.
const DQAP_UNDEFINED: u64 = 0x70c0_0000;

/// Decodes PQAP. For QCI, `gr2` is checked for doubleword alignment; storing there is the caller's.
///
/// Functions that exist only for secure execution (7, 8) are never offered and count as undefined.
///
/// # Errors
/// The program exception that suppresses the instruction.
pub fn decode_pqap(
    gr0: u64,
    gr1: u64,
    gr2: u64,
    cpu: &CpuState,
) -> Result<Instruction<'static>, ProgramException> {
    check_problem_state(cpu)?;
    let function = gr0.to_be_bytes()[4];
    let defined = if matches!(function, 1 | 2 | 5) {
        PQAP_F
    } else {
        0
    };
    if gr0 & PQAP_UNDEFINED & !defined != 0 {
        return Err(ProgramException::Specification);
    }
    let apqn = Apqn::from_gr0(gr0);
    let force = gr0 & PQAP_F != 0;
    let facilities = gr0 & PQAP_T != 0;
    let (instruction, required) = match function {
        0 if facilities => (Instruction::Tapq { apqn, facilities }, Facilities::APFT),
        0 => (Instruction::Tapq { apqn, facilities }, Facilities::empty()),
        1 => (Instruction::Rapq { apqn, force }, Facilities::empty()),
        2 => (Instruction::Zapq { apqn, force }, Facilities::empty()),
        3 => {
            let control = AqicControl(gr1);
            (
                Instruction::Aqic {
                    apqn,
                    control,
                    nib: gr2,
                },
                Facilities::APQI,
            )
        }
        4 if gr2.is_multiple_of(8) => (Instruction::Qci, Facilities::APQCI),
        5 => (Instruction::Qact { apqn, info: gr1 }, Facilities::APQCI),
        _ => return Err(ProgramException::Specification),
    };
    if !cpu.facilities.contains(required) {
        return Err(ProgramException::Specification);
    }
    if instruction.apqn().is_some() {
        check_range(apqn, cpu)?;
    }
    Ok(instruction)
}

/// Operands of NQAP that stand in GR0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NqapOperands {
    /// The queue.
    pub apqn: Apqn,
    /// Special command bit.
    pub special: bool,
}

/// Checks NQAP: `r1` and `r2` are the register numbers of the instruction, `length` the length
/// register (R2 + 1).
///
/// # Errors
/// The program exception that suppresses the instruction.
pub fn decode_nqap(
    gr0: u64,
    (r1, r2): (u8, u8),
    length: u64,
    cpu: &CpuState,
) -> Result<NqapOperands, ProgramException> {
    let apqn = check_message_operands(gr0, NQAP_UNDEFINED, (r1, r2), length, cpu)?;
    Ok(NqapOperands {
        apqn,
        special: gr0 & NQAP_SPECIAL != 0,
    })
}

/// Checks DQAP: `r1` and `r2` are the register numbers of the instruction, `length` the length
/// register (R2 + 1).
///
/// # Errors
/// The program exception that suppresses the instruction.
pub fn decode_dqap(
    gr0: u64,
    (r1, r2): (u8, u8),
    length: u64,
    cpu: &CpuState,
) -> Result<Apqn, ProgramException> {
    check_message_operands(gr0, DQAP_UNDEFINED, (r1, r2), length, cpu)
}

fn check_message_operands(
    gr0: u64,
    undefined: u64,
    (r1, r2): (u8, u8),
    length: u64,
    cpu: &CpuState,
) -> Result<Apqn, ProgramException> {
    check_problem_state(cpu)?;
    if r1 % 2 != 0 || r2 % 2 != 0 || length == 0 || gr0 & undefined != 0 {
        return Err(ProgramException::Specification);
    }
    let apqn = Apqn::from_gr0(gr0);
    check_range(apqn, cpu)?;
    Ok(apqn)
}

fn check_problem_state(cpu: &CpuState) -> Result<(), ProgramException> {
    if cpu.problem_state {
        Err(ProgramException::PrivilegedOperation)
    } else {
        Ok(())
    }
}

fn check_range(apqn: Apqn, cpu: &CpuState) -> Result<(), ProgramException> {
    let in_range =
        apqn.apid.0 <= MAX_ADAPTER_WITHOUT_APXA && apqn.apqi.0 <= MAX_DOMAIN_WITHOUT_APXA;
    if cpu.apxa || in_range {
        Ok(())
    } else {
        Err(ProgramException::Specification)
    }
}

/// The registers after PQAP. `None` leaves a register alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PqapResult {
    /// GR1, the status word; QCI does not modify it.
    pub gr1: Option<u64>,
    /// GR2 of TAPQ and QACT.
    pub gr2: Option<u64>,
    /// Condition code.
    pub condition_code: u8,
}

/// The registers that a PQAP outcome sets.
///
/// # Errors
/// The program exception, if the outcome is one.
pub fn encode_pqap(outcome: &Outcome) -> Result<PqapResult, ProgramException> {
    let gr2 = match outcome {
        Outcome::Exception(exception) => return Err(*exception),
        Outcome::Tapq { info, .. } => Some(info.0),
        Outcome::Qact { info, .. } => Some(*info),
        Outcome::Status(_) | Outcome::Qci(_) | Outcome::Dqap(_) => None,
    };
    let status = outcome.status();
    Ok(PqapResult {
        gr1: status.map(|status| status.to_gr1()),
        gr2,
        condition_code: status.map_or(0, |status| status.condition_code()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{QueueStatus, ResponseCode};
    use proptest::prelude::*;

    const CPU: CpuState = CpuState {
        problem_state: false,
        facilities: Facilities::all(),
        apxa: true,
    };
    const SPEC: ProgramException = ProgramException::Specification;

    fn pqap(gr0: u64) -> Result<Instruction<'static>, ProgramException> {
        decode_pqap(gr0, 0, 0, &CPU)
    }

    #[test]
    fn register_examples_of_section_1_5() {
        let apqn = Apqn::new(5, 4);
        assert_eq!(
            pqap(0x0000_0504),
            Ok(Instruction::Tapq {
                apqn,
                facilities: false
            })
        );
        assert_eq!(
            pqap(0x0080_0504),
            Ok(Instruction::Tapq {
                apqn,
                facilities: true
            })
        );
        assert_eq!(
            pqap(0x0100_0504),
            Ok(Instruction::Rapq { apqn, force: false })
        );
        assert_eq!(
            pqap(0x0200_0504),
            Ok(Instruction::Zapq { apqn, force: false })
        );
        assert_eq!(
            pqap(0x0240_0504),
            Ok(Instruction::Zapq { apqn, force: true })
        );
        assert_eq!(pqap(0x0400_0000), Ok(Instruction::Qci));
        assert_eq!(pqap(0x0500_0504), Ok(Instruction::Qact { apqn, info: 0 }));
        let aqic = decode_pqap(0x0300_0504, 0x0000_8000_0000_0003, 0x1000, &CPU);
        let control = AqicControl::enable(3);
        assert_eq!(
            aqic,
            Ok(Instruction::Aqic {
                apqn,
                control,
                nib: 0x1000
            })
        );
    }

    #[test]
    fn undefined_functions_and_bits_are_specification_exceptions() {
        for gr0 in [
            0x0a00_0504,
            0x0600_0000,
            0x0700_0504,
            0x0800_0504,
            0x00ff_0102,
            0x0001_0504,
        ] {
            assert_eq!(pqap(gr0), Err(SPEC), "{gr0:#x}");
        }
        assert_eq!(decode_pqap(0x0400_0000, 0, 4, &CPU), Err(SPEC));
    }

    #[test]
    fn missing_facilities_are_specification_exceptions() {
        let bare = CpuState {
            facilities: Facilities::empty(),
            ..CPU
        };
        for gr0 in [0x0080_0504, 0x0300_0504, 0x0400_0000] {
            assert_eq!(decode_pqap(gr0, 0, 0, &bare), Err(SPEC), "{gr0:#x}");
        }
        assert!(decode_pqap(0x0000_0504, 0, 0, &bare).is_ok());
    }

    #[test]
    fn problem_state_comes_first() {
        let user = CpuState {
            problem_state: true,
            ..CPU
        };
        assert_eq!(
            decode_pqap(0x0aff_0000, 0, 0, &user),
            Err(ProgramException::PrivilegedOperation)
        );
        assert_eq!(
            decode_nqap(0, (1, 1), 0, &user),
            Err(ProgramException::PrivilegedOperation)
        );
    }

    #[test]
    fn without_apxa_only_small_numbers_can_be_named() {
        let small = CpuState { apxa: false, ..CPU };
        for gr0 in [0x4000, 0x0010, 0xc0f0] {
            assert_eq!(decode_pqap(gr0, 0, 0, &small), Err(SPEC), "{gr0:#x}");
        }
        assert!(decode_pqap(0x3f0f, 0, 0, &small).is_ok());
    }

    #[test]
    fn message_operands() {
        let nqap = decode_nqap(0x4040_0504, (2, 4), 400, &CPU).unwrap();
        assert_eq!(
            nqap,
            NqapOperands {
                apqn: Apqn::new(5, 4),
                special: true
            }
        );
        assert_eq!(
            decode_dqap(0x8000_0504, (2, 4), 400, &CPU),
            Ok(Apqn::new(5, 4))
        );
        assert_eq!(decode_nqap(0x4000_0504, (1, 4), 400, &CPU), Err(SPEC));
        assert_eq!(decode_nqap(0x4000_0504, (2, 5), 400, &CPU), Err(SPEC));
        assert_eq!(decode_nqap(0x4000_0504, (2, 4), 0, &CPU), Err(SPEC));
        for bit in [0x8000_0000u64, 0x2000_0000, 0x1000_0000, 0x0080_0000] {
            assert_eq!(decode_nqap(bit, (2, 4), 400, &CPU), Err(SPEC), "{bit:#x}");
        }
        for bit in [
            0x4000_0000u64,
            0x2000_0000,
            0x1000_0000,
            0x0080_0000,
            0x0040_0000,
        ] {
            assert_eq!(decode_dqap(bit, (2, 4), 400, &CPU), Err(SPEC), "{bit:#x}");
        }
    }

    #[test]
    fn absent_queue_result() {
        let instruction = Instruction::Tapq {
            apqn: Apqn::new(5, 4),
            facilities: false,
        };
        let outcome = Outcome::refused(&instruction, ResponseCode::NOT_AVAILABLE);
        let result = PqapResult {
            gr1: Some(0x0001_0000),
            gr2: Some(0),
            condition_code: 3,
        };
        assert_eq!(encode_pqap(&outcome), Ok(result));
        let status = QueueStatus::code_only(ResponseCode::NORMAL);
        assert_eq!(
            encode_pqap(&Outcome::Status(status)).map(|r| r.condition_code),
            Ok(0)
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics(gr0: u64, gr1: u64, gr2: u64, r: (u8, u8), bits: u8, apxa: bool) {
            let facilities = Facilities::from_bits_truncate(bits);
            let cpu = CpuState { problem_state: false, facilities, apxa };
            let _pqap = decode_pqap(gr0, gr1, gr2, &cpu);
            let _nqap = decode_nqap(gr0, r, gr1, &cpu);
            let _dqap = decode_dqap(gr0, r, gr1, &cpu);
        }
    }
}
