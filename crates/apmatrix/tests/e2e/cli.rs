//! The command line's contract: verbs, exit codes, output for people and programs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::copy::copy_tree;
use crate::instance::{A, B, Instance};
use crate::tier::{Tier, cache};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_apmatrix"))
}

#[test]
fn exit_codes_without_a_daemon() {
    let run = |arguments: &[&str]| {
        let mut command = program();
        command
            .env("APMATRIX_RUN_DIR", "/nonexistent/run")
            .args(arguments);
        command.output().expect("the program starts")
    };
    for usage in [
        &["nonsense"][..],
        &["hmc"],
        &["assign"],
        &["demo", "--guest", "z/VM"],
        &["mask", "x"],
    ] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    for verb in [
        &["hmc", "show"][..],
        &["log"],
        &["run", "--", "true"],
        &["guest", "run", "--mdev", A],
    ] {
        let output = run(verb);
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        assert!(stderr(&output).contains("daemon"), "{output:?}");
    }
}

#[test]
fn the_demo_by_itself() {
    let output = program().arg("demo").output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let said = stdout(&output);
    for word in [
        "05.0004",
        "06.0047",
        "EADDRINUSE",
        "equal to OpenSSL's",
        "Hot unplug",
        "Done in",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn the_demo_with_linux_guests() {
    if !Tier::Guest.is_there() {
        return;
    }
    let mut command = program();
    command
        .args(["demo", "--guest", "linux"])
        .env("APMATRIX_IMAGE_DIR", cache().join("image"));
    let output = command.output().expect("the program starts");
    let said = stdout(&output);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    let equal = "40 RSA requests through its card, equal to OpenSSL's: total 40 passed 40 failed 0";
    assert_eq!(said.matches(equal).count(), 2, "{said}");
    assert!(
        said.contains("its next request fails and never reaches the card"),
        "{said}"
    );
}

#[test]
fn a_wrong_machine_file_starts_nothing() {
    let dir = std::env::temp_dir().join(format!("apmatrix-machine-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("writable");
    let file = dir.join("m.toml");
    fs::write(
        &file,
        "[domains]\nusage = [4]\n\n[[adapter]]\nid = 5\ntype = \"CEX9A\"\n",
    )
    .expect("writable");
    let mut command = program();
    command
        .args(["serve", "--run-dir"])
        .arg(dir.join("run"))
        .arg("--machine")
        .arg(&file);
    let output = command
        .arg("--state-dir")
        .arg(dir.join("state"))
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("m.toml:6: \"CEX9A\" is not an adapter type"),
        "{said}"
    );
    assert!(
        !dir.join("run").exists() && !dir.join("state").exists(),
        "something was started"
    );
    fs::remove_dir_all(dir).expect("ours");
}

#[test]
fn administration_in_words() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let ok = |arguments: &[&str]| {
        let output = instance.verb(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        stdout(&output)
    };
    ok(&["mask", "apmask", "-5,-6"]);
    assert!(ok(&["mask"]).contains("apmask  0xf9ff"));
    assert_eq!(ok(&["mdev", "create", A]).trim(), A);
    ok(&["assign", A, "adapter", "5", "0x6"]);
    ok(&["assign", A, "domain", "4-6"]);
    ok(&["assign", A, "control-domain", "4,0x47"]);
    ok(&["unassign", A, "domain", "5"]);
    let shown = json(&instance.verb(&["mdev", "show", A, "--json"]));
    assert_eq!(shown["matrix"][1], "05.0006");
    assert_eq!(shown["control_domains"][1], "0047");
    let random = ok(&["mdev", "create"]);
    assert_eq!(
        json(&instance.verb(&["mdev", "ls", "--json"]))
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    ok(&["mdev", "remove", random.trim()]);

    // A refusal is exit code 1 and says why, with the facts.
    ok(&["mdev", "create", B]);
    ok(&["assign", B, "domain", "4"]);
    let refused = instance.verb(&["assign", B, "adapter", "5"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("EADDRINUSE") && said.contains("05.0004") && said.contains(A),
        "{said}"
    );
    let busy = instance.verb(&["mask", "apmask", "+5"]);
    assert!(
        stderr(&busy).contains("EBUSY") && stderr(&busy).contains(A),
        "{busy:?}"
    );
    let log = json(&instance.verb(&["log", "--json"]));
    assert_eq!(log.as_array().map(Vec::len), Some(2), "{log}");
    for wrong in [
        &["assign", B, "adapter", "256"][..],
        &["mdev", "show", "x"],
        &["mdev", "remove", random.trim()],
    ] {
        assert_eq!(instance.verb(wrong).status.code(), Some(1), "{wrong:?}");
    }
    let status = json(&instance.verb(&["status", "--json"]));
    assert_eq!(status["bindings"], "12/12 (complete)");
    assert_eq!(status["mdevs"][0]["uuid"], A);
}

#[test]
fn a_plain_copy_of_a_tree_is_enough_for_reading() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let copy = instance.run_dir().with_file_name("copy");
    copy_tree(&instance.sys(""), &copy);
    let live = stdout(&instance.verb(&["status", "--json"]));
    let output = program()
        .args(["status", "--json", "--sysfs"])
        .arg(&copy)
        .output()
        .expect("it starts");
    assert_eq!(stdout(&output), live);
}

#[test]
fn the_hardware_console() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let ok = |arguments: &[&str]| {
        let output = instance.verb(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    ok(&["hmc", "add-adapter", "7", "--type", "13", "--mode", "P"]);
    assert_eq!(instance.read("devices/ap/card07/type"), "CEX7P\n");
    ok(&["hmc", "add-domain", "0x10"]);
    assert!(instance.exists("devices/ap/card07/07.0010"));
    ok(&["hmc", "deconfigure", "7"]);
    assert_eq!(instance.read("devices/ap/card07/config"), "0\n");
    ok(&["hmc", "configure", "7"]);
    ok(&["hmc", "checkstop", "7"]);
    assert_eq!(instance.read("devices/ap/card07/chkstop"), "1\n");
    ok(&["hmc", "recover", "7"]);
    assert_eq!(instance.read("devices/ap/card07/chkstop"), "0\n");
    ok(&["hmc", "remove-domain", "0x10"]);
    ok(&["hmc", "remove-adapter", "7"]);
    assert!(!instance.exists("devices/ap/card07"));
    for refused in [
        &["hmc", "remove-adapter", "7"][..],
        &["hmc", "set", "card 5"],
        &["hmc", "add-domain", "200"],
    ] {
        let output = instance.verb(refused);
        assert_eq!(output.status.code(), Some(1), "{refused:?}");
        assert!(stderr(&output).starts_with("apmatrix: "), "{output:?}");
    }
    ok(&["hmc", "set", "na 63; nd 84; card 9 14 A; dom 4; cdom 4"]);
    assert_eq!(
        json(&instance.verb(&["hmc", "show", "--json"]))["adapters"][0]["name"],
        "CEX8A"
    );
    assert!(instance.exists("bus/ap/devices/09.0004"));
}

#[test]
fn single_instructions() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let said = |arguments: &[&str]| {
        let mut words = vec!["insn", A];
        words.extend(arguments);
        let output = instance.verb(&words);
        (output.status.code(), stdout(&output))
    };
    let (code, tapq) = said(&["tapq", "05.0004"]);
    assert!(
        code == Some(0) && tapq.contains("CEX8A") && tapq.contains("rc 00 (normal)"),
        "{tapq}"
    );
    let (code, foreign) = said(&["tapq", "05.0005"]);
    assert!(
        code == Some(1) && foreign.contains("rc 01 (queue not available)"),
        "{foreign}"
    );
    let (_, qci) = said(&["qci"]);
    assert!(qci.contains("apm     0x04000000"), "{qci}");
    let (code, empty) = said(&["dqap", "05.0004"]);
    assert!(code == Some(1) && empty.contains("rc 10"), "{empty}");
    let message = instance.file("message", "not a message of any known type");
    let (code, sent) = said(&["nqap", "05.0004", &message]);
    assert!(code == Some(0), "{sent}");
    assert_eq!(said(&["zapq", "05.0004"]).0, Some(0));
    assert_eq!(said(&["rapq", "05.0004"]).0, Some(0));
}

/// A script drives a guest through the verb's standard input and output.
#[test]
fn a_guest_on_standard_input_and_output() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut guest = instance
        .command(&[
            "guest",
            "run",
            "--mdev",
            A,
            "--append",
            "apmatrix.test",
            "--image",
        ])
        .arg(cache().join("image"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let script = b"ls /sys/bus/ap/devices\ncat /proc/cmdline\npoweroff\n";
    guest
        .stdin
        .take()
        .expect("piped")
        .write_all(script)
        .expect("it reads");
    let output = guest.wait_with_output().expect("it ends");
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("05.0004") && said.contains("apmatrix.test"),
        "{said}"
    );
    let absent = instance.verb(&["guest", "run", "--mdev", B]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        stderr(&absent).contains("there is no mediated device"),
        "{absent:?}"
    );
}

#[test]
fn replay_counts_and_shows_the_first_difference() {
    let dir = std::env::temp_dir().join(format!("apmatrix-replay-test-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("writable");
    let file = dir.join("two.transcript");
    let case = "case good\nhost card 3 14 A; dom 6\nr bus/ap/config_time\n= \"30\\n\"\n\n\
                case bad\nhost card 3 14 A; dom 6\nr bus/ap/config_time\n= \"31\\n\"\n";
    fs::write(&file, case).expect("writable");
    let output = program()
        .args(["replay", "--in-process"])
        .arg(&file)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(
        said.contains("ok      good") && said.contains("FAILED  bad"),
        "{said}"
    );
    assert!(
        said.contains("\"31\\n\"") && said.contains("\"30\\n\""),
        "{said}"
    );
    assert_eq!(said.lines().last(), Some("1 passed, 1 failed"));
    fs::write(&file, "case broken\nx\n").expect("writable");
    let output = program()
        .args(["replay", "--in-process"])
        .arg(&file)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("two.transcript:"), "{output:?}");
    fs::remove_dir_all(dir).expect("ours");
}

/// Every recorded transcript, on a fresh machine and a fresh mount per case.
#[test]
fn recorded_transcripts_through_fuse() {
    if !Tier::Mount.is_there() {
        return;
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/transcripts");
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "transcript")
        })
        .collect();
    files.sort();
    let output = program()
        .arg("replay")
        .args(&files)
        .output()
        .expect("it starts");
    let said = stdout(&output);
    let last = said.lines().last().unwrap_or_default();
    println!("{last}");
    assert!(
        output.status.success() && last.ends_with(" 0 failed"),
        "{said}"
    );
}
