//! The rows of the table: faults, and what Linux 6.12 does on each.

use std::fmt;
use std::time::Duration;

/// How one request ends for the program that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    /// With the right result, without anybody's help.
    Well,
    /// With this error at once.
    With(&'static str),
    /// Not before the next scan of the AP bus, then well.
    AtScan,
    /// Not before another request comes, then well.
    AtNextRequest,
    /// Not before this time has passed, then well.
    After(Duration),
    /// Not before the fault is cleared, then well.
    WhenCleared,
    /// Not before the operator has ended the check-stop and the bus was scanned, then well.
    WhenRecovered,
    /// Without an error, with a wrong result.
    Wrong,
}

/// One fault and what Linux does on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The fault without its queue.
    pub(super) fault: &'static str,
    pub(super) ends: Ends,
    /// How often one request meets the fault.
    pub(super) hits: u64,
    /// `online` of the queue afterwards.
    pub(super) online: bool,
    /// Why.
    pub(super) reason: &'static str,
}

pub(super) const ROWS: &[Row] = &[
    row(
        "rc nqap 01 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc nqap 02 once",
        Ends::Well,
        1,
        true,
        "the reset is waited for, then the request is sent",
    ),
    row(
        "rc nqap 03 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc nqap 04 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc nqap 05 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc nqap 10 once",
        Ends::AtNextRequest,
        1,
        true,
        "the queue counts as full; with nothing outstanding only another request makes Linux look again",
    ),
    row(
        "rc nqap 15 once",
        Ends::With("EINVAL"),
        1,
        true,
        "this request is invalid, the queue goes on",
    ),
    row(
        "rc nqap 16 once",
        Ends::With("EINVAL"),
        1,
        true,
        "this request is invalid, the queue goes on",
    ),
    row(
        "rc nqap 42 once",
        Ends::With("EINVAL"),
        1,
        true,
        "this request is invalid, the queue goes on",
    ),
    row(
        "rc dqap 02 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc dqap 03 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc dqap 04 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc dqap 05 once",
        Ends::AtScan,
        1,
        true,
        "the queue is in error until a scan resets it; then the request is sent again",
    ),
    row(
        "rc dqap 10 times 20",
        Ends::Well,
        20,
        true,
        "no reply yet; Linux goes on polling",
    ),
    row(
        "slow 4s once",
        Ends::After(Duration::from_secs(4)),
        1,
        true,
        "no reply yet; Linux goes on polling, for up to 900 s",
    ),
    row(
        "drop once",
        Ends::Well,
        1,
        true,
        "the queue is empty although a request is outstanding: it is sent again",
    ),
    row(
        "drop times 20",
        Ends::Well,
        20,
        true,
        "it is sent again as often as it gets lost",
    ),
    row(
        "drop until-cleared",
        Ends::WhenCleared,
        0,
        true,
        "it is sent again without end",
    ),
    row(
        "reply-code 10 once",
        Ends::Well,
        1,
        true,
        "a failure of the card is retried",
    ),
    row(
        "reply-code 10 until-cleared",
        Ends::With("EIO"),
        10,
        true,
        "10 tries, then the program gets the error",
    ),
    row(
        "reply-code 90 until-cleared",
        Ends::With("EIO"),
        10,
        true,
        "10 tries, then the program gets the error",
    ),
    row(
        "reply-code 82 once",
        Ends::With("EINVAL"),
        1,
        true,
        "the card says that the operand is wrong",
    ),
    row(
        "corrupt 1 77 once",
        Ends::With("ENODEV"),
        1,
        false,
        "an unknown reply type takes the queue offline; no other queue is there for the retry",
    ),
    row(
        "corrupt 2 0000 once",
        Ends::With("EMSGSIZE"),
        1,
        true,
        "the reply's length field contradicts its length",
    ),
    row(
        "corrupt 100 ff once",
        Ends::Wrong,
        1,
        true,
        "nothing in a type 80 reply protects the result",
    ),
    row(
        "corrupt 272 00 once",
        Ends::With("EMSGSIZE"),
        1,
        true,
        "the reply is longer than its length field",
    ),
    row(
        "truncate 16 once",
        Ends::With("EMSGSIZE"),
        1,
        true,
        "the reply is shorter than its length field",
    ),
    row(
        "truncate 8 once",
        Ends::With("EMSGSIZE"),
        1,
        true,
        "the reply is shorter than its length field",
    ),
    row(
        "truncate 0 once",
        Ends::With("EMSGSIZE"),
        1,
        true,
        "the reply is shorter than its length field",
    ),
    row(
        "panic once",
        Ends::WhenRecovered,
        1,
        true,
        "the card is check-stopped and the queue in error",
    ),
];

