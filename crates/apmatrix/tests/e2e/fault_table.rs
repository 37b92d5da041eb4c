//! What an unmodified Linux does on each fault: the table of `docs/faults.md`, row by row in one guest.

use std::fmt;
use std::time::Duration;

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;

use crate::instance::{A, Instance};
use crate::linux_guest::launch;
use crate::tier::Tier;

const BOOT: Duration = Duration::from_secs(180);
const COMMAND: Duration = Duration::from_secs(120);
const QUEUE: &str = "05.0004";
const OTHER: &str = "05.0047";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md");

/// How one request ends for the program that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
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
struct Row {
    /// The fault without its queue.
    fault: &'static str,
    ends: Ends,
    /// How often one request meets the fault.
    hits: u64,
    /// `online` of the queue afterwards.
    online: bool,
    /// Why.
    reason: &'static str,
}

const ROWS: &[Row] = &[
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

/// A guest whose only usable queue is [`QUEUE`].
struct Bench<'i> {
    instance: &'i Instance,
    guest: GuestConsole,
}

impl Bench<'_> {
    fn run(&mut self, command: &str) -> String {
        let reply = self
            .guest
            .run(command, COMMAND)
            .expect("the console answers");
        reply
            .success()
            .unwrap_or_else(|error| panic!("{command}: {error:#}"))
    }

    fn hmc(&self, words: &str) -> String {
        let arguments: Vec<&str> = ["hmc"].into_iter().chain(words.split(' ')).collect();
        let output = self.instance.verb(&arguments);
        assert!(output.status.success(), "hmc {words}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// How often the fault has hit, if it is not over.
    fn hits(&self) -> Option<u64> {
        let faults: serde_json::Value =
            serde_json::from_str(&self.hmc("faults --json")).expect("JSON");
        let fault = faults.get(0)?;
        Some(fault["hits"].as_u64().expect("a number"))
    }

    /// Starts a request in the background.
    fn begin(&mut self) {
        self.run("rm -f /tmp/end; ( (apclient one /extra/one 0 > /tmp/said 2>&1; mv /tmp/said /tmp/end) > /dev/null 2>&1 & )");
    }

    /// How it ended, within a deadline: the error's name, `right` or `wrong`.
    fn end(&mut self) -> String {
        self.run("n=200; until [ -e /tmp/end ] || [ $n = 0 ]; do n=$((n - 1)); sleep 0.1; done");
        let said = self.run("cat /tmp/end");
        match said.trim().strip_prefix("errno ") {
            Some(errno) => errno.to_owned(),
            None if said.trim() == self.run("cat /tmp/right").trim() => "right".to_owned(),
            None => "wrong".to_owned(),
        }
    }

    /// Whether it has not ended after a while. Only a right "no" can be hasty.
    fn waits(&mut self) -> bool {
        self.run("sleep 0.5; test -e /tmp/end || echo waits").trim() == "waits"
    }

    fn scan(&mut self) {
        self.run("echo 1 > /sys/bus/ap/scans");
    }

    /// Puts everything right again, and sees that the queue works.
    fn recover(&mut self) {
        self.hmc("clear all");
        self.hmc("recover 5");
        self.scan();
        self.run(&format!("n=50; until [ $(cat /sys/bus/ap/devices/{QUEUE}/chkstop) = 0 ] || [ $n = 0 ]; do n=$((n - 1)); sleep 0.1; done"));
        self.run(&format!("echo 1 > /sys/bus/ap/devices/{QUEUE}/online"));
        self.begin();
        if self.waits() {
            self.scan();
        }
        assert_eq!(self.end(), "right", "the queue has not recovered");
    }

    fn try_row(&mut self, row: &Row) {
        self.hmc(&format!("inject {QUEUE} {}", row.fault));
        self.begin();
        match row.ends {
            Ends::Well | Ends::With(_) | Ends::Wrong => {}
            Ends::AtScan => {
                assert!(self.waits(), "{row}: it ended before the scan");
                self.scan();
            }
            Ends::AtNextRequest => {
                assert!(self.waits(), "{row}: it ended before the next request");
                self.run("apclient one /extra/one 1");
            }
            Ends::After(_) => assert!(self.waits(), "{row}: it ended too early"),
            Ends::WhenCleared => {
                assert!(self.waits(), "{row}: it ended before the fault was cleared");
                self.hmc("clear all");
            }
            Ends::WhenRecovered => {
                assert!(
                    self.waits(),
                    "{row}: it ended before the card was recovered"
                );
                self.hmc("recover 5");
                self.scan();
            }
        }
        let expected = match row.ends {
            Ends::With(errno) => errno,
            Ends::Wrong => "wrong",
            _ => "right",
        };
        assert_eq!(self.end(), expected, "{row}");
        let online = self.run(&format!("cat /sys/bus/ap/devices/{QUEUE}/online"));
        assert_eq!(online.trim() == "1", row.online, "{row}");
        if row.fault.ends_with("until-cleared") {
            // None: it was cleared to end the request.
            assert_eq!(self.hits().unwrap_or(0), row.hits, "{row}");
        } else {
            assert_eq!(self.hits(), None, "{row}: it has hits left");
        }
    }

    /// With a second queue a request that lost its queue is sent there. Linux takes the queue that had
    /// fewer requests, so that one of two meets the fault.
    fn another_queue_takes_over(&mut self) {
        self.run(&format!("echo 1 > /sys/bus/ap/devices/{OTHER}/online"));
        self.hmc(&format!("inject {QUEUE} corrupt 1 77 until-cleared"));
        for _ in 0..20 {
            self.begin();
            assert_eq!(self.end(), "right");
            if self.hits() == Some(1) {
                break;
            }
        }
        assert_eq!(self.hits(), Some(1), "Linux never took {QUEUE}");
        let online = self.run("cd /sys/bus/ap/devices; cat 05.0004/online 05.0047/online; cd /");
        assert_eq!(online, "0\n1\n");
    }

    fn try_trigger_row(&mut self, row: &TriggerRow) {
        self.hmc(&format!("inject {QUEUE} {}", row.fault));
        self.run(row.trigger.command());
        for (name, value) in row.attributes {
            self.run(&format!(
                "n=50; until [ \"$(cat /sys/bus/ap/devices/{QUEUE}/{name} 2> /dev/null)\" = '{value}' ] || [ $n = 0 ]; do n=$((n - 1)); sleep 0.1; done"
            ));
            let read = self.run(&format!(
                "cat /sys/bus/ap/devices/{QUEUE}/{name} 2> /dev/null || true"
            ));
            assert_eq!(read.trim(), *value, "{row}: {name}");
        }
        self.begin();
        match row.meanwhile {
            Ends::With(errno) => assert_eq!(self.end(), errno, "{row}"),
            Ends::WhenCleared => {
                assert!(self.waits(), "{row}: the request ended");
                self.hmc("clear all");
                assert_eq!(self.end(), "right", "{row}");
            }
            _ => assert_eq!(self.end(), "right", "{row}"),
        }
    }
}

/// What makes Linux meet a fault without any request.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Scan,
    Reset,
}

