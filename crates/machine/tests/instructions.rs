//! The architecture's answers, on a machine with one accelerator: card spec section 8, and what the
//! spec of `vfio_ap` says about guests.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use arch::registers::encode_pqap;
use arch::status::StatusFlags;
use arch::{
    ApInstructions, Apcb, Apid, Apqi, Apqn, AqicControl, CrycbFormat, Facilities, Instruction,
    Outcome, ProgramException, QciFlags, ResponseCode,
};
use cex::type50::{RsaRequest, SizeClass};
use machine::{GuestId, Machine, PartitionConfig, Scratch, SetMasksError};

const APQN: Apqn = Apqn::new(1, 2);

fn machine_of(spec: &str) -> Machine {
    let config = PartitionConfig::parse_spec(spec).unwrap();
    Machine::new(&config, Box::new(|_| {})).unwrap()
}

fn one_accelerator() -> Machine {
    machine_of("card 1 14 A; dom 2; cdom 2")
}

fn masks(apids: &[u8], apqis: &[u8]) -> Apcb {
    Apcb {
        apm: apids.iter().copied().map(Apid).collect(),
        aqm: apqis.iter().copied().map(Apqi).collect(),
        adm: apqis.iter().copied().map(Apqi).collect(),
    }
}

/// 3 ^ 5 mod 35.
fn request() -> Vec<u8> {
    RsaRequest::ModExpo {
        size: SizeClass::Bits1024,
        exponent: &[5],
        modulus: &[35],
        message: &[3],
    }
    .encode()
}

#[test]
fn tapq_of_a_configured_queue() {
    let machine = one_accelerator();
    for facilities in [false, true] {
        let (status, info) = machine.host().tapq(APQN, facilities);
        assert_eq!(status.to_gr1(), 0x8000_0000);
        assert_eq!(info.0, 0xea00_0000_0e00_0207);
    }
}

#[test]
fn tapq_of_other_queues() {
    let machine = one_accelerator();
    for absent in [Apqn::new(1, 3), Apqn::new(2, 2), Apqn::new(255, 255)] {
        let (status, info) = machine.host().tapq(absent, true);
        assert_eq!((status.to_gr1(), info.0), (0x0001_0000, 0));
    }
    machine.checkstop(Apid(1)).unwrap();
    let (status, info) = machine.host().tapq(APQN, true);
    assert_eq!((status.to_gr1(), status.condition_code()), (0x8004_0000, 3));
    assert_ne!(info.0, 0);
    machine.deconfigure(Apid(1)).unwrap();
    let (status, info) = machine.host().tapq(APQN, true);
    assert_eq!((status.to_gr1(), status.condition_code()), (0x8003_0000, 3));
    assert_ne!(info.0, 0);
    assert_eq!(machine.host().rapq(APQN).to_gr1(), 0x8003_0000);
    assert_eq!(
        machine.host().nqap(APQN, 1, false, &request()).to_gr1(),
        0x8003_0000
    );
    let mut buffer = [0; 16];
    assert_eq!(
        machine.host().dqap(APQN, &mut buffer).status.to_gr1(),
        0x8003_0000
    );
}

#[test]
fn every_type_answers_itself_to_qact() {
    let machine = machine_of("card 5 15 A; card 1 9 A; dom 2");
    for (apid, ap_type) in [(5u8, 15u64), (1, 9)] {
        let (status, info) = machine
            .host()
            .qact(Apqn::new(apid, 2), 0x0800_0000_0e00_0000);
        assert_eq!(status.code, ResponseCode::NORMAL);
        assert_eq!(info, 0x0800_0000_0000_0000 | ap_type << 24);
    }
}

#[test]
fn qci_of_the_host() {
    let machine = one_accelerator();
    let block = machine.host().qci().unwrap();
    let bytes = block.encode();
    assert_eq!(bytes[..6], [0xf0, 0x80, 0, 0, 255, 255]);
    assert_eq!((bytes[16], bytes[48], bytes[80]), (0x40, 0x20, 0x20));
    assert_eq!(encode_pqap(&Outcome::Qci(block)).unwrap().condition_code, 0);
}

