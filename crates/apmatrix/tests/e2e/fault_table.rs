//! What an unmodified Linux does on each fault: the table of `docs/faults.md`, row by row in one guest.

use std::time::{Duration, Instant};

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;

use crate::instance::{A, Instance};
use crate::linux_guest::launch;
use crate::tier::Tier;

mod rows;
use rows::{Ends, ROWS, Row, TRIGGER_ROWS, TriggerRow};

const BOOT: Duration = Duration::from_secs(180);
const COMMAND: Duration = Duration::from_secs(120);
const QUEUE: &str = "05.0004";
const OTHER: &str = "05.0047";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md");

/// Faults that Linux hides from programs.
const SCENARIO: &str = "\
at 0s    inject 05.0004 drop times 5
at 100ms inject 05.0047 reply-code 10 times 3
at 200ms inject 05.0004 slow 300ms times 3
at 400ms inject 05.0047 rc nqap 02 times 2
at 500ms inject 05.0004 rc dqap 10 times 10
";

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

    /// Injects a fault into [`QUEUE`], with the guest's own scan as far away as it can be.
    fn inject(&mut self, fault: &str) {
        self.run("echo 120 > /sys/bus/ap/config_time");
        self.hmc(&format!("inject {QUEUE} {fault}"));
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
        self.inject(row.fault);
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
        self.inject("corrupt 1 77 until-cleared");
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

    /// Four programs make requests while a scenario runs: each result is right, or the first wrong one
    /// or error ends its program.
    fn transient_faults_reach_no_program(&mut self) {
        let before = self.instance.requests();
        self.run("( (apclient bench /extra/one --seconds 5 --requesters 4 > /tmp/bench 2>&1; echo $? > /tmp/bench.end) > /dev/null 2>&1 & )");
        let start = Instant::now();
        while self.instance.requests() == before {
            assert!(start.elapsed() < COMMAND, "the programs make no requests");
        }
        let file = self.instance.file("scenario", SCENARIO);
        self.hmc(&format!("scenario {file}"));
        self.run(
            "n=300; until [ -e /tmp/bench.end ] || [ $n = 0 ]; do n=$((n - 1)); sleep 0.1; done",
        );
        let said = self.run("cat /tmp/bench");
        assert_eq!(self.run("cat /tmp/bench.end"), "0\n", "{said}");
        assert_eq!(self.hits(), None, "not all faults have hit");
    }

    fn try_trigger_row(&mut self, row: &TriggerRow) {
        self.inject(row.fault);
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
    bench.recover();
    bench.transient_faults_reach_no_program();
}
