//! Of a key that was kept nothing stays in memory when its queue is reset or taken away: the whole memory of
//! this process is searched for the key's bytes, in either order. One test alone, so that nothing else
//! in the process can have them.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use arch::{ApInstructions, Apcb, Apid, Apqi, Apqn, CrycbFormat, Facilities};
use cex::keys::HashKey;
use cex::type50::{CrtKey, RsaRequest, SizeClass};
use machine::{GuestId, Machine, PartitionConfig, Scratch};
use zeroize::Zeroizing;

const QUEUE: Apqn = Apqn::new(3, 6);
const GUEST: GuestId = GuestId(1);

/// An RSA-1024 key made for this test. Its bytes stand here with this added without carry, so that the
/// program does not contain what it looks for.
const MASK: u8 = 0xa5;
const P: [u8; 64] = *b"\x41\x80\x64\xa4\x49\xdf\x31\x6e\x88\x3b\x6f\x1e\x2e\x14\x4c\x37\xe1\x2a\xe9\x1d\xcf\x05\x0d\x36\x4a\x8c\x11\xf3\x1a\xb3\x99\x5d\x79\x5a\x84\xce\x15\xdd\x4b\x27\xaa\x2e\xcc\xba\xec\x00\x54\x98\x55\xa3\x5c\x84\xe9\x37\xa0\x5c\xb3\xdc\xde\x6b\x20\x38\xd6\x9a";
const Q: [u8; 64] = *b"\x7a\x30\xef\x65\x01\x5b\x62\x14\x77\x68\x57\x73\x0a\x63\x81\x66\x67\xba\x96\xe0\x63\x8f\xfd\xd0\x4e\xda\xa9\x78\x34\xa4\x1a\xdd\x59\xf7\xf6\x1e\xaa\xe9\x51\xc9\xc2\x22\x2a\x51\x8b\x7a\xaa\x6f\xf0\x20\xd2\x4b\x4a\xc7\xa7\x42\x94\x30\x85\x3e\x67\xff\x96\x54";
const DP: [u8; 64] = *b"\x65\x3c\x73\x09\xc2\xb1\x19\x71\x84\xdc\x97\x95\x68\x02\x0b\xe0\xbf\x12\x73\x6b\x65\x60\xe9\xee\xe3\x70\x55\x93\xc6\x8b\x61\x7b\xff\x67\x6a\xf0\x5d\x8b\x1a\x9f\x54\x85\x24\x4d\x90\x43\xca\xbd\xbd\x0a\x4f\xf0\xc5\x89\x68\x5f\xb5\x88\xb7\x20\x15\xcf\x74\xe0";
const DQ: [u8; 64] = *b"\xe6\x52\x4e\x35\x07\x72\x58\x92\xb3\x64\x3e\xad\xbb\x6c\xff\x30\x71\x83\x28\x59\x14\x85\xc5\xc7\xa5\x01\xea\x54\x4a\xef\xbe\x1b\xbd\x7b\x07\x8e\x01\x39\xb8\xf0\x56\x82\x82\x45\x55\xdf\x6c\xba\xb3\xfb\x2e\x13\x89\x9c\x39\xcb\xf7\xac\xc3\x0a\xf6\x83\x5b\x74";
const U: [u8; 64] = *b"\xf3\x51\x47\x22\x9f\x70\x35\x14\x57\xf2\x7f\x10\xfc\xfc\x4d\xe8\xef\x4b\x84\xd9\x70\x7f\x26\x45\xe5\x72\x3a\x3f\xec\x07\xc1\x68\x24\x9e\x82\xca\xdc\xb5\xf8\x26\x4e\xfb\x8b\x32\xf1\xbd\x07\x3c\xa7\x88\xe8\x52\x4c\x10\x9e\x0f\xf3\x93\x03\xbe\xd8\xf5\xb7\x79";

/// So much of a part is looked for, from the middle.
const MARK: core::ops::Range<usize> = 20..36;

fn unmasked(masked: &[u8; 64]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(masked.iter().map(|byte| byte ^ MASK).collect())
}

fn request() -> Zeroizing<Vec<u8>> {
    let [p, q, dp, dq, u] = [P, Q, DP, DQ, U].map(|part| unmasked(&part));
    let key = CrtKey {
        p: &p,
        q: &q,
        dp: &dp,
        dq: &dq,
        u: &u,
    };
    let message = &[0x42; 100];
    let size = SizeClass::Bits1024;
    Zeroizing::new(RsaRequest::Crt { size, key, message }.encode())
}

/// How often a mark of the key is in the memory of this process.
fn found() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut count = 0;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(access)) = (words.next(), words.next()) else {
            continue;
        };
        let (Some((start, end)), true) = (range.split_once('-'), access.starts_with("rw")) else {
            continue;
        };
        let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        let mut piece = Zeroizing::new(vec![0; usize::try_from(end - start).unwrap()]);
        let Ok(read) = memory.read_at(&mut piece, start) else {
            continue;
        };
        for part in [P, Q, DP, DQ, U] {
            let straight = &part[MARK];
            count += piece[..read]
                .windows(straight.len())
                .filter(|window| {
                    let is = |masked: &u8, byte: &u8| byte ^ MASK == *masked;
                    straight.iter().zip(*window).all(|(m, b)| is(m, b))
                        || straight.iter().rev().zip(*window).all(|(m, b)| is(m, b))
                })
                .count();
        }
    }
    count
}

fn masks(machine: &Machine, apqis: &[u8]) {
    let apcb = Apcb {
        apm: [Apid(3)].into_iter().collect(),
        aqm: apqis.iter().copied().map(Apqi).collect(),
        ..Apcb::EMPTY
    };
    machine.set_masks(GUEST, &apcb).unwrap();
}

/// Sends the key three times: it is imported, prepared and found.
fn work(machine: &Machine) {
    let mut scratch = Scratch::new();
    let mut cpu = machine.guest(GUEST);
    let mut results = Vec::new();
    for psmid in 0..3 {
        let message = request();
        assert_eq!(cpu.nqap(QUEUE, psmid, false, &message).to_gr1(), 0);
        machine.run_one(QUEUE, &mut scratch);
        let mut reply = vec![0; 144];
        assert_eq!(cpu.dqap(QUEUE, &mut reply).stored, 144);
        assert_eq!(reply[1], 0x80);
        results.push(reply);
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[1], results[2]);
}

#[test]
fn a_kept_key_leaves_nothing() {
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6; dom 7").unwrap();
    let secret = HashKey::new(&[3; 16]);
    let machine = Machine::keeping_keys(&config, Box::new(|_| {}), secret).unwrap();
    machine
        .attach_guest(GUEST, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    assert_eq!(found(), 0, "before anything");
    let ends: [fn(&Machine); 3] = [
        |machine| {
            machine.guest(GUEST).zapq(QUEUE);
        },
        |machine| masks(machine, &[7]),
        |machine| machine.checkstop(Apid(3)).unwrap(),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        masks(&machine, &[6, 7]);
        work(&machine);
        assert!(found() > 5, "the test sees a key that is kept");
        end(&machine);
        assert_eq!(found(), 0, "end {number}");
    }
}
