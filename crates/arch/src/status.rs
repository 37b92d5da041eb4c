//! The AP queue status word and response codes (spec 1.7 and 1.8).

use core::fmt;

use bitflags::bitflags;

bitflags! {
    /// The flags of the status word, as they stand in the low 32 bits of GR1.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct StatusFlags: u32 {
        /// E: the queue holds neither requests nor replies.
        const EMPTY = 0x8000_0000;
        /// R: a reply is waiting.
        const REPLIES = 0x4000_0000;
        /// F: the queue takes no more requests.
        const FULL = 0x2000_0000;
        /// A: the response code reports an asynchronous error.
        const ASYNC = 0x0200_0000;
        /// I: interrupts are enabled for the queue.
        const INTERRUPTS = 0x0100_0000;
    }
}

macro_rules! response_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// What became of an AP instruction: byte 1 of the status word.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct ResponseCode(pub u8);

        impl ResponseCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The code in words; `reserved` for a number without a meaning.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    _ => "reserved",
                }
            }
        }
    };
}

response_codes! {
    /// Normal completion.
    NORMAL = 0x00, "normal";
    /// The APQN is not valid or not accessible.
    NOT_AVAILABLE = 0x01, "queue not available";
    /// A reset is in progress.
    RESET_IN_PROGRESS = 0x02, "reset in progress";
    /// The adapter is deconfigured.
    DECONFIGURED = 0x03, "deconfigured";
    /// The adapter is check-stopped.
    CHECKSTOPPED = 0x04, "check-stopped";
    /// The queue is busy.
    BUSY = 0x05, "busy";
    /// AQIC: the notification byte cannot be used.
    INVALID_ADDRESS = 0x06, "invalid address";
    /// AQIC: the interrupt state is already as asked, or cannot change now.
    OTHERWISE_CHANGED = 0x07, "otherwise changed";
    /// AQIC: the GISA cannot be used.
    INVALID_GISA = 0x08, "invalid GISA";
    /// Secure execution: the queue is bound to another guest.
    BOUND_TO_ANOTHER = 0x09, "bound to another";
    /// A state change is in progress.
    STATE_CHANGE = 0x0a, "state change in progress";
    /// Secure execution: the queue is not bound.
    NOT_BOUND = 0x0b, "queue not bound";
    /// NQAP: the queue is full. DQAP: no reply is pending.
    FULL_OR_NO_REPLY = 0x10, "queue full or no reply pending";
    /// The index is too big.
    INDEX_TOO_BIG = 0x11, "index too big";
    /// DQAP: no first part.
    NO_FIRST_PART = 0x13, "no first part";
    /// NQAP: the message is too big.
    MESSAGE_TOO_BIG = 0x15, "message too big";
    /// NQAP: a required facility is not installed.
    FACILITY_MISSING = 0x16, "required facility not installed";
    /// Secure execution, asynchronous: the association secret is not unique.
    SECRET_NOT_UNIQUE = 0x35, "association secret not unique";
    /// Secure execution, asynchronous: the association failed.
    ASSOCIATION_FAILED = 0x36, "association failed";
    /// NQAP: the command addressed a domain that is not permitted.
    INVALID_DOMAIN = 0x42, "invalid domain";
}

impl ResponseCode {
    /// Whether TAPQ delivers valid hardware information with this code, that is whether the queue
    /// exists (spec 1.8).
    #[must_use]
    pub const fn queue_exists(self) -> bool {
        matches!(self.0, 0x00 | 0x02..=0x05)
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x} ({})", self.0, self.meaning())
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The status word that PQAP, NQAP and DQAP leave in GR1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueStatus {
    /// State of the queue after the instruction.
    pub flags: StatusFlags,
    /// What became of the instruction.
    pub code: ResponseCode,
}

impl QueueStatus {
    /// A status with the given code and flags.
    #[must_use]
    pub const fn new(code: ResponseCode, flags: StatusFlags) -> Self {
        Self { flags, code }
    }

    /// A status that has no queue behind it: the code alone.
    #[must_use]
    pub const fn code_only(code: ResponseCode) -> Self {
        Self::new(code, StatusFlags::empty())
    }

    /// GR1 of the result, zero-extended to 64 bits.
    #[must_use]
    pub fn to_gr1(self) -> u64 {
        u64::from(self.flags.bits()) | u64::from(self.code.0) << 16
    }

    /// The status in a GR1; reserved bits are dropped.
    #[must_use]
    pub const fn from_gr1(gr1: u64) -> Self {
        let [_, _, _, _, flags, code, ..] = gr1.to_be_bytes();
        Self {
            flags: StatusFlags::from_bits_truncate((flags as u32) << 24),
            code: ResponseCode(code),
        }
    }

    /// The condition code: 0 for a normal completion, else 3 (spec 1.6).
    #[must_use]
    pub const fn condition_code(self) -> u8 {
        if self.code.0 == 0 { 0 } else { 3 }
    }

    /// Whether TAPQ information that came with this status describes a queue: the code says so, or
    /// the code is an asynchronous one.
    #[must_use]
    pub const fn queue_exists(self) -> bool {
        self.code.queue_exists() || self.flags.contains(StatusFlags::ASYNC)
    }
}

impl fmt::Debug for QueueStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x} rc {}", self.to_gr1(), self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_of_an_empty_queue() {
        let status = QueueStatus::new(ResponseCode::NORMAL, StatusFlags::EMPTY);
        assert_eq!(status.to_gr1(), 0x8000_0000);
        assert_eq!(status.condition_code(), 0);
        let absent = QueueStatus::code_only(ResponseCode::NOT_AVAILABLE);
        assert_eq!((absent.to_gr1(), absent.condition_code()), (0x0001_0000, 3));
    }

    proptest! {
        #[test]
        fn status_words_round_trip(flags: u32, code: u8) {
            let flags = StatusFlags::from_bits_truncate(flags);
            let status = QueueStatus::new(ResponseCode(code), flags);
            prop_assert_eq!(QueueStatus::from_gr1(status.to_gr1()), status);
        }
    }
}
