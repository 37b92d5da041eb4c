//! After an unassign has returned, nothing of the guest reaches the card any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use apmatrix::control::{Request, Response, ask};
use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, Instruction, ResponseCode};
use cex::reference::ReferenceKey;
use device::{Client, ClientOptions, OpenRequest};
use guest::ModExpo;

use crate::instance::{A, Instance};
use crate::tier::Tier;

const ROUNDS: usize = 1000;

/// Requests that reached any card.
fn reached(instance: &Instance) -> u64 {
    match ask(&instance.run_dir().join("control.sock"), &Request::Show).expect("it answers") {
        Response::Hardware(view) => view.requests.iter().map(|row| row.count).sum(),
        other => panic!("{other:?}"),
    }
}

/// A client that does nothing but submit, whatever it is told, while an administrator takes the
/// adapter away a thousand times.
#[test]
fn a_hostile_client_never_gets_a_request_through_after_unassign() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let key = ReferenceKey::generate(1024).expect("OpenSSL makes keys");
    let message = key.random_message().expect("OpenSSL has random numbers");
    let operands = ModExpo {
        message: &message,
        exponent: &key.e,
        modulus: &key.n,
    };
    let request = operands.encode().expect("the operands fit");
    let open = OpenRequest {
        vm: "hostile".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let mut client = Client::connect(&socket, open, ClientOptions::default()).expect("it opens");

    let (stop, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let apqn = Apqn::new(5, 4);
            let mut buffer = vec![0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let nqap = Instruction::Nqap {
                    apqn,
                    psmid: 7,
                    special: false,
                    message: &request.message,
                };
                let status = client
                    .execute(&nqap, &mut [])
                    .status()
                    .expect("NQAP has a status");
                if status.code == ResponseCode::NORMAL {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
                client.dqap(apqn, &mut buffer);
            }
        });
        let (assign, unassign) = (
            format!("devices/vfio_ap/matrix/{A}/assign_adapter"),
            format!("devices/vfio_ap/matrix/{A}/unassign_adapter"),
        );
        for round in 0..ROUNDS {
            let before = accepted.load(Ordering::Relaxed);
            while accepted.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
            instance.set(&unassign, "5");
            let after = reached(&instance);
            // The client goes on submitting meanwhile; any leak shows in the second look.
            thread::yield_now();
            assert_eq!(
                reached(&instance),
                after,
                "round {round}: a request got through"
            );
            instance.set(&assign, "5");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(accepted.load(Ordering::Relaxed) >= ROUNDS as u64);
}
