//! Recording, dissecting and rerunning, of an embedded guest and of a Linux guest.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::record::{Recording, read};
use apmatrix::workload;
use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, Instruction, ResponseCode};
use cex::reference::ReferenceKey;
use device::{Client, ClientOptions, OpenRequest};
use guest::{Guest, ModExpo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{A, Instance, TYPE};
use crate::linux_guest::launch;
use crate::tier::Tier;

const DEADLINE: Duration = Duration::from_secs(30);
const APQN: Apqn = Apqn::new(5, 4);
const BOOT: Duration = Duration::from_secs(180);

fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    instance
}

fn open() -> OpenRequest {
    OpenRequest {
        vm: "recorded".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    }
}

/// A running `apmatrix record`.
pub(crate) struct Recorder {
    child: Child,
    file: PathBuf,
}

impl Recorder {
    /// Starts it on [`A`]; returns when it records.
    fn start(instance: &Instance, name: &str, options: &[&str]) -> Self {
        Self::of(instance, A, name, options)
    }

    /// Starts it; returns when it records.
    pub(crate) fn of(instance: &Instance, mdev: &str, name: &str, options: &[&str]) -> Self {
        let file = instance.dir().join(name);
        let shown = file.display().to_string();
        let arguments = [&["record", mdev, "-o", &shown], options].concat();
        let child = instance.command(&arguments).spawn().expect("it starts");
        let start = Instant::now();
        // The first blocks are written when the recorder has its place in the daemon.
        while std::fs::metadata(&file).map_or(0, |found| found.len()) == 0 {
            assert!(start.elapsed() < DEADLINE, "it does not record");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, file }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits until it has ended; the file.
    fn file(mut self) -> (PathBuf, Vec<u8>) {
        let status = self.child.wait().expect("it was ours");
        assert!(status.success(), "{status}");
        let bytes = std::fs::read(&self.file).expect("it wrote it");
        (self.file, bytes)
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(self) -> (PathBuf, Vec<u8>) {
        self.signal(Signal::SIGINT);
        self.file()
    }
}

fn accepted(recording: &Recording<'_>) -> usize {
    let is_accepted = |event: &&apmatrix::record::Event<'_>| {
        let code = event.outcome.status().map(|status| status.code);
        matches!(event.instruction, Instruction::Nqap { .. }) && code == Some(ResponseCode::NORMAL)
    };
    recording.events.iter().filter(is_accepted).count()
}

/// A mod-expo and a CRT request; their operands and results.
fn requests(instance: &Instance, key: &ReferenceKey) -> Vec<Vec<u8>> {
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let mut guest = Guest::connect(&socket, open(), ClientOptions::default()).expect("it opens");
    let message = key.random_message().expect("OpenSSL has random numbers");
    let first = guest
        .mod_expo(&ModExpo {
            message: &message,
            exponent: &key.d,
            modulus: &key.n,
        })
        .expect("a result");
    let second = guest
        .crt(&workload::private(key, &message))
        .expect("a result");
    assert_eq!(first, second);
    let operands = [
        &message, &key.d, &key.n, &key.p, &key.q, &key.dp, &key.dq, &key.u, &first,
    ];
    operands.into_iter().cloned().collect()
}

fn mode(file: &Path) -> u32 {
    let metadata = std::fs::metadata(file).expect("it is there");
    metadata.permissions().mode() & 0o777
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn said(instance: &Instance, arguments: &[&str]) -> String {
    let output = instance.verb(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn secrets_are_recorded_only_when_asked_for() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let key = ReferenceKey::generate(2048).expect("OpenSSL makes keys");
    let redacted = Recorder::start(&instance, "redacted", &[]);
    let whole = Recorder::start(&instance, "whole", &["--secrets"]);
    let operands = requests(&instance, &key);
    let ((redacted_file, redacted), (_, whole)) = (redacted.stop(), whole.stop());
    for operand in &operands {
        assert!(
            contains(&whole, operand),
            "an operand is not in the file with secrets"
        );
        // Not even a part: any eight bytes of it.
        for part in operand.windows(8) {
            let is_padding = part.iter().all(|byte| *byte == 0);
            assert!(
                is_padding || !contains(&redacted, part),
                "an operand is in the file"
            );
        }
    }
    for (bytes, has_secrets) in [(&redacted, false), (&whole, true)] {
        let recording = read(bytes).expect("a recording");
        assert_eq!(recording.has_secrets, has_secrets);
        assert!(recording.is_complete && recording.dropped == 0 && recording.mdev == A);
        assert_eq!(accepted(&recording), 2);
    }
    assert_eq!(mode(&redacted_file), 0o600);

    let shown = redacted_file.display().to_string();
    let text = said(&instance, &["dissect", &shown]);
    for part in [
        "05.0004  TAPQ  gr0 00800504 -> gr1 80000000 cc 0 rc 00 (normal) empty gr2 ea0000000e000207",
        "05.0004  NQAP  gr0 40000504 psmid ",
        "784 bytes, type 50 length 784 key block 0002 (MEB, 2048 bits) -> gr1 ",
        "912 bytes, type 50 length 912 key block 0012 (CRB, 2048 bits) -> gr1 ",
        "272 bytes, type 80 length 272 code 00",
        "0 lost, secrets redacted",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let verbose = said(&instance, &["dissect", "--verbose", &shown]);
    assert!(verbose.contains("request (redacted behind its header)\n    0000  00 50 03 10 "));
    for line in said(&instance, &["dissect", "--json", &shown]).lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["instruction"].is_string(), "{line}");
    }
    let refused = instance.verb(&["rerun", &shown]);
    let reason = String::from_utf8(refused.stderr).expect("text");
    assert!(reason.contains("record with --secrets"), "{reason}");
}

#[test]
fn a_rerun_finds_what_is_otherwise() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let key = ReferenceKey::generate(1024).expect("OpenSSL makes keys");
    let recorder = Recorder::start(&instance, "whole", &["--secrets"]);
    let operands = requests(&instance, &key);
    let (file, mut bytes) = recorder.stop();
    let text = said(&instance, &["rerun", &file.display().to_string()]);
    assert!(text.ends_with(" compared, 0 differ\n"), "{text}");
    // One bit of the recorded result.
    let result = operands.last().expect("the result is the last");
    let at = bytes
        .windows(result.len())
        .position(|window| window == result)
        .expect("it is in the file");
    bytes[at] ^= 1;
    let damaged = instance.dir().join("damaged");
    std::fs::write(&damaged, bytes).expect("the directory is writable");
    let output = instance.verb(&["rerun", &damaged.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("another reply than the recorded one"),
        "{text}"
    );
    assert!(text.ends_with("1 differ\n"), "{text}");
}

/// A recorder that does not read costs the guest nothing and the recording its packets, which are
/// counted.
#[test]
fn a_stopped_recorder_never_stops_the_guest() {
    const INSTRUCTIONS: u64 = 30_000;
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let recorder = Recorder::start(&instance, "slow", &[]);
    recorder.signal(Signal::SIGSTOP);
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let mut client = Client::connect(&socket, open(), ClientOptions::default()).expect("it opens");
    for _ in 0..INSTRUCTIONS {
        assert_eq!(client.tapq(APQN, true).0.code, ResponseCode::NORMAL);
    }
    recorder.signal(Signal::SIGCONT);
    let (_, bytes) = recorder.stop();
    let recording = read(&bytes).expect("a recording");
    assert!(recording.dropped > 0 && recording.is_complete);
    assert_eq!(
        recording.events.len() as u64 + recording.dropped,
        INSTRUCTIONS
    );
}

#[test]
fn a_recording_ends_with_its_device() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = instance();
    let nobody = "00000000-f1bb-47f0-914d-32a22e3a8804";
    let refused = instance.verb(&["record", nobody]);
    let reason = String::from_utf8(refused.stderr).expect("text");
    assert!(
        reason.contains("there is no mediated device 00000000"),
        "{reason}"
    );
    assert!(instance.exists(TYPE));

    // What was everybody's to read is not any more.
    let old = instance.file("ends", "");
    std::fs::set_permissions(&old, Permissions::from_mode(0o644)).expect("it is ours");
    let recorder = Recorder::start(&instance, "ends", &[]);
    instance.set(&format!("devices/vfio_ap/matrix/{A}/remove"), "1");
    let (file, bytes) = recorder.file();
    assert_eq!(mode(&file), 0o600);
    assert!(read(&bytes).expect("a recording").is_complete);
}

/// Everything that a Linux guest does with its queues, from its boot on, and once more.
#[test]
fn a_linux_guest_is_recorded_and_rerun() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut vectors = VectorFile::new();
    for bits in [1024, 2048] {
        workload::add_class(&mut vectors, bits, 5).expect("OpenSSL makes keys");
    }
    workload::add_bad_operands(&mut vectors, 1024).expect("OpenSSL makes keys");
    let recorder = Recorder::start(&instance, "linux", &["--secrets"]);
    let launch = launch(&instance, A, vec![("all", vectors.to_bytes())]);
    let mut guest = GuestConsole::boot(&launch, BOOT).expect("the guest boots");
    let reply = guest.run("apclient run /extra/all --requesters 3", BOOT);
    let said_in_guest = reply.expect("the console answers").output;
    assert!(said_in_guest.contains("failed 0"), "{said_in_guest}");
    guest.power_off(BOOT).expect("the guest powers off");
    let (file, bytes) = recorder.stop();
    let recording = read(&bytes).expect("a recording");
    assert_eq!(recording.dropped, 0);
    assert_eq!(accepted(&recording) as u64, instance.requests());
    let of = |wanted: fn(&Instruction<'_>) -> bool| {
        recording
            .events
            .iter()
            .filter(|event| wanted(&event.instruction))
            .count()
    };
    // What Linux does when it finds a queue.
    assert!(of(|instruction| matches!(instruction, Instruction::Qci)) > 0);
    assert!(
        of(|instruction| matches!(
            instruction,
            Instruction::Tapq {
                facilities: true,
                ..
            }
        )) > 0
    );
    assert!(of(|instruction| matches!(instruction, Instruction::Rapq { .. })) > 0);
    let text = said(&instance, &["rerun", &file.display().to_string()]);
    assert!(text.contains(", 0 differ"), "{text}");
}
