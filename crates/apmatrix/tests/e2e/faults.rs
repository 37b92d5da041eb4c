//! Faults on demand, seen by the host and by a client of the device channel.

use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};

use crate::instance::{A, Instance};
use crate::tier::Tier;

const APQN: Apqn = Apqn::new(5, 4);
const DEADLINE: Duration = Duration::from_secs(20);

fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5, 6], &[4]);
    instance
}

fn client(instance: &Instance) -> Client {
    let request = OpenRequest {
        vm: "faulty".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    Client::connect(&socket, request, ClientOptions::default()).expect("it opens")
}

fn hmc(instance: &Instance, words: &str) -> String {
    let arguments: Vec<&str> = ["hmc"].into_iter().chain(words.split(' ')).collect();
    let output = instance.verb(&arguments);
    assert!(output.status.success(), "hmc {words}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(instance: &Instance, words: &[&str]) -> String {
    let arguments: Vec<&str> = ["hmc"].iter().chain(words).copied().collect();
    let output = instance.verb(&arguments);
    assert!(!output.status.success(), "hmc {words:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn code(client: &mut Client, apqn: Apqn) -> ResponseCode {
    client.tapq(apqn, true).0.code
}

/// The reply to one malformed request, waited for.
fn reply(client: &mut Client, apqn: Apqn) -> Vec<u8> {
    let status = client.nqap(apqn, 7, false, &[0, 0x50, 0, 4]);
    assert_eq!(status.code, ResponseCode::NORMAL);
    let start = Instant::now();
    let mut buffer = vec![0; 4096];
    loop {
        let dequeued = client.dqap(apqn, &mut buffer);
        if dequeued.status.code == ResponseCode::NORMAL {
            return buffer[..dequeued.stored].to_vec();
        }
        assert!(start.elapsed() < DEADLINE, "no reply: {dequeued:?}");
        std::thread::yield_now();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const HEALTHY: [u8; 8] = [0, 0x82, 0, 0, 0x40, 0, 0, 0];

/// A panic in the model of a card is caught by the engine: that card is check-stopped, all others and
/// the daemon go on, and an operator's recovery brings the card back.
#[test]
fn a_card_model_that_panics_is_check_stopped() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let mut client = client(&instance);
    hmc(&instance, "inject 05.0004 panic");
    let status = client.nqap(APQN, 7, false, &[0, 0x50, 0, 4]);
    assert_eq!(status.code, ResponseCode::NORMAL);
    wait_for("the check-stop", || {
        code(&mut client, APQN) == ResponseCode::CHECKSTOPPED
    });
    // The host's bus looks at the hardware at once.
    wait_for("the host's bus", || {
        instance.read("devices/ap/card05/chkstop") == "1\n"
    });
    assert!(hmc(&instance, "show").contains("05  CEX8A  checkstopped"));
    for _ in 0..100 {
        assert_eq!(reply(&mut client, Apqn::new(6, 4)), HEALTHY);
    }
    hmc(&instance, "recover 5");
    assert_eq!(reply(&mut client, APQN), HEALTHY);
}

#[test]
fn faults_are_listed_end_and_are_cleared() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let mut client = client(&instance);
    assert_eq!(hmc(&instance, "inject 05.0004 rc nqap 10 times 3"), "1\n");
    assert_eq!(
        hmc(&instance, "inject 05.0004 rc tapq 02 for 1s by guest"),
        "2\n"
    );
    assert_eq!(hmc(&instance, "inject 06.0004 hang-reset"), "3\n");
    assert_eq!(client.nqap(APQN, 1, false, &[1]).code.0, 0x10);
    let listed = hmc(&instance, "faults");
    assert!(
        listed.contains("1  05.0004 rc nqap 10 times 2  (hits 1)"),
        "{listed}"
    );
    wait_for("the end of the time", || {
        !hmc(&instance, "faults").contains("tapq")
    });
    assert_eq!(code(&mut client, APQN), ResponseCode::NORMAL);
    hmc(&instance, "clear 1");
    assert_eq!(reply(&mut client, APQN), HEALTHY);

    assert_eq!(client.rapq(Apqn::new(6, 4)).code, ResponseCode::NORMAL);
    assert_eq!(
        code(&mut client, Apqn::new(6, 4)),
        ResponseCode::RESET_IN_PROGRESS
    );
    hmc(&instance, "clear 06.0004");
    assert_eq!(code(&mut client, Apqn::new(6, 4)), ResponseCode::NORMAL);
    assert_eq!(hmc(&instance, "faults"), "");

    let start = Instant::now();
    hmc(&instance, "inject 05.0004 slow 700ms");
    assert_eq!(reply(&mut client, APQN), HEALTHY);
    assert!(start.elapsed() >= Duration::from_millis(700));
}

#[test]
fn what_cannot_be_injected_is_refused_with_the_reason() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    for (words, says) in [
        (
            &["inject", "09.0004", "drop"][..],
            "there is no queue 09.0004",
        ),
        (&["inject", "05.0004", "explode"], "\"explode\" is no fault"),
        (
            &["inject", "05.0004 rc nqap 00"],
            "response code 00 is no fault",
        ),
        (&["clear", "7"], "fault 7 is not active"),
        (&["clear", "09.0004"], "there is no queue 09.0004"),
        (&["clear", "everything"], "no fault's number, no queue"),
    ] {
        let error = refused(&instance, words);
        assert!(error.contains(says), "{words:?}: {error}");
    }
    assert_eq!(hmc(&instance, "faults"), "");
    let bad = instance.file("bad", "at 0s inject 05.0004 drop\nat 1s explode\n");
    let error = refused(&instance, &["scenario", &bad]);
    assert!(error.contains("line 2: \"explode\" is no step"), "{error}");
    assert_eq!(
        hmc(&instance, "faults"),
        "",
        "a bad file does nothing at all"
    );
}

/// The host's own AP bus meets the faults as Linux would (its queues' states are attributes).
#[test]
fn the_hosts_bus_meets_faults() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let queue = "devices/ap/card05/05.0004";
    for (fault, attribute, while_it_lasts, afterwards) in [
        ("rc tapq 03", "config", "0\n", "1\n"),
        ("rc tapq 04", "chkstop", "1\n", "0\n"),
    ] {
        hmc(&instance, &format!("inject 05.0004 {fault} until-cleared"));
        instance.set("bus/ap/scans", "1");
        assert_eq!(
            instance.read(&format!("{queue}/{attribute}")),
            while_it_lasts,
            "{fault}"
        );
        hmc(&instance, "clear all");
        instance.set("bus/ap/scans", "1");
        assert_eq!(
            instance.read(&format!("{queue}/{attribute}")),
            afterwards,
            "{fault}"
        );
    }
    hmc(&instance, "inject 05.0004 rc tapq 01 until-cleared by host");
    instance.set("bus/ap/scans", "1");
    assert!(
        !instance.exists(queue),
        "a queue that is not available is removed"
    );
    hmc(&instance, "clear all");
    instance.set("bus/ap/scans", "1");
    assert!(instance.exists(queue));
}

#[test]
fn a_scenario_runs_by_its_times() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let file = instance.file(
        "scenario",
        "# faults, then a check-stop and the end of all\n\
         at 400ms checkstop 6\n\
         at 0s    inject 05.0004 rc nqap 10 until-cleared\n\
         at 800ms recover 6\n\
         at 800ms clear all\n",
    );
    let start = Instant::now();
    let said = hmc(&instance, &format!("scenario {file}"));
    assert!(start.elapsed() >= Duration::from_millis(800));
    let words: Vec<&str> = said.lines().map(|line| line[8..].trim()).collect();
    assert_eq!(
        words,
        [
            "inject 05.0004 rc nqap 10 until-cleared  (fault 1)",
            "checkstop 6",
            "recover 6",
            "clear all"
        ]
    );
    assert_eq!(hmc(&instance, "faults"), "");
    assert!(!hmc(&instance, "show").contains("checkstopped"));
}