#[test]
fn a_machine_without_qci_or_apxa_has_small_numbers() {
    let mut config = PartitionConfig::parse_spec("card 1 14 A; dom 2").unwrap();
    for qci in [None, Some(QciFlags::APSC)] {
        config.qci = qci;
        let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
        let mut host = machine.host();
        assert_eq!(host.facilities().contains(Facilities::APQCI), qci.is_some());
        assert_eq!(host.qci().is_some(), qci.is_some());
        if qci.is_none() {
            let outcome = host.execute(&Instruction::Qci, &mut []);
            assert_eq!(outcome, Outcome::Exception(ProgramException::Specification));
        }
        for apqn in [Apqn::new(64, 2), Apqn::new(1, 16)] {
            let tapq = Instruction::Tapq {
                apqn,
                facilities: true,
            };
            let outcome = host.execute(&tapq, &mut []);
            assert_eq!(outcome, Outcome::Exception(ProgramException::Specification));
        }
        let outcome = host.execute(
            &Instruction::Qact {
                apqn: APQN,
                info: 0,
            },
            &mut [],
        );
        assert_eq!(outcome, Outcome::Exception(ProgramException::Specification));
        assert_eq!(host.tapq(APQN, true).0.code, ResponseCode::NORMAL);
        let format2 = machine.attach_guest(GuestId(1), CrycbFormat::Format2, Facilities::all());
        assert!(format2.is_err());
    }
}

#[test]
fn aqic_changes_and_refusals() {
    let machine = one_accelerator();
    let mut host = machine.host();
    let enable = AqicControl::enable(6);
    let enabled = || {
        let interrupts = machine.snapshot().queues[0].interrupts;
        interrupts.map(|interrupts| (interrupts.isc, interrupts.nib))
    };
    assert_eq!(enabled(), None, "no notification byte is stored");
    assert_eq!(host.aqic(APQN, enable, 0).to_gr1(), 0x8006_0000);
    assert_eq!(
        host.aqic(APQN, AqicControl::DISABLE, 0x1000).to_gr1(),
        0x8007_0000
    );
    assert_eq!(host.aqic(APQN, enable, 0x1000).to_gr1(), 0x8100_0000);
    assert_eq!(host.tapq(APQN, true).0.to_gr1(), 0x8100_0000);
    assert_eq!(enabled(), Some((6, 0x1000)));
    for (other, nib) in [(6, 0x1000), (3, 0x2000)] {
        let answer = host.aqic(APQN, AqicControl::enable(other), nib);
        assert_eq!(answer.to_gr1(), 0x8107_0000);
        assert_eq!(
            enabled(),
            Some((6, 0x1000)),
            "what was refused leaves nothing"
        );
    }
    assert_eq!(
        host.aqic(APQN, AqicControl::DISABLE, 0).to_gr1(),
        0x8000_0000
    );
    assert_eq!(host.aqic(APQN, enable, 0x1000).to_gr1(), 0x8100_0000);
    assert_eq!(host.zapq(APQN).to_gr1(), 0x8000_0000, "a reset disables");
    assert_eq!(enabled(), None);
    machine.deconfigure(APQN.apid).unwrap();
    assert_eq!(host.aqic(APQN, enable, 0x1000).to_gr1(), 0x8003_0000);
    assert_eq!(enabled(), None, "what failed leaves nothing");
}

#[test]
fn a_request_and_its_reply() {
    let machine = one_accelerator();
    let mut host = machine.host();
    let psmid = 0x0123_4567_89ab_cdef;
    let mut buffer = [0xff; 8192];
    assert_eq!(
        host.dqap(APQN, &mut buffer).status.to_gr1(),
        0x8010_0000,
        "27"
    );
    let status = host.nqap(APQN, psmid, false, &request());
    assert_eq!((status.to_gr1(), status.condition_code()), (0, 0), "16");
    assert_eq!(host.dqap(APQN, &mut buffer).status.to_gr1(), 0x0010_0000);
    assert_eq!(machine.run_all(&mut Scratch::new()), 1);
    assert_eq!(host.tapq(APQN, true).0.to_gr1(), 0x4000_0000);
    let reply = host.dqap(APQN, &mut buffer);
    assert_eq!(reply.status.to_gr1(), 0x8000_0000);
    assert_eq!((reply.psmid, reply.stored, reply.residual), (psmid, 144, 0));
    assert_eq!(buffer[..4], [0, 0x80, 0, 144]);
    assert_eq!(buffer[143], 33, "3 ^ 5 mod 35");
    assert_eq!(buffer[144], 0xff);
    assert_eq!(machine.card_requests(Apid(1)), 1);
}

