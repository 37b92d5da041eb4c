//! Nothing of a guest stays in the daemon's memory: the whole of it is searched for what only the
//! guest's messages had.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};
use guest::ModExpo;

use crate::instance::{A, Instance};
use crate::tier::Tier;

const QUEUE: Apqn = Apqn::new(5, 4);
/// Bytes that nothing but the guest's operands has: no program contains them, this one does not either
/// (they are computed), and numbers may be kept in either order.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn mark() -> [u8; 16] {
    let [a, b] = [SEED.wrapping_mul(3), SEED.wrapping_mul(5)].map(u64::to_be_bytes);
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&a);
    mark[8..].copy_from_slice(&b);
    // Odd, so that a modulus can end with it.
    mark[15] |= 1;
    mark
}

/// So much of a piece of memory is looked at again with the next one: a mark may lie across.
const OVERLAP: usize = 15;

/// Where in the memory of a process the mark is, in either byte order.
fn search(pid: u32) -> Vec<String> {
    let straight = mark();
    let mut reversed = straight;
    reversed.reverse();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be read");
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(access)) = (words.next(), words.next()) else {
            continue;
        };
        let (Some((start, end)), true) = (range.split_once('-'), access.starts_with("rw")) else {
            continue;
        };
        let address = |digits| u64::from_str_radix(digits, 16).expect("an address");
        let (mut at, end) = (address(start), address(end));
        // In pieces that overlap by a mark; what cannot be read has gone since.
        let mut piece = vec![0; 1 << 20];
        while at < end {
            let length = piece
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let Ok(read) = memory.read_at(&mut piece[..length], at) else {
                break;
            };
            for wanted in [&straight, &reversed] {
                let mut windows = piece[..read].windows(wanted.len());
                if let Some(offset) = windows.position(|window| window == wanted) {
                    found.push(format!("{:#x} in {line}", at + offset as u64));
                }
            }
            if read <= OVERLAP {
                break;
            }
            at += (read - OVERLAP) as u64;
        }
    }
    found
}

/// Waits until the mark is nowhere: an engine may still be at work when a queue is taken away.
fn gone(instance: &Instance, when: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = search(instance.pid());
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{when}: {found:#?}");
    }
}

fn open(instance: &Instance, vm: &str) -> Client {
    let request = OpenRequest {
        vm: vm.parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Client::connect(&socket, request.clone(), ClientOptions::default()) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// Leaves marked requests and replies in the queue, and some that were read.
fn work(client: &mut Client) {
    let number = mark().repeat(8);
    let mut modulus = number.clone();
    // Above the message, and still marked.
    modulus[0] = 0xff;
    // To the power of 1: the result is the message, so that the reply is marked too.
    let operands = ModExpo {
        message: &number,
        exponent: &[1],
        modulus: &modulus,
    };
    let request = operands.encode().expect("the operands fit");
    let mut buffer = vec![0; 4096];
    let mut results = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while results < 20 {
        assert!(Instant::now() < deadline, "only {results} results");
        client.nqap(QUEUE, 1, false, &request.message);
        // Also what a card does not understand.
        client.nqap(QUEUE, 2, true, &number);
        let reply = client.dqap(QUEUE, &mut buffer[..]);
        let result = &buffer[..reply.stored];
        results += u32::from(result.windows(16).any(|window| window == mark()));
    }
    while client.nqap(QUEUE, 3, false, &request.message).code == ResponseCode::NORMAL {}
    // A reply that was read in part.
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.dqap(QUEUE, &mut buffer[..40]).residual == 0 {
        assert!(Instant::now() < deadline, "no reply");
    }
}

#[test]
fn nothing_of_a_guest_stays_in_the_daemons_memory() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut client = open(&instance, "first");
    let marked = |client: &mut Client| {
        work(client);
        assert!(
            !search(instance.pid()).is_empty(),
            "the search finds what is there"
        );
    };

    marked(&mut client);
    instance.set(&format!("devices/vfio_ap/matrix/{A}/unassign_adapter"), "5");
    gone(&instance, "unassigned, with the guest still there");
    instance.set(&format!("devices/vfio_ap/matrix/{A}/assign_adapter"), "5");

    marked(&mut client);
    client.reset().expect("the queue is healthy");
    gone(&instance, "reset");

    marked(&mut client);
    client.zapq(QUEUE);
    gone(&instance, "zeroized by the guest");

    marked(&mut client);
    instance.set("bus/ap/drivers/vfio_ap/unbind", "05.0004");
    gone(&instance, "unbound");
    instance.set("bus/ap/drivers/vfio_ap/bind", "05.0004");

    marked(&mut client);
    drop(client);
    gone(&instance, "closed");
    // The next owner of the queue finds its buffers.
    let mut next = open(&instance, "next");
    assert_eq!(
        next.nqap(QUEUE, 1, false, &[0; 8]).code,
        ResponseCode::NORMAL
    );
    gone(&instance, "with the next guest");
}
