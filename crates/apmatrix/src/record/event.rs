//! One executed instruction as the bytes of a recorded packet.
//!
//! ```text
//!   0  version, 1                    8  length of the AP_EXEC request, u32
//!   1  flags: 1 request redacted,   12  the AP_EXEC request with its message
//!             2 reply redacted       .  the AP_EXEC reply with its data, to the end
//!   2  zeros
//!   4  nanoseconds it took, u32, at most 2^32 - 1
//! ```
//! Numbers are little-endian, as on the device channel, whose two structures these are
//! (`docs/protocol.md`). Redacted bytes are zero; lengths stay.

use std::time::Duration;

use arch::{Instruction, Outcome};
use device::exec::{decode_outcome, decode_request, encode_outcome, encode_request};
use device::message::HIGHEST_MAX_MESSAGE;
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const REQUEST_REDACTED: u8 = 1;
const REPLY_REDACTED: u8 = 2;
const HEADER: usize = 12;

/// What of the messages is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Secrets {
    /// Headers only.
    Redacted,
    /// Everything.
    Included,
}

/// What a session knows about an instruction that it executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces<'p> {
    /// The instruction.
    pub(crate) instruction: &'p Instruction<'p>,
    /// Its outcome.
    pub(crate) outcome: &'p Outcome,
    /// The buffer of DQAP, filled.
    pub(crate) buffer: &'p [u8],
    /// Whether the data of DQAP continues a reply, so that it begins with no header.
    pub(crate) continues: bool,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Pieces<'_> {
    /// The packet. It may hold secrets: it is erased in the end.
    pub(crate) fn encode(&self, secrets: Secrets) -> Zeroizing<Vec<u8>> {
        let capacity = self.buffer.len();
        let (request, message) = encode_request(
            self.instruction,
            u32::try_from(capacity).unwrap_or(u32::MAX),
        );
        let (reply, block) = encode_outcome(self.outcome, capacity);
        let data = &self.buffer[..match self.outcome {
            Outcome::Dqap(dequeued) => dequeued.stored.min(capacity),
            _ => 0,
        }];
        let redacts = secrets == Secrets::Redacted;
        let shown_message = if redacts {
            cex::redact::request(message)
        } else {
            message.len()
        };
        let shown_data = match (redacts, self.continues) {
            (false, _) => data.len(),
            (true, true) => 0,
            (true, false) => cex::redact::reply(data),
        };
        let mut flags = 0;
        if shown_message < message.len() {
            flags |= REQUEST_REDACTED;
        }
        if shown_data < data.len() {
            flags |= REPLY_REDACTED;
        }
        let request_length = request.as_bytes().len() + message.len();
        let took = u32::try_from(self.took.as_nanos()).unwrap_or(u32::MAX);
        // Never grown, so that no part stays behind.
        let mut packet = Zeroizing::new(Vec::with_capacity(
            HEADER + request_length + 24 + 128 + data.len(),
        ));
        packet.extend([VERSION, flags, 0, 0]);
        packet.extend(took.to_le_bytes());
        packet.extend(
            u32::try_from(request_length)
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        packet.extend(request.as_bytes());
        extend_cut(&mut packet, message, shown_message);
        packet.extend(reply.as_bytes());
        packet.extend(block.iter().flatten());
        extend_cut(&mut packet, data, shown_data);
        packet
    }
}

/// Appends `bytes`, those behind the first `shown` as zeros.
fn extend_cut(packet: &mut Vec<u8>, bytes: &[u8], shown: usize) {
    packet.extend(&bytes[..shown]);
    packet.resize(packet.len() + bytes.len() - shown, 0);
}

/// One instruction of a recording.
#[derive(Clone, PartialEq, Eq)]
pub struct Event<'f> {
    /// When it was executed, since 1970.
    pub at: Duration,
    /// How long it took, at most about 4.3 s.
    pub took: Duration,
    /// Instructions before it that the recorder lost.
    pub dropped: u64,
    /// The instruction with the message of NQAP.
    pub instruction: Instruction<'f>,
    /// Bytes of DQAP's buffer.
    pub capacity: usize,
    /// Its outcome.
    pub outcome: Outcome,
    /// What DQAP stored.
    pub reply: &'f [u8],
    /// Whether the message of NQAP is its header alone.
    pub request_redacted: bool,
    /// Whether the reply is its header alone.
    pub reply_redacted: bool,
}

impl<'f> Event<'f> {
    /// The packet decoded; `None` when it is not one of ours.
    pub(super) fn decode(at: Duration, dropped: u64, packet: &'f [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        let [version, flags, 0, 0, t0, t1, t2, t3, l0, l1, l2, l3] = *header else {
            return None;
        };
        if version != VERSION || flags & !(REQUEST_REDACTED | REPLY_REDACTED) != 0 {
            return None;
        }
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let (request, answer) = rest.split_at_checked(length)?;
        let (instruction, capacity) = decode_request(request, HIGHEST_MAX_MESSAGE).ok()?;
        // DQAP's data stands at the end of its answer; the copy checks its length.
        let mut data = vec![0; answer.len().min(capacity)];
        let outcome = decode_outcome(&instruction, answer, &mut data).ok()?;
        let stored = match outcome {
            Outcome::Dqap(dequeued) => dequeued.stored,
            _ => 0,
        };
        Some(Self {
            at,
            took: Duration::from_nanos(u32::from_le_bytes([t0, t1, t2, t3]).into()),
            dropped,
            instruction,
            capacity,
            outcome,
            reply: answer.get(answer.len().checked_sub(stored)?..)?,
            request_redacted: flags & REQUEST_REDACTED != 0,
            reply_redacted: flags & REPLY_REDACTED != 0,
        })
    }
}

/// A recording may hold secrets: lengths only.
impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("at", &self.at)
            .field("apqn", &self.instruction.apqn())
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