#[test]
fn the_queue_holds_eight() {
    let machine = one_accelerator();
    let mut host = machine.host();
    for psmid in 0..7 {
        let status = host.nqap(APQN, psmid, false, &request());
        assert_eq!(status.to_gr1(), 0);
    }
    assert_eq!(host.nqap(APQN, 7, false, &request()).to_gr1(), 0x2000_0000);
    let ninth = host.nqap(APQN, 8, false, &request());
    assert_eq!((ninth.to_gr1(), ninth.condition_code()), (0x2010_0000, 3));
    assert_eq!(machine.run_all(&mut Scratch::new()), 8);
    let unread = host.nqap(APQN, 8, false, &request());
    assert_eq!(unread.to_gr1(), 0x6010_0000, "replies hold their places");
    let mut buffer = [0; 144];
    for psmid in 0..8 {
        assert_eq!(host.dqap(APQN, &mut buffer).psmid, psmid);
        let full = host.tapq(APQN, true).0.flags.contains(StatusFlags::FULL);
        assert!(!full);
    }
}

#[test]
fn long_messages_are_refused() {
    let machine = one_accelerator();
    let mut host = machine.host();
    let status = host.nqap(APQN, 1, false, &[0; 8193]);
    assert_eq!(status.to_gr1(), 0x8015_0000);
    let status = host.nqap(APQN, 1, false, &[0; 8192]);
    assert_eq!(status.to_gr1(), 0);
}

#[test]
fn a_short_buffer_drains_a_reply_in_parts() {
    let machine = one_accelerator();
    let mut host = machine.host();
    host.nqap(APQN, 77, false, &request());
    host.nqap(APQN, 78, false, &request());
    machine.run_all(&mut Scratch::new());
    let mut reply = Vec::new();
    let mut buffer = [0; 16];
    for part in 1..=9 {
        let got = host.dqap(APQN, &mut buffer);
        assert_eq!(got.status.code, ResponseCode::NORMAL);
        assert_eq!((got.stored, got.residual), (16, 144 - 16 * part));
        assert_eq!(got.psmid, if part == 9 { 77 } else { 0 });
        reply.extend_from_slice(&buffer);
    }
    assert_eq!((reply[1], reply[143]), (0x80, 33));
    host.dqap(APQN, &mut buffer);
    host.rapq(APQN);
    assert_eq!(host.dqap(APQN, &mut buffer).status.to_gr1(), 0x8010_0000);
    host.nqap(APQN, 79, false, &request());
    machine.run_all(&mut Scratch::new());
    let first = host.dqap(APQN, &mut buffer);
    assert_eq!((first.residual, buffer[1]), (128, 0x80), "from its start");
}

#[test]
fn resets_drop_everything() {
    let machine = one_accelerator();
    let mut host = machine.host();
    let mut scratch = Scratch::new();
    let reset: [fn(&mut machine::HostCpu<&Machine>) -> arch::QueueStatus; 2] =
        [|host| host.rapq(APQN), |host| host.zapq(APQN)];
    for reset in reset {
        host.nqap(APQN, 1, false, &request());
        host.nqap(APQN, 2, false, &request());
        machine.run_one(APQN, &mut scratch);
        assert_eq!(reset(&mut host).to_gr1(), 0x8000_0000);
        assert_eq!(machine.run_all(&mut scratch), 0);
        let mut buffer = [0; 144];
        assert_eq!(host.dqap(APQN, &mut buffer).status.to_gr1(), 0x8010_0000);
    }
}

