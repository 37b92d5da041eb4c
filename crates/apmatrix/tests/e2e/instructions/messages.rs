//! NQAP and DQAP.

use std::iter;

use super::{
    ALL, DQAP, EMPTY, FIRST, FOREIGN, LAST_PART, NOT_AVAILABLE, PSMID, QCI, QUEUE, assert_changed,
    dequeue, enqueue, instance, numbers, pqap,
};
use crate::bare::{BITS_24, BITS_31, BITS_64, End, LAST, Script, Step};
use crate::instance::A;
use crate::tier::Tier;

/// Branch back by one instruction of four bytes while the condition code is 3.
const WHILE_CC3: [u8; 4] = [0xa7, 0x14, 0xff, 0xfe];
/// Status and condition code of a DQAP on an empty queue.
const NO_REPLY: (u64, u8) = (0x8010_0000, 3);

/// The same again and again until the reply is there.
fn dequeue_waiting(address: u64, length: u64) -> Step {
    let step = Step::new(&[DQAP, WHILE_CC3].concat());
    let step = step.r(0, FIRST | QUEUE).r(2, 0);
    step.r(6, address).r(7, length)
}

/// A type 50 request, key block MEB1: 2 ^ 17 modulo 2^1024 - 1.
fn request() -> Vec<u8> {
    let mut request = vec![0, 0x50, 0x01, 0x90, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    request.resize(16 + 127, 0);
    request.push(17);
    request.extend([0xff; 128]);
    request.extend([0; 127]);
    request.push(2);
    request
}

/// The type 80 reply to [`request`].
fn reply() -> Vec<u8> {
    let mut reply = vec![0, 0x80, 0, 0x90];
    reply.resize(144, 0);
    reply[141] = 2;
    reply
}

#[test]
fn a_message_and_its_reply() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let mut rounds = Vec::new();
    // Bits that are no part of an address in the mode; message and buffer within a page or across.
    for (junk, mask, offset) in [
        (0, BITS_64, 0),
        (0, BITS_64, 0xf80),
        (0x9999_9999_8000_0000, BITS_31, 0),
        (0xffff_ffff_8000_0000, BITS_31, 0xf80),
        (0xffff_ffff_ff00_0000, BITS_24, 0),
    ] {
        let message = [vec![0; offset], request()].concat();
        let message = script.data(&message) + offset as u64;
        let buffer = script.data(&[0xee; 0x2000]) + offset as u64;
        let psmid = PSMID.1 + rounds.len() as u64;
        let send = enqueue(junk | message, 400).r(5, psmid).mask(mask);
        let receive = dequeue_waiting(junk | buffer, 200).mask(mask);
        rounds.push((send, receive.show(buffer, 200), psmid));
    }
    let nothing = dequeue(rounds[0].0.before(6), 200);
    script.step(nothing.clone());
    for (send, receive, _) in &rounds {
        script.step(send.clone());
        script.step(receive.clone());
    }
    let results = script.run(&instance, A, ALL);
    let empty = (results[0].r[1], results[0].cc);
    assert_eq!(empty, NO_REPLY);
    assert_changed(&nothing, &results[0], &[1], "no reply");
    for ((send, receive, psmid), after) in rounds.iter().zip(results[1..].chunks(2)) {
        let name = format!("message {psmid:#x}");
        let [sent, got] = after else {
            panic!("{name}: no reply")
        };
        assert_eq!((sent.end, sent.cc), (End::Completed, 0), "{name}");
        // The reply may be there already.
        assert_eq!(sent.r[1] & !0x4000_0000, 0, "{name}: {:#x}", sent.r[1]);
        assert_changed(send, sent, &[1], &name);

        assert_eq!((got.end, got.cc), (End::Completed, 0), "{name}");
        assert_eq!((got.r[1], got.r[2]), (EMPTY, 0), "{name}");
        assert_eq!((got.r[4], got.r[5]), (PSMID.0, *psmid), "{name}");
        let start = receive.before(6);
        // The upper half is no part of an address of 31 or 24 bits and stays.
        let (high, low) = (start & !0xffff_ffff, start + 144);
        let advanced = match receive.psw_mask() {
            BITS_64 => low,
            BITS_31 => high | low & 0x7fff_ffff,
            _ => high | low & 0x00ff_ffff,
        };
        assert_eq!((got.r[6], got.r[7]), (advanced, 56), "{name}");
        assert_changed(receive, got, &[1, 2, 4, 5, 6, 7], &name);
        assert_eq!(got.shown[..144], reply(), "{name}");
        assert_eq!(got.shown[144..], [0xee; 56], "{name}");
    }
    assert_eq!(instance.requests(), 5);
}

