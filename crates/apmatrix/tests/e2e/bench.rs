//! The benchmarks run, with numbers that are too small to be judged.

use std::process::Command;

use crate::tier::Tier;

#[test]
fn the_admin_benchmark_prints_all_its_rows() {
    if !Tier::Mount.is_there() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_apmatrix"))
        .args(["bench", "admin", "--smoke"])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    for row in [
        "attribute write, 1 mdev ",
        "attribute write, 20 mdevs to 1 mdev ",
        "attribute read, 20 mdevs to 1 mdev ",
        "30 mdevs created and assigned ",
        "idle, 16 adapters x 85 domains, resident ",
    ] {
        let line = said.lines().find(|line| line.starts_with(row));
        let value = line.and_then(|line| line[row.len()..].split_whitespace().next());
        let value: f64 = value.and_then(|value| value.parse().ok()).unwrap_or(0.0);
        assert!(value > 0.0, "{row} is missing in:\n{said}");
    }
    assert_eq!(said.lines().last(), Some("0 met, 0 missed"));
}

#[test]
fn the_data_path_benchmark_prints_all_its_rows() {
    if !Tier::Mount.is_there() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_apmatrix"))
        .args(["bench", "data-path", "--smoke"])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    for row in [
        "RSA-2048 CRT, repeated key, in-process queue ",
        "RSA-2048 CRT, fresh key, in-process queue ",
        "RSA-2048 CRT, repeated key to openssl speed ",
        "RSA-2048 CRT, fresh key to openssl speed ",
        "RSA-4096 CRT to the best library ",
        "socket round trip (TAPQ), two processes ",
        "NQAP to DQAP without cryptography, two processes ",
        "NQAP to DQAP to socket round trip ",
        "p99 of a guest alone ",
        "p99 of a guest beside a flood of the same card ",
        "p99 beside a flood to alone ",
        "RSA of 1 guest ",
        "RSA of many guests on one card ",
        "RSA of many guests to 1 guest ",
        "share that is farthest from the mean ",
        "daemon's memory for a guest with 8 queues, idle ",
        "daemon's memory for a guest with 8 queues, full ",
        "Linux guest, RSA-2048 CRT by the accelerator ",
        "Linux guest, RSA-2048 CRT by its own software ",
        "Linux guest, accelerator to software ",
        "Linux guest, accelerator to one engine on the host ",
        "Linux guest, boot without the plugin ",
        "Linux guest, boot with the plugin to without ",
        "Linux guest, boot with interruptions to without ",
        "Linux guest, RSA-2048 by virtio-crypto ",
    ] {
        let line = said.lines().find(|line| line.starts_with(row));
        let line = line.unwrap_or_else(|| panic!("{row} is missing in:\n{said}"));
        let value = line[row.len()..].split_whitespace().next();
        // A smoke run boots no guest, and a host may have no openssl program; all else is measured.
        let may_lack = row.starts_with("Linux guest")
            || row.contains("openssl")
            || row.contains("best library");
        let is_number = value.is_some_and(|value| value.parse().is_ok_and(f64::is_finite));
        assert!(is_number || may_lack && value == Some("SKIPPED:"), "{line}");
    }
    assert_eq!(said.lines().last(), Some("0 met, 0 missed"));
}
