//! What guests that keep the rules do while others do not.

use std::thread;
use std::time::Instant;

use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};

use super::administration::Scene;
use super::vmm::{PATIENCE, socket};

/// A request that every card answers at once, by a reply of eight bytes.
pub(super) const MALFORMED: [u8; 8] = [0, 0x50, 0, 8, 0, 0, 0, 0];

/// Opens a device as soon as it is free.
pub(super) fn connect(scene: &Scene, mdev: &str, request: &OpenRequest) -> Client {
    let socket = socket(&scene.instance, mdev);
    let start = Instant::now();
    loop {
        match Client::connect(&socket, request.clone(), ClientOptions::default()) {
            Ok(client) => return client,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        thread::yield_now();
    }
}

/// A request of the guest's is answered; nothing else of its is under way.
pub(super) fn is_answered(client: &mut Client, apqn: Apqn, psmid: u64) {
    let status = client.nqap(apqn, psmid, false, &MALFORMED);
    assert_eq!(status.code, ResponseCode::NORMAL);
    let (start, mut buffer) = (Instant::now(), [0; 64]);
    loop {
        let got = client.dqap(apqn, &mut buffer);
        if got.stored != 0 {
            assert_eq!((got.psmid, got.stored), (psmid, 8));
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no reply");
    }
}
