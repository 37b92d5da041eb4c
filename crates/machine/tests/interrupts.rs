//! Which queues of a guest interrupt, counted by subclass.
#![allow(clippy::unwrap_used, reason = "a test may")]

use arch::{
    ApInstructions, Apcb, Apqn, AqicControl, CrycbFormat, Facilities, Instruction, ResponseCode,
};
use machine::{GuestCpu, GuestId, Machine, PartitionConfig};

const GUEST: GuestId = GuestId(1);
const NIB: u64 = 0x2018;

fn machine() -> Machine {
    let config = PartitionConfig::parse_spec("card 5 14 A; card 6 14 A; dom 4; dom 5").unwrap();
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    machine
        .attach_guest(GUEST, CrycbFormat::Format2, Facilities::all())
        .unwrap();
    let mut apcb = Apcb::EMPTY;
    apcb.apm.insert(arch::Apid(5));
    apcb.aqm.insert(arch::Apqi(4));
    apcb.aqm.insert(arch::Apqi(5));
    machine.set_masks(GUEST, &apcb).unwrap();
    machine
}

fn aqic(cpu: &mut GuestCpu<&Machine>, apqn: Apqn, control: AqicControl) {
    let instruction = Instruction::Aqic {
        apqn,
        control,
        nib: NIB + u64::from(apqn.apqi.0),
    };
    let status = cpu.execute(&instruction, &mut []).status().unwrap();
    assert_eq!(status.code, ResponseCode::NORMAL);
}

#[test]
fn t72_references_follow_the_enabled_queues() {
    let machine = machine();
    let mut cpu = machine.guest(GUEST);
    let (one, two) = (Apqn::new(5, 4), Apqn::new(5, 5));
    assert_eq!(cpu.gisa().alert_mask(), 0);
    aqic(&mut cpu, one, AqicControl::enable(3));
    assert_eq!(
        (cpu.gisa().references(3), cpu.gisa().alert_mask()),
        (1, 0x10)
    );
    aqic(&mut cpu, two, AqicControl::enable(3));
    assert_eq!(
        (cpu.gisa().references(3), cpu.gisa().alert_mask()),
        (2, 0x10)
    );
    assert_eq!(cpu.interrupts(one).unwrap().nib, NIB + 4);
    // Whatever ends an enablement ends its reference.
    aqic(&mut cpu, one, AqicControl::DISABLE);
    assert_eq!(cpu.gisa().references(3), 1);
    let zapq = Instruction::Zapq {
        apqn: two,
        force: false,
    };
    cpu.execute(&zapq, &mut []);
    assert_eq!((cpu.gisa().references(3), cpu.gisa().alert_mask()), (0, 0));
    aqic(&mut cpu, two, AqicControl::enable(6));
    cpu.disable_interrupts(|nib| nib == NIB + 4);
    assert_eq!(cpu.gisa().alert_mask(), 0x02, "another byte");
    cpu.disable_interrupts(|nib| nib == NIB + 5);
    assert_eq!(cpu.gisa().alert_mask(), 0);
    aqic(&mut cpu, one, AqicControl::enable(0));
    machine.clear_masks(GUEST);
    assert_eq!((cpu.gisa().alert_mask(), cpu.interrupts(one)), (0, None));
}
