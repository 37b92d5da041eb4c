//! Orders as text: `05.0004 rc nqap 01 times 3`.
//!
//! ```text
//!   QUEUE FAULT LIMIT...
//!   QUEUE:  05.0004
//!   FAULT:  rc INSTRUCTION CODE | hang-reset | slow TIME | drop | corrupt AT HEX
//!           | truncate LENGTH | reply-code CODE | panic
//!   LIMIT:  once | times N | for TIME | until-cleared | by guest | by host
//! ```
//! Codes and bytes are hexadecimal, offsets, lengths and counts decimal. A fault without a limit hits
//! once; a hanging reset, which a count cannot end, lasts until it is cleared.

use std::fmt;
use std::num::NonZeroU32;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use arch::{Apqn, ResponseCode};
use cex::MAX_MESSAGE;

use super::fault::{Fault, FaultTarget, Mnemonic, Order, RequestFault};
use super::text::{parse_byte, parse_duration, parse_hex, write_duration};

/// Why a text orders no fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    /// The text ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The queue is not one.
    #[error("{0:?} is no queue number; one is written AA.DDDD in hexadecimal, as in 05.0004")]
    Queue(String),
    /// The fault is not one.
    #[error(
        "{0:?} is no fault; there are rc, hang-reset, slow, drop, corrupt, truncate, reply-code \
         and panic"
    )]
    Fault(String),
    /// The instruction is not one that names a queue.
    #[error("{0:?} is no instruction; there are tapq, rapq, zapq, aqic, qact, nqap and dqap")]
    Instruction(String),
    /// The code is not one.
    #[error("{0:?} is no code; one is written with one or two hexadecimal digits")]
    Code(String),
    /// Response code 00.
    #[error("response code 00 is no fault; drop loses a request that was accepted with 00")]
    NormalCode,
    /// The duration is not one.
    #[error("{0:?} is no time; one is written as in 250ms, 3s or 2m, up to a day")]
    Time(String),
    /// The offset or length is not one.
    #[error("{0:?} is no offset or length in a reply, 0 to {MAX_MESSAGE}")]
    Length(String),
    /// The bytes are not such.
    #[error("{0:?} is no row of bytes; one is an even number of hexadecimal digits")]
    Bytes(String),
    /// The bytes would stand behind the longest reply.
    #[error("a reply has at most {MAX_MESSAGE} bytes")]
    BehindTheEnd,
    /// The count is not one.
    #[error("{0:?} is no count, 1 to 4294967295")]
    Count(String),
    /// The limit is not one.
    #[error("{0:?} is no limit; there are once, times, for, until-cleared and by")]
    Limit(String),
    /// Nobody of that kind executes instructions.
    #[error("{0:?} executes no instructions; there are by guest and by host")]
    Target(String),
    /// Two limits of a kind.
    #[error("{0} is said twice or contradicts what was said before")]
    Twice(String),
    /// A count for a hanging reset.
    #[error("a hanging reset ends by a time or when it is cleared, not by a count")]
    CountedHang,
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let mut words = text.split_whitespace();
        let queue = words.next().ok_or(OrderError::Missing("the queue"))?;
        let apqn: Apqn = queue
            .parse()
            .map_err(|_| OrderError::Queue(queue.to_owned()))?;
        let fault = parse_fault(&mut words)?;
        let mut limits = Limits::default();
        while let Some(word) = words.next() {
            limits.add(word, &mut words)?;
        }
        let endless = limits.until_cleared || limits.duration.is_some();
        let times = match (&fault, limits.times) {
            (Fault::HangingReset, Some(_)) => return Err(OrderError::CountedHang),
            (Fault::HangingReset, None) => None,
            (_, None) if !endless => Some(NonZeroU32::MIN),
            (_, times) => times,
        };
        Ok(Self {
            apqn,
            fault,
            times,
            duration: limits.duration,
            target: limits.target.unwrap_or_default(),
        })
    }
}

