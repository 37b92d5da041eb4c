//! A device that a guest holds: hot plug and unplug of its matrix, and its removal.

use std::thread;
use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};

use crate::instance::{A, Instance};
use crate::tier::Tier;

fn open(instance: &Instance) -> Client {
    let request = OpenRequest {
        vm: "guest".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    Client::connect(&socket, request, ClientOptions::default()).expect("it opens")
}

fn code(client: &mut Client, adapter: u8) -> ResponseCode {
    client.tapq(Apqn::new(adapter, 4), true).0.code
}

/// What the guest reaches when a write has returned is what the write says (spec 3.3, 4.1).
#[test]
fn plug_and_unplug_are_there_when_the_write_returns() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5], &[4]);
    let mut client = open(&instance);
    let queue = |adapter: u8| format!("devices/ap/card{adapter:02x}/{adapter:02x}.0004");
    assert_eq!(instance.read(&format!("{}/status", queue(5))), "in use\n");
    assert_eq!(code(&mut client, 6), ResponseCode::NOT_AVAILABLE);
    for _ in 0..50 {
        instance.set(&format!("devices/vfio_ap/matrix/{A}/assign_adapter"), "6");
        assert_eq!(code(&mut client, 6), ResponseCode::NORMAL);
        assert!(
            client
                .qci()
                .expect("the facility is there")
                .apm
                .contains(arch::Apid(6))
        );
        instance.set(&format!("devices/vfio_ap/matrix/{A}/unassign_adapter"), "6");
        assert_eq!(code(&mut client, 6), ResponseCode::NOT_AVAILABLE);
    }
    // Unbinding one queue takes its whole adapter from the guest (spec 4.4).
    instance.set("bus/ap/drivers/vfio_ap/unbind", "05.0004");
    assert_eq!(code(&mut client, 5), ResponseCode::NOT_AVAILABLE);
    instance.set("bus/ap/drivers/vfio_ap/bind", "05.0004");
    assert_eq!(code(&mut client, 5), ResponseCode::NORMAL);
    // Deconfigured hardware stays the guest's, and says so.
    assert!(instance.verb(&["hmc", "deconfigure", "5"]).status.success());
    assert_eq!(code(&mut client, 5), ResponseCode::DECONFIGURED);
    drop(client);
}

/// The writer of `remove` waits; the guest has lost everything at once (spec 5.6).
#[test]
fn removal_waits_for_the_guest_to_let_go() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let mut client = open(&instance);
    thread::scope(|scope| {
        let removal =
            scope.spawn(|| instance.set(&format!("devices/vfio_ap/matrix/{A}/remove"), "1"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while code(&mut client, 5) != ResponseCode::NOT_AVAILABLE {
            assert!(Instant::now() < deadline, "the guest keeps its queue");
        }
        assert!(
            !removal.is_finished(),
            "the write returned while the guest holds the device"
        );
        assert!(instance.exists(&format!("devices/vfio_ap/matrix/{A}")));
        // Nobody else waits meanwhile.
        instance.set("bus/ap/config_time", "60");
        drop(client);
        removal.join().expect("the write succeeds");
    });
    assert!(!instance.exists(&format!("devices/vfio_ap/matrix/{A}")));
}
