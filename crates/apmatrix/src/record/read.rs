//! Reading a recording: a pure function of bytes that nobody vouches for.

use std::time::Duration;

use super::event::Event;
use super::pcapng::{
    BYTE_ORDER, DESCRIPTION, EPB_DROPCOUNT, IF_DESCRIPTION, IF_NAME, IF_TSRESOL, INCLUDED,
    INTERFACE, ISB_IFDROP, LINK_USER0, NANOSECONDS, PACKET, SECTION, STATISTICS,
};

/// A recording, as far as the file goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recording<'f> {
    /// The mediated device.
    pub mdev: String,
    /// Whether the messages are there with their secrets.
    pub has_secrets: bool,
    /// The instructions in the order of their ends.
    pub events: Vec<Event<'f>>,
    /// Instructions that the recorder lost.
    pub dropped: u64,
    /// Whether the recorder ended in order: the file has its last block.
    pub is_complete: bool,
}

/// Why a file is no recording. `at` is an offset in bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It does not begin as one.
    #[error("the file is no pcap-ng file")]
    NotPcapng,
    /// It was written on a big-endian machine.
    #[error("the file is in big-endian byte order; recordings are little-endian")]
    BigEndian,
    /// It holds something else.
    #[error("at byte {at}: the interface is not that of a recording of AP instructions")]
    Interface {
        /// Where.
        at: usize,
    },
    /// Lengths contradict each other.
    #[error("at byte {at}: the block's lengths are wrong")]
    Block {
        /// Where.
        at: usize,
    },
    /// A packet is not of the form that this version knows.
    #[error("at byte {at}: the packet is not one of a recording of version 1")]
    Packet {
        /// Where.
        at: usize,
    },
}

/// The recording in the bytes of a file. Unknown blocks are passed over; a file that ends within a
/// block has been cut, and what is before is good.
///
/// # Errors
/// It is no recording, or is damaged.
pub fn read(file: &[u8]) -> Result<Recording<'_>, RecordError> {
    let mut recording = Recording::default();
    let mut has_interface = false;
    let mut at = 0;
    while let Some(block) = Block::at(file, at)? {
        let fail = || RecordError::Block { at };
        match block.kind {
            SECTION if at > 0 => return Err(fail()),
            SECTION => {}
            _ if at == 0 => return Err(RecordError::NotPcapng),
            INTERFACE if !has_interface => {
                interface(block.body, &mut recording).ok_or(RecordError::Interface { at })?;
                has_interface = true;
            }
            INTERFACE => return Err(RecordError::Interface { at }),
            PACKET if !has_interface => return Err(RecordError::Interface { at }),
            PACKET => {
                let (head, rest) = block.body.split_first_chunk::<20>().ok_or_else(fail)?;
                let length = number(&head[12..16]).ok_or_else(fail)?;
                let packet = rest.get(..length).ok_or_else(fail)?;
                let options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                let dropped = count(options, EPB_DROPCOUNT);
                recording.dropped = recording.dropped.saturating_add(dropped);
                let event = Event::decode(time(&head[4..12]), dropped, packet)
                    .ok_or(RecordError::Packet { at })?;
                recording.events.push(event);
            }
            STATISTICS => {
                let options = block.body.get(12..).ok_or_else(fail)?;
                recording.dropped = recording.dropped.max(count(options, ISB_IFDROP));
                recording.is_complete = true;
            }
            _ => {}
        }
        at += block.body.len() + 12;
    }
    if at == 0 {
        return Err(RecordError::NotPcapng);
    }
    Ok(recording)
}

struct Block<'f> {
    kind: u32,
    body: &'f [u8],
}

impl<'f> Block<'f> {
    /// The block at an offset; `None` at the end of the file, also when that is within the block.
    fn at(file: &'f [u8], at: usize) -> Result<Option<Self>, RecordError> {
        let Some((&[k0, k1, k2, k3, rest @ ..], after)) = file[at..].split_first_chunk::<8>()
        else {
            return Ok(None);
        };
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        if at == 0 {
            let order = after.first_chunk().copied().map(u32::from_le_bytes);
            match order {
                _ if kind != SECTION => return Err(RecordError::NotPcapng),
                Some(BYTE_ORDER) => {}
                Some(order) if order.swap_bytes() == BYTE_ORDER => {
                    return Err(RecordError::BigEndian);
                }
                Some(_) | None => return Err(RecordError::NotPcapng),
            }
        }
        let fail = RecordError::Block { at };
        let length = usize::try_from(u32::from_le_bytes(rest)).map_err(|_| fail.clone())?;
        if length < 12 || length % 4 != 0 {
            return Err(fail);
        }
        let Some(body) = after.get(..length - 12) else {
            return Ok(None);
        };
        match after[length - 12..].first_chunk() {
            None => Ok(None),
            Some(again) if *again == rest => Ok(Some(Self { kind, body })),
            Some(_) => Err(fail),
        }
    }
}