impl Trigger {
    fn command(self) -> &'static str {
        match self {
            Self::Scan => "echo 1 > /sys/bus/ap/scans",
            Self::Reset => "echo 1 > /sys/bus/ap/devices/05.0004/reset",
        }
    }
}

/// One fault that a scan or a reset meets.
#[derive(Clone, Copy, Debug)]
struct TriggerRow {
    fault: &'static str,
    trigger: Trigger,
    /// Attributes of the queue and what they read then; nothing at all when the queue is gone.
    attributes: &'static [(&'static str, &'static str)],
    /// How a request ends while the fault lasts.
    meanwhile: Ends,
    reason: &'static str,
}

const TRIGGER_ROWS: &[TriggerRow] = &[
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

/// The page has each row, as the test in the guest walks it.
#[test]
fn the_page_has_the_table() {
    let page = std::fs::read_to_string(PAGE).expect("it is there");
    let rows = ROWS.iter().map(ToString::to_string);
    let rows = rows.chain(TRIGGER_ROWS.iter().map(ToString::to_string));
    let missing: Vec<String> = rows.filter(|row| !page.contains(row)).collect();
    assert!(
        missing.is_empty(),
        "not in docs/faults.md:\n{}",
        missing.join("\n")
    );
}

#[test]
fn linux_meets_every_fault() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 0x47]);
    let mut vectors = VectorFile::new();
    workload::add_class(&mut vectors, 2048, 1).expect("OpenSSL makes keys");
    let launch = launch(&instance, A, vec![("one", vectors.to_bytes())]);
    let guest = GuestConsole::boot(&launch, BOOT).expect("the guest boots");
    let mut bench = Bench {
        instance: &instance,
        guest,
    };
    bench.run("apclient one /extra/one 0 > /tmp/right");
    bench.run(&format!("echo 0 > /sys/bus/ap/devices/{OTHER}/online"));
    for row in ROWS {
        bench.try_row(row);
        bench.recover();
    }
    for row in TRIGGER_ROWS {
        bench.try_trigger_row(row);
        bench.recover();
    }
    bench.another_queue_takes_over();
}
