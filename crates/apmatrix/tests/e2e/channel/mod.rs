//! The device channel's behaviour as one suite of steps (`suite.txt`), gone through by two clients: ours,
//! with rings and without, and one in Python that was written from `docs/protocol.md` alone.

mod ours;
mod python;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use arch::Errno;

use crate::instance::{A, B, Instance, TYPE};
use crate::tier::Tier;

const SUITE: &str = include_str!("suite.txt");
/// The machine of every case.
const MACHINE: &str = "card 4 12 A; card 5 12 A; card 6 12 A; dom 4; dom 5; dom 6; dom 71; \
                       cdom 4; cdom 5; cdom 6; cdom 16; cdom 71";
/// For what comes by itself.
const LONG: Duration = Duration::from_secs(30);

/// A program that is a VMM, or several.
trait Vmm {
    /// Does a step, for example `a get-info 16`; what came of it.
    fn step(&mut self, words: &str) -> String;
}

/// The administrator of one case.
struct Admin {
    instance: Arc<Instance>,
    begun: Option<Receiver<String>>,
}

fn name(errno: i32) -> String {
    match errno {
        0 => "ok".to_owned(),
        number => {
            Errno::from_raw(number).map_or(format!("errno {number}"), |e| e.name().to_owned())
        }
    }
}

impl Admin {
    /// The fixture that `suite.txt` describes.
    fn new() -> Self {
        let instance = Instance::start();
        assert!(instance.verb(&["hmc", "set", MACHINE]).status.success());
        instance.set("bus/ap/apmask", "-5,-6");
        instance.mdev(A, &[5], &[4]);
        instance.set(
            &format!("devices/vfio_ap/matrix/{A}/assign_control_domain"),
            "16",
        );
        instance.set(&format!("{TYPE}/create"), B);
        Self {
            instance: Arc::new(instance),
            begun: None,
        }
    }

    fn step(&mut self, words: &str) -> String {
        if words == "waiting" {
            let begun = self.begun.as_ref().expect("a write has begun");
            return match begun.recv_timeout(Duration::ZERO) {
                Err(RecvTimeoutError::Timeout) => "yes".to_owned(),
                answer => format!("no, {answer:?}"),
            };
        }
        if words == "ended" {
            let begun = self.begun.take().expect("a write has begun");
            return begun.recv_timeout(LONG).expect("the write returns");
        }
        if let Some(verb) = words.strip_prefix("hmc ") {
            let words: Vec<&str> = match verb.strip_prefix("set ") {
                Some(spec) => vec!["set", spec],
                None => verb.split(' ').collect(),
            };
            let arguments = [&["hmc"], &words[..]].concat();
            let output = self.instance.verb(&arguments);
            return if output.status.success() {
                "ok".to_owned()
            } else {
                String::from_utf8_lossy(&output.stderr).into_owned()
            };
        }
        match words.split_once(" <- ") {
            None => self.read(words),
            Some((path, text)) => match path.strip_prefix("begin ") {
                None => name(self.instance.write(path, text)),
                Some(path) => {
                    let (sender, receiver) = channel();
                    self.begun = Some(receiver);
                    let instance = Arc::clone(&self.instance);
                    let (path, text) = (path.to_owned(), text.to_owned());
                    thread::spawn(move || {
                        sender.send(name(instance.write(&path, &text))).ok();
                    });
                    "begun".to_owned()
                }
            },
        }
    }

    fn read(&self, path: &str) -> String {
        match std::fs::read_to_string(self.instance.sys(path)) {
            Ok(text) => text.lines().collect::<Vec<_>>().join("/"),
            Err(error) => name(error.raw_os_error().unwrap_or(0)),
        }
    }
}

/// The cases of the suite: name and steps with their line numbers.
fn cases() -> Vec<(&'static str, Vec<(usize, &'static str)>)> {
    let mut cases: Vec<(&str, Vec<(usize, &str)>)> = Vec::new();
    for (number, line) in SUITE.lines().enumerate() {
        if let Some(name) = line.strip_prefix("case ") {
            cases.push((name, Vec::new()));
        } else if !line.is_empty() && !line.starts_with('#') {
            let (_, steps) = cases.last_mut().expect("a case comes first");
            steps.push((number + 1, line));
        }
    }
    assert!(cases.len() > 10 && cases.iter().all(|(_, steps)| steps.len() > 5));
    cases
}

/// Goes through every case with the clients that `vmm` makes.
fn go_through<V: Vmm>(mut vmm: impl FnMut(&Instance) -> V) {
    let mut wrong = Vec::new();
    for (case, steps) in cases() {
        let mut admin = Admin::new();
        let mut clients = vmm(&admin.instance);
        for (number, line) in steps {
            let (step, expected) = line.rsplit_once(" => ").expect("an answer is expected");
            let (who, words) = step.split_once(' ').expect("words follow");
            let answer = if who == "admin" {
                let directory = |mdev| format!("devices/vfio_ap/matrix/{mdev}");
                let words = words
                    .replace("$M", &directory(A))
                    .replace("$N", &directory(B));
                admin.step(&words)
            } else {
                clients.step(&step.replace("$M", A).replace("$N", B))
            };
            if answer != expected {
                wrong.push(format!("{case}, line {number}: {line}\n    but {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn our_client_goes_through_the_suite() {
    if Tier::Mount.is_there() {
        go_through(|instance| ours::Clients::new(instance, true));
    }
}

#[test]
fn our_client_goes_through_the_suite_without_rings() {
    if Tier::Mount.is_there() {
        go_through(|instance| ours::Clients::new(instance, false));
    }
}

#[test]
fn a_client_written_from_the_document_goes_through_the_suite() {
    if Tier::Mount.is_there() && Tier::Python.is_there() {
        go_through(python::Clients::start);
    }
}
