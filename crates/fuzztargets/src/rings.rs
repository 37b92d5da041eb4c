//! The server's end of a ring over memory that a client fills as it likes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use arch::{ApType, Apqn, HwInfo};
use device::{RingEnd, RingServer};

/// A queue that holds eight messages of 12 KiB.
const INFO: HwInfo = HwInfo::new(0, ApType::CEX8, 0, 0, 7);
const DEPTH: usize = 8;
/// Longest message of a slot.
const SLOT_BYTES: usize = 4080;
/// Where ring 0 has its counts and its slots in the area.
const COUNTS: u64 = 4096;
const SLOTS: u64 = 8192;

/// What the server does between two of the client's writes.
fn serve(end: &mut RingEnd, step: u8, buffer: &mut [u8]) {
    match step % 8 {
        0..=3 => {
            let Ok(load) = end.load(DEPTH, 0) else {
                // The queue is reset, and nothing is left of the lie.
                end.close();
                end.open(false);
                let load = end.load(DEPTH, 0);
                assert!(load.is_err() || load.is_ok_and(|load| load.waiting <= DEPTH));
                return;
            };
            assert!(load.waiting + load.replies <= DEPTH);
            if let Ok(Some(taken)) = end.take(buffer) {
                assert!((1..=SLOT_BYTES).contains(&taken.length));
                end.post(taken.psmid, &buffer[..taken.length]);
            }
        }
        4 => assert!(!end.post(1, &[0; SLOT_BYTES + 1])),
        5 => {
            for nth in 0..2 * DEPTH {
                if let Ok(reply) = end.unread(nth, buffer) {
                    assert!(reply.length <= SLOT_BYTES);
                    assert!(reply.read == 0 || reply.read < reply.length);
                }
            }
        }
        6 => end.begin_closing(),
        _ => {
            end.close();
            end.open(step & 8 != 0);
        }
    }
}

/// A program of writes, each followed by a step of the server: three bytes say what and where, eight what
/// is written. No write makes the server panic, copy too much or believe what cannot be.
///
/// # Panics
/// When that is not so, or the system has no memory.
pub fn rings(bytes: &[u8]) {
    let (server, area) = RingServer::detached().expect("the system has memory");
    let area = File::from(area);
    let mut end = server
        .make(Apqn::new(5, 4), INFO)
        .expect("the first queue has a ring");
    end.open(false);
    let mut buffer = vec![0; INFO.max_message_size()];
    for piece in bytes.as_chunks::<11>().0 {
        let [step, place, number, word @ ..] = *piece;
        let at = match place % 4 {
            0 | 1 => COUNTS + 8 * u64::from(number % 4),
            // The length in one of the slots.
            2 => SLOTS + 4096 * u64::from(number % 8) + 8,
            _ => SLOTS + 128 * u64::from(number),
        };
        area.write_at(&word, at).expect("the client may write");
        serve(&mut end, step, &mut buffer);
        let mut found = 0;
        server.scan(|_| found += 1);
        assert!(found <= 1, "there is one queue");
    }
}
