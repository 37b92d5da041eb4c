//! Program exceptions.

use super::{
    ALL, CC, FIRST, LAST_PART, QCI, QUEUE, RAPQ, TAPQ, TAPQ_T, assert_changed, dequeue, dqap,
    enqueue, instance, nqap, pqap,
};
use crate::bare::{BITS_24, BITS_31, End, LAST, NOWHERE, PROBLEM, Script, Step};
use crate::instance::{A, Instance};
use crate::tier::Tier;

const OPERATION: u16 = 1;
const PRIVILEGED: u16 = 2;
const ADDRESSING: u16 = 5;
const SPECIFICATION: u16 = 6;

/// Runs each step, which has to end with this exception, change no register and leave the old PSW
/// behind the instruction.
fn assert_exceptions(instance: &Instance, features: &str, cases: &[(&str, u16, Step)]) {
    let mut script = Script::default();
    for (_, _, step) in cases {
        script.step(step.clone());
    }
    for ((name, code, step), after) in cases.iter().zip(script.run(instance, A, features)) {
        let end = End::Exception {
            code: *code,
            length: 4,
            behind: 4,
        };
        assert_eq!(after.end, end, "{name}");
        assert_changed(step, &after, &[], name);
        assert_eq!(after.mask & !CC, step.psw_mask(), "{name}");
    }
}

#[test]
fn specification_exceptions() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut cases: Vec<(String, Step)> = vec![
        ("QCI at a word".into(), pqap(QCI).r(2, 0x0040_0004)),
        ("AQIC without facility 65".into(), pqap(0x0300_0000 | QUEUE)),
        (
            "at the end of a page".into(),
            pqap(0x0a00_0000).at_offset(0xffc),
        ),
        (
            "across two pages".into(),
            pqap(0x0a00_0000).at_offset(0xffe),
        ),
        ("in 31-bit mode".into(), pqap(0x0a00_0000).mask(BITS_31)),
        ("in 24-bit mode".into(), pqap(0x0a00_0000).mask(BITS_24)),
    ];
    for function in (6..=0xff_u64).filter(|function| [6, 7, 8, 9, 0x0a, 0xff].contains(function)) {
        cases.push((format!("function {function}"), pqap(function << 24 | QUEUE)));
    }
    for bit in (0..7).map(|bit| 0x0001_0000 << bit) {
        cases.push((format!("TAPQ {bit:#x}"), pqap(TAPQ | bit | QUEUE)));
    }
    let buffer = 0x0040_0000;
    for (r1, r2) in [(5, 6), (4, 7), (5, 7)] {
        let step = enqueue(buffer, 400).r(8, 400);
        let with = |code: [u8; 4], gr0| {
            (
                format!("registers {r1} {r2}"),
                step.clone().code(&code).r(0, gr0),
            )
        };
        cases.push(with(nqap(r1, r2), LAST_PART | QUEUE));
        cases.push(with(dqap(r1, r2), FIRST | QUEUE));
    }
    cases.push(("NQAP length 0".into(), enqueue(buffer, 0)));
    cases.push(("DQAP length 0".into(), dequeue(buffer, 0)));
    let short = enqueue(buffer, 0xffff_ffff_0000_0000).mask(BITS_31);
    cases.push(("NQAP length 0 in 31-bit mode".into(), short));
    for bit in [0x8000_0000, 0x2000_0000, 0x1000_0000, 0x0080_0000] {
        let step = enqueue(buffer, 400).r(0, LAST_PART | bit | QUEUE);
        cases.push((format!("NQAP {bit:#x}"), step));
    }
    for bit in [
        0x4000_0000,
        0x2000_0000,
        0x1000_0000,
        0x0080_0000,
        0x0040_0000,
    ] {
        let step = dequeue(buffer, 400).r(0, FIRST | bit | QUEUE);
        cases.push((format!("DQAP {bit:#x}"), step));
    }
    let cases: Vec<_> = cases
        .iter()
        .map(|(name, step)| (name.as_str(), SPECIFICATION, step.clone()))
        .collect();
    assert_exceptions(&instance, ALL, &cases);
    assert_eq!(instance.requests(), 0);
    let cases = [
        (
            "QCI without facility 12",
            SPECIFICATION,
            pqap(QCI).r(2, buffer),
        ),
        ("T without facility 15", SPECIFICATION, pqap(TAPQ_T | QUEUE)),
    ];
    assert_exceptions(&instance, "ap", &cases);
}

#[test]
fn operands_outside_memory_are_addressing_exceptions() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let cases = [
        ("QCI", pqap(QCI).r(2, NOWHERE)),
        ("QCI far away", pqap(QCI).r(2, 0x7fff_ffff_ffff_f000)),
        ("NQAP", enqueue(NOWHERE, 400)),
        ("NQAP across the end", enqueue(LAST - 99, 400)),
        ("DQAP", dequeue(NOWHERE, 144)),
        ("DQAP across the end", dequeue(LAST - 15, 144)),
        ("NQAP in 31-bit mode", enqueue(NOWHERE, 400).mask(BITS_31)),
    ];
    let cases = cases.map(|(name, step)| (name, ADDRESSING, step));
    assert_exceptions(&instance, ALL, &cases);
    assert_eq!(instance.requests(), 0);
}

#[test]
fn problem_state_comes_before_everything_else() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let cases = [
        ("TAPQ", pqap(TAPQ | QUEUE)),
        ("QCI", pqap(QCI).r(2, 0x0040_0000)),
        ("RAPQ", pqap(RAPQ | QUEUE)),
        ("unknown function", pqap(0x0a00_0000)),
        ("NQAP", enqueue(0x0040_0000, 400)),
        ("NQAP without a length", enqueue(NOWHERE, 0)),
        ("DQAP", dequeue(0x0040_0000, 144)),
        ("DQAP in 31-bit mode", dequeue(NOWHERE, 144).mask(BITS_31)),
    ];
    let cases = cases.map(|(name, step)| {
        let mask = step.psw_mask();
        (name, PRIVILEGED, step.mask(mask | PROBLEM))
    });
    assert_exceptions(&instance, ALL, &cases);
    assert_eq!(instance.requests(), 0);
}

/// Without the feature the instructions are QEMU's business: it does not know them.
#[test]
fn without_ap_the_instructions_do_not_exist() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let cases = [
        ("TAPQ", OPERATION, pqap(TAPQ | QUEUE)),
        ("NQAP", OPERATION, enqueue(0x0040_0000, 400)),
        ("DQAP", OPERATION, dequeue(0x0040_0000, 400)),
    ];
    assert_exceptions(&instance, "ap=off", &cases);
    assert_eq!(instance.requests(), 0);
}