fn parse_fault(words: &mut SplitWhitespace<'_>) -> Result<Fault, OrderError> {
    let word = words.next().ok_or(OrderError::Missing("the fault"))?;
    Ok(match word {
        "rc" => {
            let name = next(words, "the instruction")?;
            let instruction = Mnemonic::from_name(name)
                .ok_or_else(|| OrderError::Instruction(name.to_owned()))?;
            let code = ResponseCode(code(next(words, "the response code")?)?);
            if code == ResponseCode::NORMAL {
                return Err(OrderError::NormalCode);
            }
            Fault::ResponseCode { instruction, code }
        }
        "hang-reset" => Fault::HangingReset,
        "slow" => Fault::Request(RequestFault::Slow(duration(next(words, "the time")?)?)),
        "drop" => Fault::Request(RequestFault::Drop),
        "corrupt" => {
            let at = length(next(words, "the offset")?)?;
            let text = next(words, "the bytes")?;
            let bytes = parse_hex(text).ok_or_else(|| OrderError::Bytes(text.to_owned()))?;
            if at + bytes.len() > MAX_MESSAGE {
                return Err(OrderError::BehindTheEnd);
            }
            Fault::Request(RequestFault::Corrupt { at, bytes })
        }
        "truncate" => Fault::Request(RequestFault::Truncate(length(next(words, "the length")?)?)),
        "reply-code" => {
            let code = code(next(words, "the reply code")?)?;
            Fault::Request(RequestFault::ReplyCode(code))
        }
        "panic" => Fault::Request(RequestFault::Panic),
        other => return Err(OrderError::Fault(other.to_owned())),
    })
}

#[derive(Default)]
struct Limits {
    times: Option<NonZeroU32>,
    duration: Option<Duration>,
    until_cleared: bool,
    target: Option<FaultTarget>,
}

impl Limits {
    fn add(&mut self, word: &str, words: &mut SplitWhitespace<'_>) -> Result<(), OrderError> {
        let is_again = match word {
            "once" => self.times.replace(NonZeroU32::MIN).is_some() || self.until_cleared,
            "times" => {
                let text = next(words, "the count")?;
                let count = text
                    .parse()
                    .map_err(|_| OrderError::Count(text.to_owned()))?;
                self.times.replace(count).is_some() || self.until_cleared
            }
            "for" => {
                let time = duration(next(words, "the time")?)?;
                self.duration.replace(time).is_some() || self.until_cleared
            }
            "until-cleared" => {
                let is_limited = self.times.is_some() || self.duration.is_some();
                std::mem::replace(&mut self.until_cleared, true) || is_limited
            }
            "by" => {
                let target = match next(words, "guest or host")? {
                    "guest" => FaultTarget::Guest,
                    "host" => FaultTarget::Host,
                    other => return Err(OrderError::Target(other.to_owned())),
                };
                self.target.replace(target).is_some()
            }
            other => return Err(OrderError::Limit(other.to_owned())),
        };
        if is_again {
            return Err(OrderError::Twice(word.to_owned()));
        }
        Ok(())
    }
}

fn next<'t>(words: &mut SplitWhitespace<'t>, what: &'static str) -> Result<&'t str, OrderError> {
    words.next().ok_or(OrderError::Missing(what))
}

fn code(text: &str) -> Result<u8, OrderError> {
    parse_byte(text).ok_or_else(|| OrderError::Code(text.to_owned()))
}

fn duration(text: &str) -> Result<Duration, OrderError> {
    parse_duration(text).ok_or_else(|| OrderError::Time(text.to_owned()))
}

fn length(text: &str) -> Result<usize, OrderError> {
    text.parse()
        .ok()
        .filter(|length| *length <= MAX_MESSAGE && !text.starts_with('+'))
        .ok_or_else(|| OrderError::Length(text.to_owned()))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResponseCode { instruction, code } => {
                write!(f, "rc {} {:02x}", instruction.name(), code.0)
            }
            Self::HangingReset => f.write_str("hang-reset"),
            Self::Request(RequestFault::Slow(time)) => {
                f.write_str("slow ")?;
                write_duration(f, *time)
            }
            Self::Request(RequestFault::Drop) => f.write_str("drop"),
            Self::Request(RequestFault::Corrupt { at, bytes }) => {
                write!(f, "corrupt {at} ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Request(RequestFault::Truncate(length)) => write!(f, "truncate {length}"),
            Self::Request(RequestFault::ReplyCode(code)) => write!(f, "reply-code {code:02x}"),
            Self::Request(RequestFault::Panic) => f.write_str("panic"),
        }
    }
}