const fn row(
    fault: &'static str,
    ends: Ends,
    hits: u64,
    online: bool,
    reason: &'static str,
) -> Row {
    Row {
        fault,
        ends,
        hits,
        online,
        reason,
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("right result"),
            Self::With(errno) => f.write_str(errno),
            Self::AtScan => f.write_str("right result, after the next scan"),
            Self::AtNextRequest => f.write_str("right result, after the next request"),
            Self::After(time) => write!(f, "right result, after {} s", time.as_secs()),
            Self::WhenCleared => f.write_str("right result, when the fault is cleared"),
            Self::WhenRecovered => f.write_str("right result, after `hmc recover` and a scan"),
            Self::Wrong => f.write_str("**wrong** result"),
        }
    }
}

/// The row as the page has it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| `{}` | {} | {} | {} | {} |",
            self.fault,
            self.ends,
            self.hits,
            if self.online { "online" } else { "offline" },
            self.reason
        )
    }
}

/// What makes Linux meet a fault without any request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger {
    Scan,
    Reset,
}

impl Trigger {
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Scan => "echo 1 > /sys/bus/ap/scans",
            Self::Reset => "echo 1 > /sys/bus/ap/devices/05.0004/reset",
        }
    }
}

/// One fault that a scan or a reset meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct TriggerRow {
    pub(super) fault: &'static str,
    pub(super) trigger: Trigger,
    /// Attributes of the queue and what they read then; nothing at all when the queue is gone.
    pub(super) attributes: &'static [(&'static str, &'static str)],
    /// How a request ends while the fault lasts.
    pub(super) meanwhile: Ends,
    pub(super) reason: &'static str,
}

pub(super) const TRIGGER_ROWS: &[TriggerRow] = &[
    TriggerRow {
        fault: "rc tapq 01 until-cleared by guest",
        trigger: Trigger::Scan,
        attributes: &[("config", "")],
        meanwhile: Ends::With("ENODEV"),
        reason: "the queue's device is removed",
    },
    TriggerRow {
        fault: "rc tapq 02 until-cleared by guest",
        trigger: Trigger::Scan,
        attributes: &[("config", "1"), ("chkstop", "0"), ("online", "1")],
        meanwhile: Ends::Well,
        reason: "the queue is kept, and used",
    },
    TriggerRow {
        fault: "rc tapq 03 until-cleared by guest",
        trigger: Trigger::Scan,
        attributes: &[("config", "0"), ("chkstop", "0"), ("online", "0")],
        meanwhile: Ends::With("ENODEV"),
        reason: "the queue counts as deconfigured",
    },
    TriggerRow {
        fault: "rc tapq 04 until-cleared by guest",
        trigger: Trigger::Scan,
        attributes: &[("config", "1"), ("chkstop", "1"), ("online", "0")],
        meanwhile: Ends::With("ENODEV"),
        reason: "the queue counts as check-stopped",
    },
    TriggerRow {
        fault: "rc tapq 05 until-cleared by guest",
        trigger: Trigger::Scan,
        attributes: &[("config", "1"), ("chkstop", "0"), ("online", "1")],
        meanwhile: Ends::Well,
        reason: "the queue is kept, and used",
    },
    TriggerRow {
        fault: "hang-reset",
        trigger: Trigger::Reset,
        attributes: &[("reset", "Reset in progress."), ("online", "1")],
        meanwhile: Ends::WhenCleared,
        reason: "the end of the reset is waited for, by TAPQ every 40 ms",
    },
    TriggerRow {
        fault: "rc rapq 05 once",
        trigger: Trigger::Reset,
        attributes: &[("reset", "Reset in progress."), ("online", "1")],
        meanwhile: Ends::With("ENODEV"),
        reason: "the queue is in error until a scan resets it",
    },
    TriggerRow {
        fault: "rc rapq 01 once",
        trigger: Trigger::Reset,
        attributes: &[("reset", "Reset in progress."), ("online", "1")],
        meanwhile: Ends::With("ENODEV"),
        reason: "the queue is in error until a scan resets it",
    },
];

/// The row as the page has it.
impl fmt::Display for TriggerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trigger = match self.trigger {
            Trigger::Scan => "scan",
            Trigger::Reset => "write to `reset`",
        };
        write!(f, "| `{}` | {trigger} | ", self.fault)?;
        for (number, (name, value)) in self.attributes.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let value = if value.is_empty() { "(gone)" } else { value };
            write!(f, "{comma}`{name}` {value}")?;
        }
        write!(f, " | {} | {} |", self.meanwhile, self.reason)
    }
}
