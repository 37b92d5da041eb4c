//! The hardware changes while guests are attached.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::sync::Arc;
use std::sync::Mutex;

use arch::{
    ApInstructions, ApType, Apcb, Apid, Apqi, Apqn, AqicControl, CardMode, CrycbFormat, Facilities,
};
use cex::type50::{RsaRequest, SizeClass};
use machine::{ConsoleError, GuestId, Machine, PartitionConfig, Ran, Scratch};

const GUEST: GuestId = GuestId(1);
const APQN: Apqn = Apqn::new(3, 6);

fn machine_with_guest(spec: &str) -> Machine {
    let config = PartitionConfig::parse_spec(spec).unwrap();
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    machine
        .attach_guest(GUEST, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let apcb = Apcb {
        apm: [Apid(3), Apid(4)].into_iter().collect(),
        aqm: [Apqi(6), Apqi(7)].into_iter().collect(),
        ..Apcb::EMPTY
    };
    machine.set_masks(GUEST, &apcb).unwrap();
    machine
}

fn request() -> Vec<u8> {
    RsaRequest::ModExpo {
        size: SizeClass::Bits1024,
        exponent: &[5],
        modulus: &[35],
        message: &[3],
    }
    .encode()
}

fn status(machine: &Machine, apqn: Apqn) -> u64 {
    machine.guest(GUEST).tapq(apqn, true).0.to_gr1()
}

/// One reply and one request in the queue, interrupts on.
fn load(machine: &Machine, scratch: &mut Scratch) {
    let mut guest = machine.guest(GUEST);
    guest.zapq(APQN);
    guest.aqic(APQN, AqicControl::enable(6), 0x1000);
    guest.nqap(APQN, 1, false, &request());
    machine.run_all(scratch);
    guest.nqap(APQN, 2, false, &request());
    assert_eq!(status(machine, APQN), 0x4100_0000);
}

#[test]
fn hardware_that_goes_and_returns_is_plugged_again_and_empty() {
    type Change = fn(&Machine) -> Result<(), ConsoleError>;
    let changes: [(Change, u64, Change); 6] = [
        (
            |m| m.deconfigure(Apid(3)),
            0x8003_0000,
            |m| m.configure(Apid(3)),
        ),
        (
            |m| m.checkstop(Apid(3)),
            0x8004_0000,
            |m| m.recover(Apid(3)),
        ),
        (
            |m| m.remove_adapter(Apid(3)),
            0x0001_0000,
            |m| m.add_adapter(Apid(3), ApType(14), CardMode::Accelerator),
        ),
        (
            |m| m.remove_domain(Apqi(6)),
            0x0001_0000,
            |m| m.add_domain(Apqi(6)),
        ),
        (
            |m| m.replace_by_spec("card 3 14 P; dom 6"),
            0x8000_0000,
            |m| m.replace_by_spec("card 3 14 A; dom 6"),
        ),
        (
            |m| m.replace_by_spec("card 3 13 A; dom 6"),
            0x8000_0000,
            |m| m.replace_by_spec("card 3 14 A; dom 6"),
        ),
    ];
    let machine = machine_with_guest("card 3 14 A; dom 6");
    let mut scratch = Scratch::new();
    for (there, between, back) in changes {
        load(&machine, &mut scratch);
        let before = machine.counters(APQN);
        there(&machine).unwrap();
        assert_eq!(status(&machine, APQN), between);
        assert_eq!(machine.run_one(APQN, &mut scratch), Ran::Idle);
        back(&machine).unwrap();
        assert_eq!(status(&machine, APQN), 0x8000_0000);
        let after = machine.counters(APQN);
        assert_eq!(after.reached, before.reached, "monotonic");
        assert_eq!(after.load, machine::QueueLoad::default());
    }
    load(&machine, &mut scratch);
}

#[test]
fn changes_elsewhere_leave_a_queue_alone() {
    let machine = machine_with_guest("card 3 14 A; dom 6");
    let mut scratch = Scratch::new();
    load(&machine, &mut scratch);
    machine
        .add_adapter(Apid(4), ApType(13), CardMode::Cca)
        .unwrap();
    machine.add_domain(Apqi(7)).unwrap();
    machine.add_control_domain(Apqi(9)).unwrap();
    assert_eq!(status(&machine, Apqn::new(4, 7)), 0x8000_0000);
    machine.deconfigure(Apid(4)).unwrap();
    machine.remove_control_domain(Apqi(9)).unwrap();
    machine
        .replace_by_spec("card 3 14 A; dom 6; na 63")
        .unwrap();
    assert_eq!(status(&machine, APQN), 0x4100_0000);
    assert_eq!(machine.host().qci().unwrap().na, 63);
    assert_eq!(machine.run_all(&mut scratch), 1);
}

#[test]
fn refused_operations_say_why_and_change_nothing() {
    let machine = machine_with_guest("na 63; nd 83; card 3 14 A; dom 6; cdom 6");
    let before = machine.snapshot();
    let accelerator = CardMode::Accelerator;
    let cases = [
        (
            machine.add_adapter(Apid(3), ApType(14), accelerator),
            "adapter 3 exists already",
        ),
        (
            machine.add_adapter(Apid(64), ApType(14), accelerator),
            "adapter 64 is above the highest adapter number 63",
        ),
        (
            machine.add_adapter(Apid(5), ApType(0), accelerator),
            "adapter 5 has type 0; types are 1 to 255",
        ),
        (machine.remove_adapter(Apid(5)), "there is no adapter 5"),
        (machine.configure(Apid(5)), "there is no adapter 5"),
        (machine.deconfigure(Apid(5)), "there is no adapter 5"),
        (machine.checkstop(Apid(5)), "there is no adapter 5"),
        (machine.recover(Apid(5)), "there is no adapter 5"),
        (machine.add_domain(Apqi(6)), "usage domain 6 exists already"),
        (
            machine.add_domain(Apqi(84)),
            "usage domain 84 is above the highest domain number 83",
        ),
        (machine.remove_domain(Apqi(7)), "there is no usage domain 7"),
        (
            machine.add_control_domain(Apqi(6)),
            "control domain 6 exists already",
        ),
        (
            machine.add_control_domain(Apqi(84)),
            "control domain 84 is above the highest domain number 83",
        ),
        (
            machine.remove_control_domain(Apqi(7)),
            "there is no control domain 7",
        ),
        (
            machine.replace_by_spec("card 3 14"),
            "\"card 3 14\": an adapter number, a type and a mode are expected after the keyword",
        ),
        (
            machine.replace(PartitionConfig {
                qci: None,
                ..machine.config()
            }),
            "the QCI facility and its flags cannot change while the machine runs",
        ),
    ];
    for (result, reason) in cases {
        assert_eq!(result.unwrap_err().to_string(), reason);
    }
    assert_eq!(machine.snapshot(), before);
    for repeated in [machine.configure(Apid(3)), machine.recover(Apid(3))] {
        assert_eq!(repeated, Ok(()));
    }
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn adapters_that_come_later_belong_to_the_guest_that_has_their_number() {
    let machine = machine_with_guest("dom 6");
    let other = GuestId(2);
    machine
        .attach_guest(other, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let apcb = Apcb {
        apm: [Apid(3)].into_iter().collect(),
        aqm: [Apqi(6)].into_iter().collect(),
        ..Apcb::EMPTY
    };
    assert!(machine.set_masks(other, &apcb).is_err());
    machine
        .add_adapter(Apid(3), ApType(14), CardMode::Accelerator)
        .unwrap();
    assert_eq!(machine.snapshot().queues[0].guest, Some(GUEST));
}

#[test]
fn the_doorbell_names_the_queue() {
    let rung = Arc::new(Mutex::new(Vec::new()));
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6").unwrap();
    let log = Arc::clone(&rung);
    let doorbell = Box::new(move |apqn| log.lock().unwrap().push(apqn));
    let machine = Arc::new(Machine::new(&config, doorbell).unwrap());
    let mut host = machine.host_shared();
    host.nqap(APQN, 1, false, &request());
    host.nqap(APQN, 1, false, &[0; 10_000]);
    host.nqap(Apqn::new(9, 9), 1, false, &request());
    assert_eq!(*rung.lock().unwrap(), [APQN]);
    let mut scratch = Scratch::new();
    let ran = machine.run_one(APQN, &mut scratch);
    let replied = Ran::Replied {
        guest: None,
        interrupts: None,
        in_port: false,
        more: false,
    };
    assert_eq!(ran, replied);
}
