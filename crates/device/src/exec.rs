//! An instruction and its outcome as the bytes of `AP_EXEC`.

use arch::instruction::Dequeued;
use arch::qci::QCI_LEN;
use arch::{
    AqicControl, Errno, HwInfo, Instruction, Outcome, ProgramException, QciBlock, QueueStatus,
};
use zerocopy::FromBytes;

use crate::message::{ExecReply, ExecRequest};

const TAPQ: u16 = 0;
const RAPQ: u16 = 1;
const ZAPQ: u16 = 2;
const AQIC: u16 = 3;
const QCI: u16 = 4;
const QACT: u16 = 5;
const NQAP: u16 = 0xad;
const DQAP: u16 = 0xae;

/// Length of QCI's block on the wire.
const QCI_BLOCK: u32 = 128;
const _: () = assert!(QCI_BLOCK as usize == QCI_LEN);

const FLAG_T: u16 = 1;
const FLAG_F: u16 = 2;
const FLAG_SPECIAL: u16 = 4;

/// Encodes `instruction`, whose DQAP buffer has `capacity` bytes. The message of NQAP, also
/// returned, goes behind the structure. Both lengths must be bounded by the caller.
#[must_use]
pub fn encode_request<'m>(instruction: &Instruction<'m>, capacity: u32) -> (ExecRequest, &'m [u8]) {
    let mut request = ExecRequest::default();
    if let Some(apqn) = instruction.apqn() {
        request.apqn = apqn.to_u16().into();
    }
    let mut data: &[u8] = &[];
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let (operation, flags) = match *instruction {
        Instruction::Tapq { facilities, .. } => (TAPQ, flag(facilities, FLAG_T)),
        Instruction::Rapq { force, .. } => (RAPQ, flag(force, FLAG_F)),
        Instruction::Zapq { force, .. } => (ZAPQ, flag(force, FLAG_F)),
        Instruction::Aqic { control, nib, .. } => {
            request.operand1 = control.0.into();
            request.operand2 = nib.into();
            (AQIC, 0)
        }
        Instruction::Qci => (QCI, 0),
        Instruction::Qact { info, .. } => {
            request.operand1 = info.into();
            (QACT, 0)
        }
        Instruction::Nqap {
            psmid,
            special,
            message,
            ..
        } => {
            request.operand1 = psmid.into();
            data = message;
            (NQAP, flag(special, FLAG_SPECIAL))
        }
        Instruction::Dqap { .. } => {
            request.capacity = capacity.into();
            (DQAP, 0)
        }
    };
    request.operation = operation.into();
    request.flags = flags.into();
    request.length = u32::try_from(data.len()).unwrap_or(u32::MAX).into();
    (request, data)
}

/// Decodes the payload of `AP_EXEC`: the instruction and the capacity of DQAP's buffer. Fields that
/// an operation does not use must be 0, so that they can get a meaning later.
///
/// # Errors
/// EINVAL when the payload is not of the documented form or a length is above `max_message`.
pub fn decode_request(payload: &[u8], max_message: u32) -> Result<(Instruction<'_>, usize), Errno> {
    let (request, message) = ExecRequest::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
    let [apid, apqi] = request.apqn.get().to_be_bytes();
    let apqn = arch::Apqn::new(apid, apqi);
    let flags = request.flags.get();
    let (operand1, operand2) = (request.operand1.get(), request.operand2.get());
    let capacity = request.capacity.get();
    // What each operation may use: flag bits, operand1, operand2, capacity, message.
    let (instruction, uses) = match request.operation.get() {
        TAPQ => {
            let facilities = flags & FLAG_T != 0;
            (
                Instruction::Tapq { apqn, facilities },
                (FLAG_T, false, false),
            )
        }
        operation @ (RAPQ | ZAPQ) => {
            let force = flags & FLAG_F != 0;
            let instruction = if operation == RAPQ {
                Instruction::Rapq { apqn, force }
            } else {
                Instruction::Zapq { apqn, force }
            };
            (instruction, (FLAG_F, false, false))
        }
        AQIC => {
            let instruction = Instruction::Aqic {
                apqn,
                control: AqicControl(operand1),
                nib: operand2,
            };
            (instruction, (0, true, true))
        }
        QCI => (Instruction::Qci, (0, false, false)),
        QACT => {
            let info = operand1;
            (Instruction::Qact { apqn, info }, (0, true, false))
        }
        NQAP => {
            let instruction = Instruction::Nqap {
                apqn,
                psmid: operand1,
                special: flags & FLAG_SPECIAL != 0,
                message,
            };
            (instruction, (FLAG_SPECIAL, true, false))
        }
        DQAP => (Instruction::Dqap { apqn }, (0, false, false)),
        _ => return Err(Errno::EINVAL),
    };
    let (known_flags, uses_operand1, uses_operand2) = uses;
    let is_nqap = matches!(instruction, Instruction::Nqap { .. });
    let is_dqap = matches!(instruction, Instruction::Dqap { .. });
    let well_formed = flags & !known_flags == 0
        && request.reserved.get() == 0
        && (uses_operand1 || operand1 == 0)
        && (uses_operand2 || operand2 == 0)
        && (is_dqap || capacity == 0)
        && capacity <= max_message
        && request.length.get() <= max_message
        && message.len() == request.length.get() as usize
        && (is_nqap || message.is_empty());
    if well_formed {
        Ok((instruction, capacity as usize))
    } else {
        Err(Errno::EINVAL)
    }
}

