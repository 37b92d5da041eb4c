//! What is fuzzed of the program itself, as functions of bytes; see crate `fuzztargets` for the rest.
//!
//! Each panics when something that must hold does not.

use conformance::Target;

use crate::control::Request;
use crate::daemon::Machinery;
use crate::record;
use crate::replay::InMemory;
use crate::scenario;

/// A machine file: it is a valid machine, or the error names a line that the file has.
pub fn machine_file(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Machinery::parse("m", text) {
        Ok(machine) => assert!(machine.partition.validate().is_ok()),
        Err(error) => {
            let shown = error.to_string();
            let line = shown.split(':').nth(1).and_then(|line| line.parse().ok());
            let lines = text.split('\n').count();
            assert!(
                line.is_some_and(|line: usize| (1..=lines).contains(&line)),
                "{shown}"
            );
        }
    }
}

const MDEV: &str = "devices/vfio_ap/matrix/62177883-f1bb-47f0-914d-32a22e3a8804";
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

/// A write to `ap_config`: what was accepted reads back and can be written back; a refused write changes
/// nothing.
///
/// # Panics
/// When a machine without anything special does not boot.
pub fn ap_config(text: &[u8]) {
    let mut host = InMemory::default();
    let spec = "card 3 14 A; card 5 14 C; dom 6; dom 9; cdom 6; na 63; nd 84";
    host.boot(spec).expect("the SPEC is valid");
    let (_, uuid) = MDEV.rsplit_once('/').expect("a path");
    host.write(CREATE, uuid.as_bytes()).expect("the first mdev");
    host.write("bus/ap/aqmask", b"-9").expect("a valid mask");
    let file = format!("{MDEV}/ap_config");
    let before = host.read(&file).expect("it is readable");
    let written = host.write(&file, text);
    let after = host.read(&file).expect("it is readable");
    if written.is_err() || text.is_empty() {
        assert_eq!(after, before, "a refused write changed the matrix");
    }
    host.write(&file, &after)
        .expect("what it reads can be written");
    assert_eq!(host.read(&file), Ok(after));
}

/// Longer transcripts and those with more steps are not run: only their size would make them slow.
const MAX_STEPS: usize = 40;

/// A transcript: what parses also runs, whatever its answers are.
pub fn transcript(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let Ok(cases) = conformance::parse("t", text) else {
        return;
    };
    let mut host = InMemory::default();
    for case in cases
        .iter()
        .take(3)
        .filter(|case| case.steps.len() <= MAX_STEPS)
    {
        let _verdict = conformance::run_case(case, &mut host);
    }
}

/// A line of the control socket: a request prints and reads back as itself.
pub fn control_request(line: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Request>(line) else {
        return;
    };
    let printed = serde_json::to_vec(&request).unwrap_or_default();
    assert_eq!(
        serde_json::from_slice::<Request>(&printed).ok(),
        Some(request)
    );
}

/// A recording: what is read of a file is read of every longer file too, and can be shown.
pub fn recording(file: &[u8]) {
    let Ok(recording) = record::read(file) else {
        return;
    };
    for event in &recording.events {
        assert!(record::line(event, event.at).is_ascii());
        assert!(record::as_json(event).is_object());
        record::verbose(event);
    }
    // A file that was cut is good up to there.
    if let Ok(part) = record::read(&file[..file.len() / 2]) {
        assert!(recording.events.starts_with(&part.events));
    }
}

/// A scenario file: its steps are in order, or the error names a line that the file has.
pub fn scenario(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match scenario::parse(text) {
        Ok(steps) => assert!(steps.is_sorted_by_key(|step| step.at)),
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line)),
    }
}

/// A journal of the state directory: damage, foreign files and impossible states are refused; what is
/// read can be written and read again. Lines without lengths and checksums get right ones.
pub fn journal(bytes: &[u8]) {
    crate::state::check(bytes);
}

#[cfg(test)]
mod tests {
    use fuzztargets::corpus::replay;

    #[test]
    fn corpora_of_the_program() {
        replay("machine_file", super::machine_file);
        replay("ap_config", super::ap_config);
        replay("transcript", super::transcript);
        replay("control_request", super::control_request);
        replay("recording", super::recording);
        replay("scenario", super::scenario);
        replay("journal", super::journal);
    }
}
