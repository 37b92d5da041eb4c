//! A machine that starts again finds empty queues, whether or not its program resets them as Linux does.

use super::{ALL, EMPTY, QUEUE, TAPQ, dequeue, enqueue, instance, pqap};
use crate::bare::{End, Script, Step};
use crate::instance::A;
use crate::tier::Tier;

/// Register 2: a PSW of the short format, addresses of 31 bits.
const SHORT_PSW: u64 = 0x0008_0000_8000_0000;

/// Resets the machine by `subcode` in register 3 and goes on behind that.
fn restart(subcode: u64) -> Step {
    let behind = [0xc0, 0x10, 0, 0, 0, 10]; // larl %r1, 20 bytes on
    let with_mask = [0xb9, 0x81, 0, 0x12]; // ogr %r1, %r2
    let restart_psw = [0xe3, 0x10, 0, 0, 0, 0x24]; // stg %r1, 0
    let diagnose = [0x83, 0x03, 0x03, 0x08]; // diag %r0, %r3, 0x308
    let sam64 = [0x01, 0x0e];
    let code = [&behind[..], &with_mask, &restart_psw, &diagnose, &sam64].concat();
    Step::new(&code).r(2, SHORT_PSW).r(3, subcode)
}

/// Messages that are in the queue when the machine starts again.
const MESSAGES: usize = 8;

/// DIAGNOSE 0x308 with the subcodes that leave memory alone, which is how kexec and a kernel that
/// dumps itself start the next one.
#[test]
fn a_reset_that_keeps_memory_empties_the_queues() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    // Something that no card understands gets a reply as well.
    let message = script.data(&[0x50; 400]);
    let buffer = script.data(&[0; 4096]);
    let subcodes = [0, 1];
    for subcode in subcodes {
        for _ in 0..MESSAGES {
            script.step(enqueue(message, 400));
        }
        script.step(pqap(TAPQ | QUEUE));
        script.step(restart(subcode));
        script.step(pqap(TAPQ | QUEUE));
        script.step(dequeue(buffer, 4096));
    }
    let results = script.run(&instance, A, ALL);
    for (subcode, after) in subcodes.iter().zip(results.chunks(MESSAGES + 4)) {
        let (sent, rest) = after.split_at(MESSAGES);
        assert!(sent.iter().all(|sent| sent.cc == 0), "{sent:?}");
        let [before, restarted, emptied, got] = rest else {
            panic!("subcode {subcode}: {rest:?}")
        };
        assert_eq!((before.cc, before.r[1] & EMPTY), (0, 0), "{before:?}");
        assert_eq!(restarted.end, End::Completed);
        assert_eq!((emptied.cc, emptied.r[1]), (0, EMPTY), "subcode {subcode}");
        assert_eq!((got.cc, got.r[1]), (3, 0x8010_0000), "subcode {subcode}");
    }
}

#[test]
fn system_reset_empties_the_queues() {
    let for_ever = [0xa7, 0xf4, 0, 0]; // j .
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let message = script.data(&[0x50; 400]);
    script.step(pqap(TAPQ | QUEUE));
    for _ in 0..MESSAGES {
        script.step(enqueue(message, 400));
    }
    script.step(pqap(TAPQ | QUEUE));
    script.step(Step::new(&for_ever));
    let results = script.run_and_reset(&instance, A, ALL);
    let [new, .., full, again] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!((new.cc, new.r[1]), (0, EMPTY));
    assert_eq!((full.cc, full.r[1] & EMPTY), (0, 0), "{full:?}");
    assert_eq!((again.cc, again.r[1]), (0, EMPTY), "after system_reset");
}
