//! PQAP and STFLE: what the guest can ask.

use super::{
    ALL, CC, EMPTY, FOREIGN, NOT_AVAILABLE, PQAP, QCI, QUEUE, RAPQ, TAPQ, TAPQ_T, ZAPQ,
    assert_changed, instance, numbers, pqap,
};
use crate::bare::{After, BITS_31, End, Script, Step};
use crate::instance::{A, Instance};
use crate::tier::Tier;

/// STFLE to the address in register 6.
const STFLE: [u8; 4] = [0xb2, 0xb0, 0x60, 0];

#[test]
fn pqap_answers_in_registers() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    // S, M, C, A and N; type 14; messages of 8 KiB; depth 8.
    let info = 0xea00_0000_0e00_0207;
    let missing = (NOT_AVAILABLE, Some(0), 3);
    let here = (EMPTY, Some(info), 0);
    let status = (EMPTY, None, 0);
    let junk = 0xffff_ffff_0000_0000;
    let cases = [
        (pqap(TAPQ | QUEUE), here),
        (pqap(TAPQ_T | QUEUE), here),
        (pqap(TAPQ_T | 0x0547), here),
        (pqap(junk | TAPQ_T | QUEUE), here),
        (pqap(TAPQ_T | QUEUE).mask(BITS_31), here),
        (pqap(TAPQ_T | QUEUE).at_offset(0xffe), here),
        (pqap(TAPQ | FOREIGN), missing),
        (pqap(TAPQ_T | FOREIGN), missing),
        (pqap(TAPQ_T | 0x0505), missing),
        (pqap(TAPQ_T | 0xffff), missing),
        (pqap(RAPQ | QUEUE), status),
        (pqap(ZAPQ | QUEUE), status),
        (pqap(RAPQ | FOREIGN), (NOT_AVAILABLE, None, 3)),
        (pqap(ZAPQ | FOREIGN), (NOT_AVAILABLE, None, 3)),
    ];
    let mut script = Script::default();
    for (step, _) in &cases {
        script.step(step.clone());
    }
    for ((step, (gr1, gr2, cc)), after) in cases.iter().zip(script.run(&instance, A, ALL)) {
        let name = format!("{:#x}", step.before(0));
        assert_eq!(after.end, End::Completed, "{name}");
        assert_eq!((after.r[1], after.cc), (*gr1, *cc), "{name}");
        match gr2 {
            Some(gr2) => assert_eq!(after.r[2], *gr2, "{name}"),
            None => assert_eq!(after.r[2], step.before(2), "{name}"),
        }
        assert_changed(step, &after, &[1, 2], &name);
        // Nothing but the condition code changes in the PSW.
        assert_eq!(after.mask & !CC, step.psw_mask(), "{name}");
    }
}

#[test]
fn qci_shows_the_masks_of_the_device() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let page = script.data(&[0xee; 0x1100]);
    let junk = 0x1234_5678_8000_0000;
    let steps = [
        pqap(QCI).r(2, page + 8).show(page, 144),
        pqap(QCI | QUEUE)
            .r(2, page + 0x1000 - 64)
            .show(page + 0x1000 - 72, 144),
        pqap(QCI)
            .r(2, junk | (page + 0x208))
            .mask(BITS_31)
            .show(page + 0x200, 144),
    ];
    for step in &steps {
        script.step(step.clone());
    }
    for (step, after) in steps.iter().zip(script.run(&instance, A, ALL)) {
        assert_eq!((after.end, after.cc), (End::Completed, 0));
        assert_changed(step, &after, &[], "QCI");
        assert_eq!(after.shown[..8], [0xee; 8], "before the block");
        assert_eq!(after.shown[136..], [0xee; 8], "behind the block");
        let block = &after.shown[8..136];
        assert_eq!(block[..6], [0xf0, 0, 0, 0, 63, 84], "flags and limits");
        assert_eq!(block[6..16], [0; 10]);
        assert_eq!(numbers(&block[16..48]), [5], "adapters");
        assert_eq!(numbers(&block[48..80]), [4, 0x47], "usage domains");
        assert_eq!(numbers(&block[80..112]), [0x47], "control domains");
        assert_eq!(block[112..], [0; 16]);
    }
}

/// The first two doublewords of the facility list as STFLE stores it.
fn facilities(instance: &Instance, features: &str) -> Vec<usize> {
    let mut script = Script::default();
    let list = script.data(&[0xee; 0x2000]);
    let across = list + 0x1000 - 8;
    let one = list + 0x100;
    for (address, doublewords) in [(list, 2), (across, 2), (one, 1)] {
        let step = Step::new(&STFLE).r(0, doublewords - 1).r(6, address);
        script.step(step.show(address, 24));
    }
    let results = script.run(instance, A, features);
    let whole = &results[0];
    assert_eq!(whole.end, End::Completed);
    assert_eq!(whole.cc, 3, "there are more doublewords");
    assert_eq!(whole.shown[16..], [0xee; 8], "behind the list");
    assert_eq!(results[1].shown, whole.shown, "across two pages");
    assert_eq!(results[2].shown[..8], whole.shown[..8], "one doubleword");
    assert_eq!(results[2].shown[8..], [0xee; 16], "behind the doubleword");
    numbers(&whole.shown[..16])
}

#[test]
fn stfle_shows_the_features() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    for (features, expected) in [
        (ALL, vec![12, 15]),
        ("ap+apft", vec![15]),
        ("ap+apqci", vec![12]),
        ("ap", vec![]),
    ] {
        let mut shown = facilities(&instance, features);
        shown.retain(|bit| [12, 15, 65].contains(bit));
        assert_eq!(shown, expected, "{features}");
    }
}

/// Registers that the instructions before set, and what the ones behind see.
#[test]
fn neighbours_in_the_same_block() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let around = |queue: u8| {
        let set_gr0 = [0xc0, 0x01, 0, 0, queue, 4]; // lgfi %r0, ...
        let compare = [0xb9, 0x20, 0, 0x78]; // cgr %r7, %r8: condition code 1
        let copy_gr1 = [0xb9, 0x04, 0, 0x91]; // lgr %r9, %r1
        let insert_cc = [0xb2, 0x22, 0, 0xa0]; // ipm %r10
        let code = [&set_gr0[..], &compare, &PQAP, &copy_gr1, &insert_cc];
        Step::new(&code.concat()).r(10, 0)
    };
    let mut script = Script::default();
    script.step(around(5));
    script.step(around(6));
    let results = script.run(&instance, A, ALL);
    let seen = |after: &After| (after.r[0], after.r[9], after.r[10] >> 28, after.cc);
    assert_eq!(seen(&results[0]), (QUEUE, EMPTY, 0, 0));
    assert_eq!(seen(&results[1]), (FOREIGN, NOT_AVAILABLE, 3, 3));
}
