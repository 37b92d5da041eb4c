//! `apmatrix why` against the running instance and against a plain copy of its tree.

use std::process::{Command, Output};

use crate::copy::copy_tree;
use crate::instance::{A, B, Instance};
use crate::tier::Tier;

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_queue_that_another_device_has() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4, 6]);
    instance.mdev(B, &[], &[4]);
    // A shell is refused, so that the log knows another name than the test's own.
    let shell = Command::new("sh")
        .args(["-c", "printf 5 > \"$1\"", "sh"])
        .arg(instance.sys(&format!("devices/vfio_ap/matrix/{B}/assign_adapter")))
        .output()
        .expect("sh starts");
    assert!(!shell.status.success());

    let why = json(&instance.verb(&["why", "05.0004", "--json"]));
    assert_eq!(why["driver"], "vfio_ap");
    assert_eq!(why["mdev"], A);
    assert_eq!(why["in_guest_matrix"], true);
    assert_eq!(why["in_use"], false);
    let refusals = why["refusals"].as_array().expect("a daemon was asked");
    assert_eq!(refusals.len(), 1, "{why}");
    assert_eq!(refusals[0]["errno"], "EADDRINUSE");
    assert_eq!(refusals[0]["writer"]["command"], "sh");

    let said = text(&instance.verb(&["why", "05.0004"]));
    for words in [
        "assigned to mediated device 62177883",
        "05.0006 goes with it",
        &format!("apmatrix unassign {A} adapter 0x5"),
        "EADDRINUSE",
        "by sh, process",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // What the refused device is told.
    let said = text(&instance.verb(&["why", B]));
    assert!(
        said.contains("no adapter, so no queue") && said.contains("EADDRINUSE"),
        "{said}"
    );
    // The advice works.
    assert!(
        instance
            .verb(&["unassign", A, "adapter", "0x5"])
            .status
            .success()
    );
    assert!(
        instance
            .verb(&["assign", B, "adapter", "0x5"])
            .status
            .success()
    );
    assert_eq!(
        json(&instance.verb(&["why", "05.0004", "--json"]))["mdev"],
        B
    );
}

#[test]
fn a_hidden_adapter_and_the_command_that_brings_it_back() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5, 6], &[4, 0x47]);
    instance.set("bus/ap/drivers/vfio_ap/unbind", "05.0047");
    let why = json(&instance.verb(&["why", A, "--json"]));
    assert_eq!(
        why["guest_queues"],
        serde_json::json!(["06.0004", "06.0047"])
    );
    let line = why["remedies"][0]["commands"][0].as_str().expect("a line");
    assert_eq!(line, "echo 05.0047 > /sys/bus/ap/drivers/vfio_ap/bind");
    let done = instance.verb(&["run", "--", "sh", "-c", line]);
    assert!(done.status.success(), "{done:?}");
    let said = text(&instance.verb(&["why", A]));
    assert!(said.contains("Its guest gets everything"), "{said}");

    // Unassigning what hid an adapter does not bring it back; writing ap_config again does.
    instance.set("bus/ap/drivers/vfio_ap/unbind", "05.0047");
    instance.set(
        &format!("devices/vfio_ap/matrix/{A}/unassign_domain"),
        "0x47",
    );
    let why = json(&instance.verb(&["why", A, "--json"]));
    let line = why["remedies"][0]["commands"][0].as_str().expect("a line");
    let done = instance.verb(&["run", "--", "sh", "-c", line]);
    assert!(done.status.success(), "{line}: {done:?}");
    let why = json(&instance.verb(&["why", A, "--json"]));
    assert_eq!(
        why["guest_queues"],
        serde_json::json!(["05.0004", "06.0004"])
    );
}

#[test]
fn a_plain_copy_is_explained_without_a_daemon() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let copy = instance.run_dir().with_file_name("copy");
    copy_tree(&instance.sys(""), &copy);
    for subject in [A, "05.0004", "04.0047", "63.0063"] {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_apmatrix"));
            command.env("APMATRIX_RUN_DIR", "/nonexistent/run");
            command
                .args(["why", subject, "--sysfs"])
                .arg(&copy)
                .args(arguments);
            command.output().expect("the program starts")
        };
        let mut copied = json(&run(&["--json"]));
        let mut live = json(&instance.verb(&["why", subject, "--json"]));
        assert_eq!(copied["refusals"].take(), serde_json::Value::Null);
        assert_eq!(live["refusals"].take(), serde_json::json!([]));
        assert_eq!(copied, live);
        assert!(text(&run(&[])).contains("no daemon was asked"));
    }
}

#[test]
fn what_is_neither_a_queue_nor_a_device() {
    let run = |subject: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apmatrix"));
        command.args(["why", subject, "--sysfs", "/nonexistent"]);
        command.output().expect("the program starts")
    };
    assert_eq!(run("5.4").status.code(), Some(2));
    assert_eq!(run(A).status.code(), Some(1));
}