fn interface(body: &[u8], recording: &mut Recording<'_>) -> Option<()> {
    let (head, options) = body.split_first_chunk::<8>()?;
    let text = |code| {
        let (_, value) = self::options(options).find(|(found, _)| *found == code)?;
        std::str::from_utf8(value).ok()
    };
    let of_secrets = text(IF_DESCRIPTION)?.strip_prefix(DESCRIPTION)?;
    let resolution = self::options(options).find(|(found, _)| *found == IF_TSRESOL);
    if head[..2] != LINK_USER0.to_le_bytes() || resolution != Some((IF_TSRESOL, &[NANOSECONDS])) {
        return None;
    }
    // It is printed: no control characters from a file.
    recording.mdev = text(IF_NAME)?.chars().filter(|c| !c.is_control()).collect();
    recording.has_secrets = of_secrets == INCLUDED;
    Some(())
}

/// The options of a block, up to the first that is not whole.
fn options(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&[c0, c1, l0, l1], after) = rest.split_first_chunk()?;
        let (code, length) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([l0, l1]));
        let length = usize::from(length);
        let value = after.get(..length).filter(|_| code != 0)?;
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

/// An option that is a count; 0 if it is not there.
fn count(bytes: &[u8], code: u16) -> u64 {
    options(bytes)
        .find(|(found, _)| *found == code)
        .and_then(|(_, value)| value.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// High and low half of the nanoseconds since 1970.
fn time(halves: &[u8]) -> Duration {
    let half = |at: usize| {
        let bytes = halves
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        u64::from(bytes.map_or(0, u32::from_le_bytes))
    };
    Duration::from_nanos(half(0) << 32 | half(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event::{Pieces, Secrets};
    use crate::record::pcapng::Writer;
    use arch::instruction::Dequeued;
    use arch::status::StatusFlags;
    use arch::{Apqn, Instruction, Outcome, QueueStatus, ResponseCode};
    use proptest::prelude::*;

    const MDEV: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";

    /// A recording of one request and its reply, with 3 drops between them.
    fn file(secrets: Secrets) -> Vec<u8> {
        let apqn = Apqn::new(5, 4);
        let status = QueueStatus::new(ResponseCode::NORMAL, StatusFlags::EMPTY);
        let message = [[0, 0x50].as_slice(), &[0xaa; 30]].concat();
        let nqap = Instruction::Nqap {
            apqn,
            psmid: 7,
            special: false,
            message: &message,
        };
        let reply = [[0, 0x80].as_slice(), &[0xbb; 21]].concat();
        let dequeued = Outcome::Dqap(Dequeued {
            status,
            psmid: 7,
            stored: reply.len(),
            residual: 0,
        });
        let mut writer = Writer::default();
        let mut file = Writer::head(MDEV, secrets);
        let pieces = |instruction, outcome, buffer| {
            Pieces {
                instruction,
                outcome,
                buffer,
                continues: false,
                took: Duration::from_micros(3),
            }
            .encode(secrets)
        };
        let accepted = Outcome::Status(status);
        let first = pieces(&nqap, &accepted, &[]);
        file.extend(
            writer
                .packet(Duration::from_nanos(1 << 33 | 5), 0, &first)
                .iter(),
        );
        let second = pieces(&Instruction::Dqap { apqn }, &dequeued, &reply);
        file.extend(writer.packet(Duration::from_secs(9), 3, &second).iter());
        file.extend(writer.tail(Duration::from_secs(10), 4));
        file
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = file(Secrets::Included);
        let recording = read(&bytes).unwrap();
        assert_eq!((recording.mdev.as_str(), recording.dropped), (MDEV, 4));
        assert!(recording.has_secrets && recording.is_complete);
        let [nqap, dqap] = &recording.events[..] else {
            panic!("{recording:?}");
        };
        assert_eq!(nqap.at, Duration::from_nanos(1 << 33 | 5));
        assert!(
            matches!(nqap.instruction, Instruction::Nqap { psmid: 7, message, .. }
            if message.len() == 32 && message[2..].iter().all(|byte| *byte == 0xaa))
        );
        assert_eq!((dqap.dropped, dqap.reply.len()), (3, 23));
        assert!(!dqap.reply_redacted && !nqap.request_redacted);
    }

    #[test]
    fn redacted_bytes_are_nowhere_in_the_file() {
        let bytes = file(Secrets::Redacted);
        let recording = read(&bytes).unwrap();
        assert!(!recording.has_secrets);
        assert!(recording.events[0].request_redacted && recording.events[1].reply_redacted);
        let secret = bytes.iter().filter(|byte| **byte == 0xaa || **byte == 0xbb);
        assert_eq!(secret.count(), 14 + 14, "the headers alone");
    }

    #[test]
    fn a_file_that_was_cut_is_good_up_to_there() {
        let bytes = file(Secrets::Included);
        let mut seen = 0;
        for end in 12..bytes.len() {
            let recording = read(&bytes[..end]).unwrap_or_default();
            assert!(recording.events.len() >= seen && !recording.is_complete);
            seen = recording.events.len();
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(read(b""), Err(RecordError::NotPcapng));
        assert_eq!(read(b"GIF89a and more of it"), Err(RecordError::NotPcapng));
        let mut bytes = file(Secrets::Included);
        bytes[8..12].reverse();
        assert_eq!(read(&bytes), Err(RecordError::BigEndian));
        let mut bytes = file(Secrets::Included);
        bytes[4] += 1;
        assert_eq!(read(&bytes), Err(RecordError::Block { at: 0 }));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = file(Secrets::Included);
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(recording) = read(&bytes) {
                prop_assert!(recording.events.len() <= 2);
            }
        }
    }
}
