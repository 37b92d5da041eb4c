//! An eventfd for adapter interruptions that is full: engines signal it by themselves, and each of them would be
//! lost to all guests if it waited.

use std::os::fd::OwnedFd;

use arch::{ApInstructions, Apqn, AqicControl, Facilities, Instruction, ResponseCode};
use device::{Client, DmaRange, OpenRequest};
use rustix::event::{EventfdFlags, eventfd};

use super::administration::Scene;
use super::descriptors::FULL;
use super::honest::{connect, is_answered};
use super::vmm::request;
use crate::instance::{A, B};
use crate::tier::Tier;

const MINE: Apqn = Apqn::new(5, 4);
const OTHERS: Apqn = Apqn::new(6, 4);
const MEMORY: DmaRange = DmaRange {
    address: 0,
    length: 0x1000,
    readable: true,
    writable: true,
};
/// Where the guest has its notification byte.
const BYTE: u64 = 8;

/// A guest whose queue interrupts it by `alert`.
fn interrupted(scene: &Scene, alert: &OwnedFd) -> Client {
    let request = request("full");
    let facilities = request.facilities | Facilities::APQI;
    let mut client = connect(
        scene,
        A,
        &OpenRequest {
            facilities,
            ..request
        },
    );
    client.dma_map(MEMORY).expect("it is a good range");
    let theirs = alert.try_clone().expect("there is a descriptor");
    client.set_alert(theirs).expect("it is an eventfd");
    let enable = Instruction::Aqic {
        apqn: MINE,
        control: AqicControl::enable(3),
        nib: BYTE,
    };
    let status = client.execute(&enable, &mut []).status();
    assert_eq!(status.map(|status| status.code), Some(ResponseCode::NORMAL));
    client
}

#[test]
fn engines_do_not_wait_for_a_full_eventfd() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let alert = eventfd(0, EventfdFlags::CLOEXEC).expect("there is a descriptor");
    rustix::io::write(&alert, &FULL.to_ne_bytes()).expect("it is empty");
    let mut attacker = interrupted(&scene, &alert);
    let mut other = connect(&scene, B, &request("other"));
    // Far more than there are engines.
    for psmid in 0..500 {
        is_answered(&mut attacker, MINE, psmid);
        is_answered(&mut other, OTHERS, psmid);
    }
    drop(other);
    scene.goes_on("an eventfd for interruptions that is full");
    drop((attacker, alert));
    scene.remove();
}