/// The order as it can be given again.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.apqn, self.fault)?;
        match self.times.map(NonZeroU32::get) {
            Some(1) => f.write_str(" once")?,
            Some(times) => write!(f, " times {times}")?,
            None if self.duration.is_none() => f.write_str(" until-cleared")?,
            None => {}
        }
        if let Some(duration) = self.duration {
            f.write_str(" for ")?;
            write_duration(f, duration)?;
        }
        f.write_str(match self.target {
            FaultTarget::Anybody => "",
            FaultTarget::Guest => " by guest",
            FaultTarget::Host => " by host",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_are_read_and_written() {
        for (text, full) in [
            ("05.0004 rc nqap 01", "05.0004 rc nqap 01 once"),
            (
                "05.0004  rc tapq 4 times 3 by guest",
                "05.0004 rc tapq 04 times 3 by guest",
            ),
            ("05.00AB hang-reset", "05.00ab hang-reset until-cleared"),
            ("05.0004 hang-reset for 3000ms", "05.0004 hang-reset for 3s"),
            (
                "05.0004 slow 120s until-cleared",
                "05.0004 slow 2m until-cleared",
            ),
            ("05.0004 drop by host", "05.0004 drop once by host"),
            (
                "05.0004 corrupt 1 86FF times 2 for 1m",
                "05.0004 corrupt 1 86ff times 2 for 1m",
            ),
            ("05.0004 truncate 8", "05.0004 truncate 8 once"),
            ("05.0004 reply-code 10", "05.0004 reply-code 10 once"),
            ("05.0004 panic", "05.0004 panic once"),
        ] {
            let order: Order = text.parse().unwrap();
            assert_eq!(order.to_string(), full);
            assert_eq!(full.parse(), Ok(order));
        }
    }

    #[test]
    fn wrong_orders_are_refused_by_their_word() {
        for (text, says) in [
            ("", "the queue is missing"),
            ("5.4 drop", "\"5.4\" is no queue number"),
            ("05.0004", "the fault is missing"),
            ("05.0004 explode", "\"explode\" is no fault"),
            ("05.0004 rc qci 01", "\"qci\" is no instruction"),
            ("05.0004 rc nqap", "the response code is missing"),
            ("05.0004 rc nqap 100", "\"100\" is no code"),
            ("05.0004 rc nqap 00", "response code 00 is no fault"),
            ("05.0004 slow soon", "\"soon\" is no time"),
            ("05.0004 corrupt -1 00", "\"-1\" is no offset"),
            ("05.0004 corrupt 0 123", "\"123\" is no row of bytes"),
            ("05.0004 corrupt 8192 00", "at most 8192"),
            ("05.0004 truncate 8193", "\"8193\" is no offset"),
            ("05.0004 drop times 0", "\"0\" is no count"),
            ("05.0004 drop often", "\"often\" is no limit"),
            ("05.0004 drop by me", "\"me\" executes no instructions"),
            ("05.0004 drop once times 2", "times is said twice"),
            ("05.0004 drop until-cleared once", "once is said twice"),
            ("05.0004 drop for 1s for 2s", "for is said twice"),
            ("05.0004 hang-reset once", "not by a count"),
        ] {
            let error = text.parse::<Order>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_order_or_an_error(text in "(05.0004 )?(rc |nqap |slow |drop |corrupt |for |times |[0-9a-f]{1,4} |1s |.){0,8}") {
            if let Ok(order) = text.parse::<Order>() {
                prop_assert_eq!(order.to_string().parse::<Order>(), Ok(order));
            }
        }
    }
}