/// Encodes `outcome`. The data of DQAP is in the reply buffer already and only counted here, at
/// most `capacity` bytes; QCI's block is returned.
#[must_use]
pub fn encode_outcome(outcome: &Outcome, capacity: usize) -> (ExecReply, Option<[u8; QCI_LEN]>) {
    let mut reply = ExecReply::default();
    let mut block = None;
    if let Some(status) = outcome.status() {
        reply.status = status_word(status).into();
    }
    match outcome {
        Outcome::Exception(exception) => reply.exception = u32::from(exception.code()).into(),
        Outcome::Status(_) => {}
        Outcome::Tapq { info, .. } => reply.value = info.0.into(),
        Outcome::Qact { info, .. } => reply.value = (*info).into(),
        Outcome::Qci(qci) => {
            reply.length = QCI_BLOCK.into();
            block = Some(qci.encode());
        }
        Outcome::Dqap(dequeued) => {
            let stored = dequeued.stored.min(capacity);
            reply.value = dequeued.psmid.into();
            reply.residual = u32::try_from(dequeued.residual).unwrap_or(u32::MAX).into();
            reply.length = u32::try_from(stored).unwrap_or(u32::MAX).into();
        }
    }
    (reply, block)
}

fn status_word(status: QueueStatus) -> u32 {
    let [_, _, _, _, a, b, c, d] = status.to_gr1().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Decodes the payload of the reply to `instruction` and copies DQAP's data into `buffer`.
///
/// # Errors
/// EINVAL when the payload cannot be a reply to this instruction.
pub fn decode_outcome(
    instruction: &Instruction<'_>,
    payload: &[u8],
    buffer: &mut [u8],
) -> Result<Outcome, Errno> {
    let (reply, data) = ExecReply::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
    if data.len() != reply.length.get() as usize {
        return Err(Errno::EINVAL);
    }
    if reply.exception.get() != 0 {
        return u16::try_from(reply.exception.get())
            .ok()
            .and_then(ProgramException::from_code)
            .map(Outcome::Exception)
            .ok_or(Errno::EINVAL);
    }
    let status = QueueStatus::from_gr1(reply.status.get().into());
    let value = reply.value.get();
    let outcome = match instruction {
        Instruction::Tapq { .. } => Outcome::Tapq {
            status,
            info: HwInfo(value),
        },
        Instruction::Qact { .. } => Outcome::Qact {
            status,
            info: value,
        },
        Instruction::Qci if data.is_empty() && status.code.0 != 0 => Outcome::Status(status),
        Instruction::Qci => {
            let block = data.try_into().map_err(|_| Errno::EINVAL)?;
            return Ok(Outcome::Qci(QciBlock::decode(block)));
        }
        Instruction::Dqap { .. } => {
            let target = buffer.get_mut(..data.len()).ok_or(Errno::EINVAL)?;
            target.copy_from_slice(data);
            return Ok(Outcome::Dqap(Dequeued {
                status,
                psmid: value,
                stored: data.len(),
                residual: reply.residual.get() as usize,
            }));
        }
        Instruction::Rapq { .. }
        | Instruction::Zapq { .. }
        | Instruction::Aqic { .. }
        | Instruction::Nqap { .. } => Outcome::Status(status),
    };
    if data.is_empty() {
        Ok(outcome)
    } else {
        Err(Errno::EINVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::status::StatusFlags;
    use arch::{Apqn, ResponseCode};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    const MAX: u32 = 65536;

    fn instructions(message: &[u8]) -> Vec<Instruction<'_>> {
        let apqn = Apqn::new(5, 0xab);
        vec![
            Instruction::Tapq {
                apqn,
                facilities: false,
            },
            Instruction::Tapq {
                apqn,
                facilities: true,
            },
            Instruction::Rapq { apqn, force: true },
            Instruction::Zapq { apqn, force: false },
            Instruction::Aqic {
                apqn,
                control: AqicControl::enable(3),
                nib: 0x1234,
            },
            Instruction::Qci,
            Instruction::Qact { apqn, info: 7 },
            Instruction::Nqap {
                apqn,
                psmid: u64::MAX,
                special: true,
                message,
            },
            Instruction::Dqap { apqn },
        ]
    }

    fn request_bytes(instruction: &Instruction<'_>, capacity: u32) -> Vec<u8> {
        let (request, data) = encode_request(instruction, capacity);
        [request.as_bytes(), data].concat()
    }

    #[test]
    fn instructions_round_trip() {
        for instruction in instructions(b"message") {
            let capacity = if matches!(instruction, Instruction::Dqap { .. }) {
                77
            } else {
                0
            };
            let bytes = request_bytes(&instruction, capacity);
            let decoded = decode_request(&bytes, MAX);
            assert_eq!(decoded, Ok((instruction, capacity as usize)));
        }
    }

    #[test]
    fn unused_fields_and_lying_lengths_are_invalid() {
        for instruction in instructions(b"message") {
            let good = request_bytes(&instruction, 0);
            let mut reserved = good.clone();
            reserved[6] = 1;
            let mut flags = good.clone();
            flags[3] = 0x80;
            let mut length = good.clone();
            length[28] = length[28].wrapping_add(1);
            let mut longer = good.clone();
            longer.push(0);
            for bad in [&reserved, &flags, &length, &longer, &good[..31].to_vec()] {
                assert_eq!(
                    decode_request(bad, MAX),
                    Err(Errno::EINVAL),
                    "{instruction:?}"
                );
            }
        }
        let dqap = Instruction::Dqap {
            apqn: Apqn::new(0, 0),
        };
        assert_eq!(
            decode_request(&request_bytes(&dqap, 9), 8),
            Err(Errno::EINVAL)
        );
        let mut unknown = request_bytes(&dqap, 0);
        unknown[0] = 6;
        assert_eq!(decode_request(&unknown, MAX), Err(Errno::EINVAL));
    }

    #[test]
    fn outcomes_round_trip() {
        let status = QueueStatus::new(ResponseCode::BUSY, StatusFlags::EMPTY);
        let instructions = instructions(b"m");
        let outcome_of = |instruction: &Instruction<'_>| match instruction {
            Instruction::Tapq { .. } => Outcome::Tapq {
                status,
                info: HwInfo(99),
            },
            Instruction::Qact { .. } => Outcome::Qact { status, info: 98 },
            Instruction::Qci => Outcome::Qci(QciBlock {
                na: 3,
                ..QciBlock::EMPTY
            }),
            Instruction::Dqap { .. } => Outcome::Dqap(Dequeued {
                status,
                psmid: 97,
                stored: 5,
                residual: 6,
            }),
            _ => Outcome::Status(status),
        };
        for instruction in &instructions {
            let sent = outcome_of(instruction);
            let (reply, block) = encode_outcome(&sent, 16);
            let mut bytes = reply.as_bytes().to_vec();
            match instruction {
                Instruction::Dqap { .. } => bytes.extend(b"reply"),
                _ => bytes.extend(block.into_iter().flatten()),
            }
            let mut buffer = [0; 16];
            let decoded = decode_outcome(instruction, &bytes, &mut buffer);
            assert_eq!(decoded, Ok(sent));
            let exception = Outcome::Exception(ProgramException::Specification);
            let (reply, _) = encode_outcome(&exception, 0);
            let decoded = decode_outcome(instruction, reply.as_bytes(), &mut buffer);
            assert_eq!(decoded, Ok(exception));
        }
    }

    #[test]
    fn a_reply_longer_than_the_buffer_is_invalid() {
        let dqap = Instruction::Dqap {
            apqn: Apqn::new(0, 0),
        };
        let reply = ExecReply {
            length: 5.into(),
            ..ExecReply::default()
        };
        let bytes = [reply.as_bytes(), b"reply"].concat();
        assert_eq!(
            decode_outcome(&dqap, &bytes, &mut [0; 4]),
            Err(Errno::EINVAL)
        );
        assert!(decode_outcome(&dqap, &bytes, &mut [0; 5]).is_ok());
    }

    proptest! {
        #[test]
        fn any_payload_is_decoded_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            operation in prop_oneof![0u8..7, Just(0xad), Just(0xae)],
        ) {
            let mut plausible = bytes.clone();
            if plausible.len() > 8 {
                plausible[..8].copy_from_slice(&[operation, 0, 0, 0, 1, 2, 0, 0]);
            }
            for payload in [&bytes, &plausible] {
                if let Ok((instruction, capacity)) = decode_request(payload, 150) {
                    let again = request_bytes(&instruction, u32::try_from(capacity).unwrap());
                    // QCI names no queue, so its queue number is not kept.
                    if instruction != Instruction::Qci {
                        prop_assert_eq!(&again, payload);
                    }
                }
                for instruction in instructions(b"") {
                    let _outcome = decode_outcome(&instruction, payload, &mut [0; 64]);
                }
            }
        }
    }
}
