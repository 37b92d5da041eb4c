//! Bytes that a VMM sends through a device channel, and those that a daemon answers.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use arch::instruction::Dequeued;
use arch::{Apcb, CrycbFormat, Errno, Facilities, Instruction, Outcome, QciBlock, QueueStatus};
use device::exec::{decode_outcome, decode_request, encode_outcome, encode_request};
use device::irq::check_set_irqs;
use device::message::{Command, DEFAULT_MAX_MESSAGE, Header, MINOR, SetIrqs, VersionHead};
use device::version::OpenReply;
use device::{ApcbView, DeviceBackend, DeviceSession, Grant, Limits, OpenRequest, serve};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of guest buffers in [`outcomes`].
const BUFFER: usize = 4096;

/// A header, `SET_IRQS` and the payload of `AP_EXEC`: what decodes encodes to the same bytes.
pub fn frames(bytes: &[u8]) {
    if let Ok((header, _)) = Header::read_from_prefix(bytes) {
        let payload = header.payload_len(BUFFER);
        assert!(payload.is_none_or(|payload| payload <= BUFFER));
        assert!(
            header
                .known_flags()
                .is_none_or(|flags| flags.bits() == header.flags.get())
        );
    }
    if let Ok((irqs, rest)) = SetIrqs::read_from_prefix(bytes) {
        let index = check_set_irqs(&irqs, rest.len() % 3);
        assert!(index.is_err() || irqs.index.get() < 2);
    }
    if let Ok((instruction, capacity)) = decode_request(bytes, DEFAULT_MAX_MESSAGE) {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        let (request, data) = encode_request(&instruction, capacity);
        // The queue of an instruction that names none is not kept.
        if instruction.apqn().is_some() {
            assert_eq!([request.as_bytes(), data].concat(), bytes);
        }
    }
}

/// A reply to `AP_EXEC` as a client reads it; the first byte chooses the instruction.
pub fn outcomes(bytes: &[u8]) {
    let Some((choice, reply)) = bytes.split_first() else {
        return;
    };
    let apqn = arch::Apqn::new(5, 0xab);
    let message: &[u8] = &[];
    let instruction = match choice % 7 {
        0 => Instruction::Tapq {
            apqn,
            facilities: true,
        },
        1 => Instruction::Rapq { apqn, force: false },
        2 => Instruction::Qci,
        3 => Instruction::Qact { apqn, info: 7 },
        4 => Instruction::Nqap {
            apqn,
            psmid: 1,
            special: false,
            message,
        },
        5 => Instruction::Zapq { apqn, force: true },
        _ => Instruction::Dqap { apqn },
    };
    let mut buffer = [0u8; BUFFER];
    if let Ok(outcome) = decode_outcome(&instruction, reply, &mut buffer) {
        if let Outcome::Dqap(Dequeued { stored, .. }) = &outcome {
            assert!(*stored <= BUFFER);
        }
        let (head, block) = encode_outcome(&outcome, BUFFER);
        let data = match (&outcome, &block) {
            (Outcome::Dqap(dequeued), _) => &buffer[..dequeued.stored],
            (_, Some(block)) => &block[..],
            _ => &[],
        };
        // What a daemon would have sent for it decodes to the same.
        let sent = [head.as_bytes(), data].concat();
        let again = decode_outcome(&instruction, &sent, &mut [0u8; BUFFER]);
        assert_eq!(again, Ok(outcome));
    }
}

/// The JSON of VERSION, of either side: what is read, printed and read again is the same.
pub fn versions(text: &[u8]) {
    let printed = |text: String| [text.as_bytes(), &[0]].concat();
    if let Ok(request) = OpenRequest::from_json(text) {
        let again = OpenRequest::from_json(&printed(request.to_json()));
        assert_eq!(again, Ok(request));
    }
    if let Ok(reply) = OpenReply::from_json(text) {
        let again = OpenReply::from_json(&printed(reply.to_json()));
        assert_eq!(again, Ok(reply));
    }
}

/// Longer inputs are cut, so that all replies fit into the socket: nobody reads them.
const MAX_SESSION: usize = 4096;

/// A whole session: everything that a peer sends before it closes. The first byte says whether a
/// well-formed VERSION goes in front.
///
/// # Panics
/// When the system has no sockets left.
pub fn sessions(bytes: &[u8]) {
    let Some((choice, stream)) = bytes.split_first() else {
        return;
    };
    let stream = &stream[..stream.len().min(MAX_SESSION)];
    let (mut peer, ours) = UnixStream::pair().expect("two descriptors");
    if choice % 2 == 0 {
        peer.write_all(&version()).expect("there is room");
    }
    peer.write_all(stream).expect("there is room");
    peer.shutdown(Shutdown::Write).expect("it is connected");
    let _end = serve(ours, &Card, &Limits::default());
}

fn version() -> Vec<u8> {
    let request = OpenRequest {
        vm: "fuzz".parse().expect("a plain word"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let head = VersionHead {
        minor: MINOR.into(),
        ..VersionHead::default()
    };
    let payload = [head.as_bytes(), request.to_json().as_bytes(), &[0]].concat();
    let length = u32::try_from(payload.len()).expect("a short text");
    let header = Header::command(1, Command::Version, length);
    [header.as_bytes(), &payload].concat()
}

/// A card that answers every instruction with status 0 and no data.
struct Card;

impl DeviceBackend for Card {
    type Session = Self;

    fn open(&self, _: &OpenRequest) -> Result<Self, Errno> {
        Ok(Self)
    }
}

impl DeviceSession for Card {
    fn grant(&self) -> Grant {
        Grant {
            facilities: Facilities::APFT | Facilities::APQCI,
            crycb_format: CrycbFormat::Format2,
            apxa: true,
        }
    }

    fn execute(&mut self, instruction: &Instruction<'_>, _: &mut [u8]) -> Outcome {
        let status = QueueStatus::from_gr1(0);
        match instruction {
            Instruction::Tapq { .. } => Outcome::Tapq {
                status,
                info: arch::HwInfo(0),
            },
            Instruction::Qact { info, .. } => Outcome::Qact {
                status,
                info: *info,
            },
            Instruction::Qci => Outcome::Qci(QciBlock::EMPTY),
            Instruction::Dqap { .. } => Outcome::Dqap(Dequeued {
                status,
                psmid: 0,
                stored: 0,
                residual: 0,
            }),
            Instruction::Rapq { .. }
            | Instruction::Zapq { .. }
            | Instruction::Aqic { .. }
            | Instruction::Nqap { .. } => Outcome::Status(status),
        }
    }

    fn apcb(&self) -> ApcbView {
        ApcbView {
            generation: 0,
            apcb: Apcb::EMPTY,
            qci: QciBlock::EMPTY,
        }
    }

    fn reset(&mut self) -> Option<Result<(), Errno>> {
        Some(Ok(()))
    }
}