#[test]
fn a_guest_has_its_matrix_and_nothing_else() {
    let machine = machine_of("card 1 14 A; card 2 14 A; dom 2; dom 3; cdom 2");
    let id = GuestId(7);
    machine
        .attach_guest(id, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let mut guest = machine.guest(id);
    assert_eq!(guest.tapq(APQN, true).0.to_gr1(), 0x0001_0000);
    machine.set_masks(id, &masks(&[1, 9], &[2, 0x50])).unwrap();
    assert_eq!(guest.tapq(APQN, true).0.to_gr1(), 0x8000_0000);
    assert_eq!(guest.rapq(APQN).to_gr1(), 0x8000_0000);
    for foreign in [
        Apqn::new(1, 3),
        Apqn::new(2, 2),
        Apqn::new(9, 2),
        Apqn::new(1, 0x50),
    ] {
        let unavailable = 0x0001_0000;
        let mut buffer = [0; 16];
        assert_eq!(guest.tapq(foreign, true).0.to_gr1(), unavailable);
        assert_eq!(guest.rapq(foreign).to_gr1(), unavailable);
        assert_eq!(guest.zapq(foreign).to_gr1(), unavailable);
        let enable = AqicControl::enable(3);
        assert_eq!(guest.aqic(foreign, enable, 8).to_gr1(), unavailable);
        assert_eq!(guest.qact(foreign, 0).0.to_gr1(), unavailable);
        let status = guest.nqap(foreign, 1, false, &request());
        assert_eq!(status.to_gr1(), unavailable);
        let got = guest.dqap(foreign, &mut buffer);
        assert_eq!(got.status.to_gr1(), unavailable);
    }
    let block = guest.qci().unwrap();
    assert_eq!(block.flags.bits(), 0xf000_0000, "no secure binding");
    assert_eq!((block.na, block.nd), (255, 255));
    assert!(block.apm.contains(Apid(9)), "the APCB, not the hardware");

    machine.deconfigure(Apid(1)).unwrap();
    assert_eq!(guest.tapq(APQN, true).0.to_gr1(), 0x8003_0000);
    machine.detach_guest(id);
    assert_eq!(guest.tapq(APQN, true).0.to_gr1(), 0x0001_0000);
    assert!(guest.qci().unwrap().apm.is_empty());
}

#[test]
fn a_guest_with_a_small_crycb_has_small_numbers() {
    let machine = machine_of("card 1 14 A; card 64 14 A; dom 2; dom 16");
    let id = GuestId(1);
    machine
        .attach_guest(id, CrycbFormat::Format1, Facilities::APQCI)
        .unwrap();
    machine.set_masks(id, &masks(&[1, 64], &[2, 16])).unwrap();
    let mut guest = machine.guest(id);
    let block = guest.qci().unwrap();
    assert_eq!(block.flags.bits(), 0xb000_0000, "no APXA");
    assert_eq!((block.na, block.nd), (0, 0));
    assert_eq!(block.apm.iter().collect::<Vec<_>>(), [Apid(1)]);
    assert_eq!(block.aqm.iter().collect::<Vec<_>>(), [Apqi(2)]);
    let exception = Outcome::Exception(ProgramException::Specification);
    let far = Instruction::Tapq {
        apqn: Apqn::new(64, 2),
        facilities: false,
    };
    assert_eq!(guest.execute(&far, &mut []), exception);
    let with_t = Instruction::Tapq {
        apqn: APQN,
        facilities: true,
    };
    assert_eq!(guest.execute(&with_t, &mut []), exception, "no APFT");
    assert_eq!(
        guest.tapq(APQN, false).0.code,
        ResponseCode::NORMAL,
        "plain TAPQ"
    );
    // What the format cannot hold stays free for others.
    machine
        .attach_guest(GuestId(2), CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let rest = masks(&[64], &[2, 16]);
    assert_eq!(machine.set_masks(GuestId(2), &rest), Ok(()));
}

#[test]
fn a_queue_of_another_guest_is_refused_and_nothing_changes() {
    let machine = machine_of("card 1 14 A; card 2 14 A; dom 2; dom 3");
    let [a, b] = [GuestId(1), GuestId(2)];
    for id in [a, b] {
        machine
            .attach_guest(id, CrycbFormat::Format2, Facilities::all())
            .unwrap();
    }
    machine.set_masks(a, &masks(&[1], &[2, 3])).unwrap();
    machine.set_masks(b, &masks(&[2], &[2])).unwrap();
    let refused = machine.set_masks(b, &masks(&[1, 2], &[3]));
    let apqn = Apqn::new(1, 3);
    assert_eq!(refused, Err(SetMasksError::QueueHeld { apqn, by: a }));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "queue 01.0003 belongs to guest 1"
    );
    assert_eq!(machine.masks(b), Some(masks(&[2], &[2])));
    let status = machine.guest(b).tapq(Apqn::new(2, 2), true).0;
    assert_eq!(status.code, ResponseCode::NORMAL);
    machine.clear_masks(a);
    assert_eq!(machine.set_masks(b, &masks(&[1, 2], &[3])), Ok(()));
}

#[test]
fn plugging_and_unplugging_leave_nothing_behind() {
    let machine = one_accelerator();
    let mut scratch = Scratch::new();
    let id = GuestId(1);
    machine
        .attach_guest(id, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    machine.host().nqap(APQN, 1, false, &request());
    machine.run_all(&mut scratch);
    machine.set_masks(id, &masks(&[1], &[2])).unwrap();
    let mut guest = machine.guest(id);
    let mut buffer = [0; 144];
    let got = guest.dqap(APQN, &mut buffer);
    assert_eq!(got.status.to_gr1(), 0x8010_0000);
    assert_eq!(buffer, [0; 144]);
    guest.nqap(APQN, 2, false, &request());
    machine.run_all(&mut scratch);
    // The same masks again change nothing.
    machine.set_masks(id, &masks(&[1], &[2])).unwrap();
    assert_eq!(guest.tapq(APQN, true).0.to_gr1(), 0x4000_0000);
    machine.clear_masks(id);
    let got = machine.host().dqap(APQN, &mut buffer);
    assert_eq!(got.status.to_gr1(), 0x8010_0000);
}
