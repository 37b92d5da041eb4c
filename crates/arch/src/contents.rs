//! What a queue holds, and what follows from it for the status word: one computation for every place that
//! answers for a queue, be it the queue itself or the guest's end of a ring.

use crate::status::{QueueStatus, ResponseCode, StatusFlags};
use crate::tapq::HwInfo;

/// The contents of a queue at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// Requests that wait or are worked on, and replies that were not read completely.
    pub held: usize,
    /// Of these, replies.
    pub replies: usize,
    /// Whether the guest has enabled adapter interruptions.
    pub interrupts: bool,
}

impl Contents {
    /// The status word (card spec 1.1).
    #[must_use]
    pub fn status(&self, info: HwInfo, code: ResponseCode) -> QueueStatus {
        let mut flags = StatusFlags::empty();
        flags.set(StatusFlags::EMPTY, self.held == 0);
        flags.set(StatusFlags::REPLIES, self.replies != 0);
        flags.set(StatusFlags::FULL, self.held >= info.depth());
        flags.set(StatusFlags::INTERRUPTS, self.interrupts);
        QueueStatus::new(code, flags)
    }

    /// What NQAP of a message of `length` bytes answers, before it changes anything: 00, 10 or 15.
    #[must_use]
    pub const fn admits(&self, info: HwInfo, length: usize) -> ResponseCode {
        if length > info.max_message_size() {
            ResponseCode::MESSAGE_TOO_BIG
        } else if self.held >= info.depth() {
            ResponseCode::FULL_OR_NO_REPLY
        } else {
            ResponseCode::NORMAL
        }
    }
}

/// What one DQAP delivers of a reply of `length` bytes of which `read` were delivered before: bytes
/// stored into a buffer of `capacity`, and bytes left for the next DQAP.
#[must_use]
pub const fn deliver(length: usize, read: usize, capacity: usize) -> (usize, usize) {
    let rest = length.saturating_sub(read);
    let stored = if rest < capacity { rest } else { capacity };
    (stored, rest - stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tapq::ApType;

    const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 7);

    fn word(held: usize, replies: usize, interrupts: bool) -> u64 {
        let contents = Contents {
            held,
            replies,
            interrupts,
        };
        contents.status(INFO, ResponseCode::NORMAL).to_gr1()
    }

    #[test]
    fn flags_follow_from_what_is_held() {
        assert_eq!(word(0, 0, false), 0x8000_0000);
        assert_eq!(word(1, 0, true), 0x0100_0000);
        assert_eq!(word(8, 1, false), 0x6000_0000);
        let mut contents = Contents {
            held: 8,
            ..Contents::default()
        };
        let admits = |contents: Contents, length| contents.admits(INFO, length).0;
        assert_eq!(admits(contents, 12 * 1024 + 1), 0x15);
        assert_eq!(admits(contents, 1), 0x10);
        contents.held = 7;
        assert_eq!(admits(contents, 12 * 1024), 0);
    }

    #[test]
    fn a_reply_is_delivered_in_parts() {
        assert_eq!(deliver(10, 0, 4), (4, 6));
        assert_eq!(deliver(10, 4, 100), (6, 0));
        assert_eq!(deliver(10, 11, 100), (0, 0));
    }
}
