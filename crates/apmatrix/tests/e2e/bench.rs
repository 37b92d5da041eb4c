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
