//! Faults on demand: each does what it says, to whom it says, as often as it says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests stand outside test functions"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use arch::{
    ApInstructions, ApType, Apcb, Apid, Apqn, AqicControl, CardMode, CrycbFormat, Facilities,
    Instruction, ResponseCode,
};
use machine::faults::{InjectError, Mnemonic, Order};
use machine::{AdapterConfig, GuestId, Machine, PartitionConfig, Ran, Scratch};

const APQN: Apqn = Apqn::new(5, 4);
const OTHER: Apqn = Apqn::new(5, 5);
const GUEST: GuestId = GuestId(1);

/// A machine with two queues, of which a guest has one.
fn machine() -> Machine {
    let mut config = PartitionConfig::default();
    let adapter = AdapterConfig::new(ApType::CEX8, CardMode::Accelerator);
    config.adapters.insert(Apid(5), adapter);
    for apqn in [APQN, OTHER] {
        config.usage_domains.insert(apqn.apqi);
    }
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    machine
        .attach_guest(GUEST, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let mut apcb = Apcb::EMPTY;
    apcb.apm.insert(APQN.apid);
    apcb.aqm.insert(APQN.apqi);
    machine.set_masks(GUEST, &apcb).unwrap();
    machine
}

fn inject(machine: &Machine, order: &str) {
    let order: Order = order.parse().unwrap();
    machine.inject(order).unwrap();
}

/// What the guest reads after one request: bytes, or the code of DQAP.
fn ask(machine: &Machine) -> Result<Vec<u8>, ResponseCode> {
    let mut guest = machine.guest(GUEST);
    let status = guest.nqap(APQN, 7, false, &[0, 0x50, 0, 4]);
    assert_eq!(status.code, ResponseCode::NORMAL);
    machine.run_all(&mut Scratch::new());
    read(machine)
}

fn read(machine: &Machine) -> Result<Vec<u8>, ResponseCode> {
    let mut buffer = vec![0; 9000];
    let dequeued = machine.guest(GUEST).dqap(APQN, &mut buffer);
    if dequeued.status.code != ResponseCode::NORMAL {
        return Err(dequeued.status.code);
    }
    assert_eq!((dequeued.psmid, dequeued.residual), (7, 0));
    buffer.truncate(dequeued.stored);
    Ok(buffer)
}

/// The reply of a healthy card to the malformed request above.
const HEALTHY: [u8; 8] = [0, 0x82, 0, 0, 0x40, 0, 0, 0];

#[test]
fn response_codes_hit_their_instruction_as_often_as_ordered() {
    let machine = machine();
    inject(&machine, "05.0004 rc nqap 42 times 2");
    inject(&machine, "05.0004 rc nqap 02");
    inject(&machine, "05.0004 rc tapq 05 until-cleared by host");
    let mut guest = machine.guest(GUEST);
    for code in [0x42, 0x42, 0x02] {
        assert_eq!(guest.nqap(APQN, 1, false, &[1]).code.0, code);
        let (status, _) = guest.tapq(APQN, true);
        assert_eq!(status.to_gr1(), 0x8000_0000, "nothing was enqueued");
    }
    let faults = machine.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let (status, info) = machine.host().tapq(APQN, true);
    assert_eq!((status.code, info.0 != 0), (ResponseCode::BUSY, true));
    assert_eq!(machine.faults()[0].hits, 1);
    assert!(machine.clear_fault(faults[0].id));
    assert!(!machine.clear_fault(faults[0].id));
    assert_eq!(machine.host().tapq(APQN, true).0.code, ResponseCode::NORMAL);
    assert_eq!(ask(&machine), Ok(HEALTHY.to_vec()));
}

#[test]
fn each_instruction_can_be_hit_and_only_it() {
    let apqn = APQN;
    let control = AqicControl::DISABLE;
    let instructions = [
        Instruction::Tapq {
            apqn,
            facilities: true,
        },
        Instruction::Rapq { apqn, force: false },
        Instruction::Zapq { apqn, force: false },
        Instruction::Aqic {
            apqn,
            control,
            nib: 0,
        },
        Instruction::Qact { apqn, info: 0 },
        Instruction::Nqap {
            apqn,
            psmid: 1,
            special: false,
            message: &[1],
        },
        Instruction::Dqap { apqn },
    ];
    for mnemonic in Mnemonic::ALL {
        let machine = machine();
        inject(&machine, &format!("05.0004 rc {} 16", mnemonic.name()));
        // The one that is hit comes last: none before uses the fault up.
        let of = |instruction: &&Instruction<'_>| Mnemonic::of(instruction) == Some(mnemonic);
        let others = instructions.iter().filter(|instruction| !of(instruction));
        let mut guest = machine.guest(GUEST);
        for instruction in others.chain(instructions.iter().filter(of)) {
            let outcome = guest.execute(instruction, &mut [0; 8]);
            let code = outcome.status().unwrap().code;
            let is_hit = code == ResponseCode::FACILITY_MISSING;
            assert_eq!(is_hit, of(&instruction), "{instruction:?}: {code}");
        }
        assert!(machine.faults().is_empty());
    }
}

#[test]
fn a_queue_that_is_not_there_answers_tapq_without_information() {
    let machine = machine();
    inject(&machine, "05.0004 rc tapq 01");
    let (status, info) = machine.guest(GUEST).tapq(APQN, true);
    assert_eq!((status.to_gr1(), info.0), (0x0001_0000, 0));
}

#[test]
fn replies_are_spoiled_in_the_order_of_injection() {
    let machine = machine();
    for (orders, reply) in [
        (
            &["corrupt 1 7766"][..],
            vec![0, 0x77, 0x66, 0, 0x40, 0, 0, 0],
        ),
        (&["truncate 3"], vec![0, 0x82, 0]),
        (&["reply-code 10"], vec![0, 0x82, 0, 0, 0x10, 0, 0, 0]),
        (&["corrupt 9 01"], [&HEALTHY[..], &[0, 1]].concat()),
        (&["truncate 1", "corrupt 1 82"], vec![0, 0x82]),
        (&["truncate 0"], vec![]),
    ] {
        for order in orders {
            inject(&machine, &format!("05.0004 {order}"));
        }
        assert_eq!(ask(&machine), Ok(reply), "{orders:?}");
        assert_eq!(ask(&machine), Ok(HEALTHY.to_vec()), "once: {orders:?}");
    }
}

#[test]
fn a_dropped_reply_leaves_the_queue_empty() {
    let machine = machine();
    inject(&machine, "05.0004 drop");
    assert_eq!(ask(&machine), Err(ResponseCode::FULL_OR_NO_REPLY));
    let (status, _) = machine.guest(GUEST).tapq(APQN, true);
    assert_eq!(status.to_gr1(), 0x8000_0000);
}

#[test]
fn a_slow_reply_comes_when_it_is_released() {
    let machine = machine();
    inject(&machine, "05.0004 slow 2s");
    inject(&machine, "05.0004 slow 1s");
    let mut guest = machine.guest(GUEST);
    guest.nqap(APQN, 7, false, &[1]);
    let ran = machine.run_one(APQN, &mut Scratch::new());
    let Ran::Withheld { ticket, delay, .. } = ran else {
        panic!("{ran:?}");
    };
    assert_eq!(delay, Duration::from_secs(3));
    assert_eq!(read(&machine), Err(ResponseCode::FULL_OR_NO_REPLY));
    let (status, _) = guest.tapq(APQN, true);
    assert_eq!(status.to_gr1(), 0, "the queue holds it");
    let released = machine.release(APQN, ticket);
    assert!(matches!(
        released,
        Ran::Replied {
            guest: Some(GUEST),
            ..
        }
    ));
    assert!(read(&machine).is_ok());
    assert_eq!(machine.release(APQN, ticket), Ran::Idle, "only once");
}

#[test]
fn a_withheld_reply_does_not_survive_a_reset_or_an_unplug() {
    let ends: [fn(&Machine); 3] = [
        |machine| {
            machine.guest(GUEST).rapq(APQN);
        },
        |machine| machine.clear_masks(GUEST),
        |machine| machine.checkstop(Apid(5)).unwrap(),
    ];
    for end in ends {
        let machine = machine();
        inject(&machine, "05.0004 slow 1s");
        machine.guest(GUEST).nqap(APQN, 7, false, &[1]);
        let ran = machine.run_one(APQN, &mut Scratch::new());
        let Ran::Withheld { ticket, .. } = ran else {
            panic!("{ran:?}");
        };
        assert!(machine.withholds(APQN, ticket));
        end(&machine);
        assert!(!machine.withholds(APQN, ticket));
        assert_eq!(machine.release(APQN, ticket), Ran::Idle);
    }
}

#[test]
fn a_hanging_reset_hangs_until_it_is_cleared() {
    let machine = machine();
    inject(&machine, "05.0004 hang-reset");
    assert_eq!(
        ask(&machine),
        Ok(HEALTHY.to_vec()),
        "only a reset starts it"
    );
    let mut guest = machine.guest(GUEST);
    assert_eq!(guest.rapq(APQN).code, ResponseCode::NORMAL);
    for _ in 0..3 {
        let (status, info) = guest.tapq(APQN, true);
        assert_eq!(status.code, ResponseCode::RESET_IN_PROGRESS);
        assert_ne!(info.0, 0);
        let nqap = guest.nqap(APQN, 1, false, &[1]);
        assert_eq!(nqap.code, ResponseCode::RESET_IN_PROGRESS);
        let again = guest.zapq(APQN).code;
        assert_eq!(again, ResponseCode::RESET_IN_PROGRESS);
    }
    assert_eq!(
        machine.host().tapq(OTHER, true).0.code,
        ResponseCode::NORMAL
    );
    assert_eq!(machine.clear_faults(Some(APQN)), 1);
    assert_eq!(ask(&machine), Ok(HEALTHY.to_vec()));
    // What was asked for while it hung has left nothing behind: the next reset is a reset as any other.
    assert_eq!(guest.zapq(APQN).code, ResponseCode::NORMAL);
    assert_eq!(guest.tapq(APQN, true).0.code, ResponseCode::NORMAL);
    assert_eq!(ask(&machine), Ok(HEALTHY.to_vec()));
}

#[test]
fn a_card_that_panics_keeps_its_request_until_it_is_check_stopped() {
    let machine = machine();
    inject(&machine, "05.0004 panic");
    let mut guest = machine.guest(GUEST);
    guest.nqap(APQN, 7, false, &[1]);
    let step = AssertUnwindSafe(|| machine.run_one(APQN, &mut Scratch::new()));
    assert!(catch_unwind(step).is_err());
    assert_eq!(machine.counters(APQN).load.running, 1);
    machine.checkstop(Apid(5)).unwrap();
    let (status, _) = guest.tapq(APQN, true);
    assert_eq!(status.code, ResponseCode::CHECKSTOPPED);
    machine.recover(Apid(5)).unwrap();
    assert_eq!(
        ask(&machine),
        Ok(HEALTHY.to_vec()),
        "the panic was ordered once"
    );
}

#[test]
fn only_an_instruction_that_would_be_executed_is_a_hit() {
    let machine = machine();
    inject(&machine, "05.0005 rc tapq 05");
    inject(&machine, "05.0004 rc tapq 05 by guest");
    machine.guest(GUEST).tapq(OTHER, true);
    machine.deconfigure(Apid(5)).unwrap();
    let (status, _) = machine.guest(GUEST).tapq(APQN, true);
    assert_eq!(status.code, ResponseCode::DECONFIGURED);
    machine.configure(Apid(5)).unwrap();
    machine.host().tapq(APQN, true);
    assert!(machine.faults().iter().all(|fault| fault.hits == 0));
}

#[test]
fn faults_are_refused_where_there_is_no_queue_and_go_with_it() {
    let machine = machine();
    let order: Order = "06.0004 drop".parse().unwrap();
    let refused = machine.inject(order).unwrap_err();
    assert_eq!(
        refused,
        InjectError::NoSuchQueue {
            apqn: Apqn::new(6, 4)
        }
    );
    for _ in 0..64 {
        inject(&machine, "05.0004 drop");
    }
    let one_more: Order = "05.0004 drop".parse().unwrap();
    let refused = machine.inject(one_more).unwrap_err();
    assert_eq!(refused, InjectError::TooMany { apqn: APQN });
    inject(&machine, "05.0005 drop");
    machine.remove_domain(APQN.apqi).unwrap();
    machine.add_domain(APQN.apqi).unwrap();
    assert_eq!(machine.faults().len(), 1, "new hardware is healthy");
    assert_eq!(machine.clear_faults(None), 1);
}
