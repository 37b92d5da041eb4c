//! A guest that keeps the cards busy with requests that it throws away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use arch::{ApInstructions, Apqn, Instruction, ResponseCode};
use cex::type50::{RsaRequest, SizeClass};
use device::{Client, ClientOptions};

use super::administration::Scene;
use super::honest::MALFORMED;
use super::vmm::{Ends, PATIENCE, Vmm, exec, request, socket};
use crate::instance::{A, B};
use crate::tier::Tier;

/// Requests that a queue takes, and how often it is filled before the answers are read.
const DEPTH: usize = 8;
const ROUNDS: usize = 8;
/// Requests that the attacker has thrown away before the other guest asks for anything.
const THROWN_AWAY: u64 = 20_000;
/// Requests of the other guest.
const REQUESTS: u64 = 20;

/// The hostile guest fills its queue with long computations, resets it and fills it again, so that there
/// is always something to compute in vain: whoever took requests in the order in which they were
/// announced would compute for it for minutes before the other guest's turn.
#[test]
fn a_guest_that_resets_without_end_does_not_delay_another() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let long = RsaRequest::ModExpo {
        size: SizeClass::Bits4096,
        exponent: &[0xff; 512],
        modulus: &[0xff; 512],
        message: &[0x55; 512],
    }
    .encode();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "resets");
    let (stop, thrown_away) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| {
            let apqn = Apqn::new(5, 4);
            let nqap = Instruction::Nqap {
                apqn,
                psmid: 1,
                special: false,
                message: &long,
            };
            let reset = Instruction::Rapq { apqn, force: false };
            let round = [exec(&reset, 0), exec(&nqap, 0).repeat(DEPTH)].concat();
            let rounds = round.repeat(ROUNDS);
            while !stop.load(Ordering::Relaxed) {
                vmm.send(&rounds);
                for _ in 0..ROUNDS * (1 + DEPTH) {
                    vmm.receive().expect("it answers");
                }
                thrown_away.fetch_add((ROUNDS * DEPTH) as u64, Ordering::Relaxed);
            }
        });
        while thrown_away.load(Ordering::Relaxed) < THROWN_AWAY {
            thread::yield_now();
        }
        let memory = scene.status("VmRSS");
        let socket = socket(&scene.instance, B);
        let mut other = Client::connect(&socket, request("other"), ClientOptions::default())
            .expect("the other device opens");
        let (apqn, mut buffer) = (Apqn::new(6, 4), [0; 1024]);
        let before = scene.requests()["05.0004"];
        let start = Instant::now();
        for psmid in 0..REQUESTS {
            let status = other.nqap(apqn, psmid, false, &MALFORMED);
            assert_eq!(status.code, ResponseCode::NORMAL);
            while other.dqap(apqn, &mut buffer).stored == 0 {
                assert!(start.elapsed() < PATIENCE, "the other guest has no turn");
            }
        }
        let in_vain = scene.requests()["05.0004"] - before;
        println!(
            "{REQUESTS} requests took {:?} and {in_vain} in vain, beside {thrown_away:?} thrown away",
            start.elapsed()
        );
        // What each engine works on, and what stood in the list before the other guest's queue.
        let engines = thread::available_parallelism().map_or(1, usize::from) as u64;
        let turns = 2 * engines + 2;
        assert!(
            in_vain <= turns * REQUESTS,
            "{in_vain} computations in vain"
        );
        let grown = scene.status("VmRSS").saturating_sub(memory);
        assert!(grown < 16 << 10, "the daemon grew by {grown} KiB");
        drop(ends);
    });
}