/// Vector 31: a buffer of 16 bytes for a reply of 144.
#[test]
fn a_small_buffer_drains_a_reply_in_parts() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let message = script.data(&request());
    let buffer = script.data(&[0xee; 0x100]);
    let first = dequeue_waiting(buffer, 16).show(buffer, 32);
    // GR0 as the first one returned it.
    let next = dequeue(buffer, 16).r(0, QUEUE).show(buffer, 32);
    script.step(enqueue(message, 400));
    for step in iter::once(first).chain(iter::repeat_n(next, 8)) {
        script.step(step);
    }
    script.step(dequeue(buffer, 16));
    let results = script.run(&instance, A, ALL);
    let reply = reply();
    for (part, after) in results[1..10].iter().enumerate() {
        let name = format!("part {part}");
        let left = 128 - 16 * part as u64;
        assert_eq!(after.end, End::Completed, "{name}");
        assert_eq!((after.r[2], after.r[7]), (left, 0), "{name}");
        // GR0 says from the first part on that this is a continuation.
        assert_eq!((after.r[0], after.r[6]), (QUEUE, buffer + 16), "{name}");
        assert_eq!(
            after.shown[..16],
            reply[16 * part..16 * (part + 1)],
            "{name}"
        );
        assert_eq!(after.shown[16..], [0xee; 16], "{name}");
        assert_eq!(after.cc, u8::from(left != 0), "{name}");
    }
    let last = &results[9];
    assert_eq!((last.r[1], last.r[4], last.r[5]), (EMPTY, PSMID.0, PSMID.1));
    assert_eq!(
        (results[10].r[1], results[10].cc),
        NO_REPLY,
        "the queue is empty"
    );
    assert_eq!(instance.requests(), 1);
}

/// A message to a queue that the guest has not, and one to a queue of its own but too long.
#[test]
fn refused_messages_reach_no_card() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let message = script.data(&request());
    let cases = [
        (
            enqueue(message, 400).r(0, LAST_PART | FOREIGN),
            NOT_AVAILABLE,
        ),
        (dequeue(message, 400).r(0, FIRST | FOREIGN), NOT_AVAILABLE),
        (dequeue(message, 400).r(0, FIRST | 0x0550), NOT_AVAILABLE),
        (enqueue(message, 0x10_0000), 0x8015_0000),
    ];
    for (step, _) in &cases {
        script.step(step.clone());
    }
    for ((step, status), after) in cases.iter().zip(script.run(&instance, A, ALL)) {
        let name = format!("{:#x}", step.before(0));
        assert_eq!((after.end, after.cc), (End::Completed, 3), "{name}");
        assert_eq!(after.r[1], *status, "{name}");
        assert_changed(step, &after, &[1], &name);
    }
    assert_eq!(instance.requests(), 0);
}

/// The last bytes of memory are an operand like any other.
#[test]
fn operands_end_with_memory() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = instance();
    let mut script = Script::default();
    let end = LAST + 1;
    // 400 zeros are no message type that a card knows.
    script.step(enqueue(end - 400, 400));
    script.step(dequeue_waiting(end - 8, 8).show(end - 8, 8));
    script.step(pqap(QCI).r(2, end - 128).show(end - 128, 48));
    let results = script.run(&instance, A, ALL);
    for after in &results {
        assert_eq!((after.end, after.cc), (End::Completed, 0));
    }
    assert_eq!(results[1].shown, [0, 0x82, 0, 0, 0x20, 0, 0, 0]);
    assert_eq!(numbers(&results[2].shown[16..]), [5]);
}
