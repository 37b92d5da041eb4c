//! The bus on fake hardware, without a plugged-in driver: as an embedded guest runs it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

use std::time::Duration;

use arch::instruction::{Instruction, Outcome};
use arch::{AdapterMask, ApInstructions, Facilities, QciBlock, UsageMask};
use arch::{Apid, Apqi, Apqn, Mask256, MaskEdit, ResponseCode};
use bus::{
    Bus, BusConfig, BusError, Driver, InUse, MaskKind, NoDriver, QueueDriver, QueueState, Uevent,
};
use testkit::Hardware;

const HOST: &str =
    "card 4 12 A; card 5 12 A; card 6 12 A; dom 4; dom 5; dom 6; dom 71; cdom 4; na 63; nd 84";

fn boot(hardware: &mut Hardware) -> Bus {
    let mut bus = Bus::new(BusConfig::default(), hardware);
    bus.scan(&mut NoDriver(hardware));
    bus
}

fn queues(bus: &Bus) -> Vec<String> {
    bus.queues().map(|(apqn, _)| apqn.to_string()).collect()
}

#[test]
fn t01_a_boot_finds_all_queues_and_binds_them() {
    let bus = boot(&mut Hardware::parse(HOST).unwrap());
    assert_eq!(bus.bindings(), (12, 12));
    assert!(bus.bindings_complete());
    assert_eq!((bus.max_adapter(), bus.max_domain()), (Apid(63), Apqi(84)));
    assert_eq!(bus.default_domain(), Some(Apqi(4)));
    assert_eq!((bus.scans(), bus.completions()), (1, 1));
}

#[test]
fn a_queue_that_tapq_denies_is_not_created() {
    let mut hardware = Hardware::parse(HOST).unwrap();
    hardware.hide(Apqn::new(5, 6));
    let mut bus = boot(&mut hardware);
    assert!(!queues(&bus).contains(&String::from("05.0006")));
    assert_eq!(bus.bindings(), (11, 11));
    hardware.hide(Apqn::new(5, 71));
    bus.scan(&mut NoDriver(&mut hardware));
    assert!(
        bus.queue(Apqn::new(5, 71)).is_none(),
        "and goes when TAPQ starts to deny it"
    );
    for apqi in [4, 5] {
        hardware.hide(Apqn::new(5, apqi));
    }
    bus.scan(&mut NoDriver(&mut hardware));
    assert!(
        bus.card(Apid(5)).is_none(),
        "a card without a usable queue goes too"
    );
}

#[test]
fn without_qci_every_number_is_tried() {
    let mut hardware = Hardware::parse("card 3 14 A; card 70 14 A; dom 6; dom 71").unwrap();
    hardware.remove_qci();
    let bus = boot(&mut hardware);
    assert_eq!(bus.qci(), None);
    assert_eq!((bus.max_adapter(), bus.max_domain()), (Apid(63), Apqi(15)));
    assert_eq!(queues(&bus), ["03.0006"]);
}

#[test]
fn old_and_unmappable_types_give_no_device() {
    let mut hardware = Hardware::parse("card 1 9 A; card 2 15 A; card 3 10 C; dom 6").unwrap();
    let bus = boot(&mut hardware);
    assert_eq!(queues(&bus), ["03.0006"]);
    assert_eq!(bus.card(Apid(3)).unwrap().type_name(), "CEX4C");
    assert_eq!(bus.card(Apid(1)), None);
}

#[test]
fn a_domain_of_a_deconfigured_card_is_no_default() {
    let mut hardware = Hardware::parse("card 3 14 A; dom 6; decfg 3").unwrap();
    let mut bus = boot(&mut hardware);
    assert_eq!(bus.default_domain(), None);
    hardware.replace("card 3 14 A; dom 6").unwrap();
    bus.scan(&mut NoDriver(&mut hardware));
    assert_eq!(bus.default_domain(), Some(Apqi(6)));
}

#[test]
fn a_queue_in_error_starts_again_when_it_is_usable() {
    let mut hardware = Hardware::parse("card 3 14 A; dom 6; chkstop 3").unwrap();
    let apqn = Apqn::new(3, 6);
    let mut bus = boot(&mut hardware);
    let state = |bus: &Bus| bus.queue(apqn).unwrap().state;
    assert_eq!(state(&bus), QueueState::Error(ResponseCode::CHECKSTOPPED));
    hardware.replace("card 3 14 A; dom 6").unwrap();
    bus.scan(&mut NoDriver(&mut hardware));
    assert_eq!(state(&bus), QueueState::Operating);
}

/// RAPQ 02: the queue is looked at 25 times a second until its reset has ended, and at every scan.
#[test]
fn a_queue_whose_reset_takes_time_starts_without_anybody_waiting() {
    let apqn = Apqn::new(3, 6);
    let state = |bus: &Bus| bus.queue(apqn).unwrap().state;
    let start = |resets: &[u8], tests: &[u8]| {
        let mut hardware = Hardware::parse("card 3 14 A; dom 6").unwrap();
        let mut bus = boot(&mut hardware);
        hardware.script(apqn, resets, tests);
        bus.reset_queue(apqn, &mut NoDriver(&mut hardware)).unwrap();
        (bus, hardware)
    };
    let (mut bus, mut hardware) = start(&[2], &[2, 5, 0]);
    for looks in 0..3 {
        assert_eq!(state(&bus), QueueState::Resetting, "after {looks} looks");
        assert!(!bus.queue(apqn).unwrap().interrupts);
        assert_eq!(bus.next_look(), Some(Duration::from_millis(40)));
        bus.pass_time(Duration::from_millis(39), &mut NoDriver(&mut hardware));
        assert_eq!(hardware.script_left(apqn).1, 3 - looks, "too early");
        bus.pass_time(Duration::from_millis(1), &mut NoDriver(&mut hardware));
    }
    assert_eq!(
        (state(&bus), bus.next_look()),
        (QueueState::Operating, None)
    );

    // Another code than 02 is an error at once (spec 2.8); the next scan starts the queue again.
    for code in [ResponseCode::BUSY, ResponseCode::STATE_CHANGE] {
        let (mut bus, mut hardware) = start(&[code.0], &[]);
        assert_eq!(
            (state(&bus), bus.next_look()),
            (QueueState::Error(code), None)
        );
        bus.scan(&mut NoDriver(&mut hardware));
        assert_eq!(state(&bus), QueueState::Operating);
    }
    // So does one that ends badly; a scan finds a reset that has ended before its time.
    let (mut bus, mut hardware) = start(&[2], &[4]);
    bus.pass_time(Duration::from_secs(1), &mut NoDriver(&mut hardware));
    assert_eq!(state(&bus), QueueState::Error(ResponseCode::CHECKSTOPPED));
    let (mut bus, mut hardware) = start(&[2], &[]);
    bus.scan(&mut NoDriver(&mut hardware));
    assert_eq!(
        (state(&bus), bus.next_look()),
        (QueueState::Operating, None)
    );
}

#[test]
fn masks_from_the_parameters_apply_to_an_empty_mask() {
    let mut hardware = Hardware::parse(HOST).unwrap();
    let config = BusConfig {
        apmask: Some(MaskEdit::parse(b"+4,+5").unwrap()),
        aqmask: Some(MaskEdit::absolute(Mask256::EMPTY)),
        ..BusConfig::default()
    };
    let mut bus = Bus::new(config, &mut hardware);
    bus.scan(&mut NoDriver(&mut hardware));
    assert_eq!(bus.apmask().0, [4, 5].into_iter().collect());
    assert_eq!(bus.aqmask().0, Mask256::EMPTY);
    assert_eq!(bus.bindings(), (0, 12), "nobody takes what is not reserved");
}

#[test]
fn interrupts_need_a_notification_area() {
    let mut hardware = Hardware::parse("card 3 14 A; dom 6").unwrap();
    assert!(
        !boot(&mut hardware)
            .queue(Apqn::new(3, 6))
            .unwrap()
            .interrupts
    );
    let config = BusConfig {
        notification_area: Some(0x1000),
        ..BusConfig::default()
    };
    let mut bus = Bus::new(config, &mut hardware);
    bus.scan(&mut NoDriver(&mut hardware));
    assert!(bus.queue(Apqn::new(3, 6)).unwrap().interrupts);
}

#[test]
fn unbinding_zeroizes() {
    let mut hardware = Hardware::parse("card 3 14 A; dom 6").unwrap();
    let mut bus = boot(&mut hardware);
    bus.unbind(
        Driver::Cex4Queue,
        "03.0006\n".trim_end(),
        &mut NoDriver(&mut hardware),
    )
    .unwrap();
    assert_eq!(hardware.zeroized, [Apqn::new(3, 6)]);
    let again = bus.unbind(Driver::Cex4Queue, "03.0006", &mut NoDriver(&mut hardware));
    assert_eq!(again.unwrap_err().errno(), arch::Errno::ENODEV);
}

/// A driver that remembers what it was told, and says that adapter 5 is in use.
struct Recorder<'a> {
    hardware: &'a mut Hardware,
    told: Vec<String>,
}

impl ApInstructions for Recorder<'_> {
    fn facilities(&self) -> Facilities {
        self.hardware.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.hardware.execute(instruction, reply)
    }
}

impl QueueDriver for Recorder<'_> {
    fn uevent(&mut self, event: Uevent) {
        let pairs: Vec<String> = event
            .properties
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        self.told.push(format!(
            "{} {} {}",
            event.action,
            event.path,
            pairs.join(" ")
        ));
    }

    fn in_use(&self, apm: AdapterMask, aqm: UsageMask) -> Option<InUse> {
        assert!(
            apm == AdapterMask::FULL || aqm == UsageMask::FULL,
            "the other mask is left out"
        );
        let first = Apqn::new(5, 4);
        let hit = apm.contains(first.apid) && aqm.contains(first.apqi);
        hit.then(|| InUse {
            first,
            holder: String::from("somebody"),
            queues: 1,
        })
    }

    fn probe(&mut self, apqn: Apqn) {
        self.told.push(format!("probe {apqn}"));
    }

    fn remove(&mut self, apqn: Apqn) {
        self.told.push(format!("remove {apqn}"));
    }

    fn on_config_changed(&mut self, _new: &QciBlock, _old: &QciBlock) {
        self.told.push(String::from("changed"));
    }

    fn on_scan_complete(&mut self, _new: &QciBlock, _old: &QciBlock) {
        self.told.push(String::from("complete"));
    }
}

#[test]
fn hooks_and_uevents_come_in_the_order_of_the_scan() {
    let mut hardware = Hardware::parse("card 3 14 A; dom 6").unwrap();
    let config = BusConfig {
        plugged: Some("other"),
        ..BusConfig::default()
    };
    let mut bus = Bus::new(config, &mut hardware);
    let mut driver = Recorder {
        hardware: &mut hardware,
        told: Vec::new(),
    };
    bus.scan(&mut driver);
    assert_eq!(
        driver.told,
        [
            "add /devices/ap/card03 DEVTYPE=ap_card DEV_TYPE=000E MODALIAS=ap:t0E MODE=accel",
            "bind /devices/ap/card03 DEVTYPE=ap_card DRIVER=cex4card DEV_TYPE=000E MODALIAS=ap:t0E MODE=accel",
            "add /devices/ap/card03/03.0006 DEVTYPE=ap_queue MODE=accel",
            "bind /devices/ap/card03/03.0006 DEVTYPE=ap_queue DRIVER=cex4queue MODE=accel",
            "change /devices/ap INITSCAN=done",
            "change /devices/ap BINDINGS=complete COMPLETECOUNT=1",
        ]
    );
    bus.plug(&mut driver);
    driver.told.clear();
    bus.edit_mask(
        MaskKind::Adapters,
        &MaskEdit::parse(b"-3").unwrap(),
        &mut driver,
    )
    .unwrap();
    driver
        .hardware
        .replace("card 7 14 A; dom 6; decfg 7")
        .unwrap();
    bus.scan(&mut driver);
    driver.hardware.replace("card 7 14 A; dom 6").unwrap();
    bus.scan(&mut driver);
    let mask = format!("0xef{}", "f".repeat(62));
    assert_eq!(
        driver.told,
        [
            "unbind /devices/ap/card03/03.0006 DEVTYPE=ap_queue MODE=accel",
            "probe 03.0006",
            "bind /devices/ap/card03/03.0006 DEVTYPE=ap_queue DRIVER=other MODE=accel",
            &format!("change /devices/ap APMASK={mask}"),
            "changed",
            "remove 03.0006",
            "unbind /devices/ap/card03/03.0006 DEVTYPE=ap_queue MODE=accel",
            "remove /devices/ap/card03/03.0006 DEVTYPE=ap_queue MODE=accel",
            "remove /devices/ap/card03 DEVTYPE=ap_card DRIVER=cex4card DEV_TYPE=000E MODALIAS=ap:t0E MODE=accel",
            "add /devices/ap/card07 DEVTYPE=ap_card DEV_TYPE=000E MODALIAS=ap:t0E MODE=accel",
            "bind /devices/ap/card07 DEVTYPE=ap_card DRIVER=cex4card DEV_TYPE=000E MODALIAS=ap:t0E MODE=accel",
            "add /devices/ap/card07/07.0006 DEVTYPE=ap_queue MODE=accel",
            "bind /devices/ap/card07/07.0006 DEVTYPE=ap_queue DRIVER=cex4queue MODE=accel",
            "complete",
            "change /devices/ap BINDINGS=complete COMPLETECOUNT=2",
            "change /devices/ap/card07 CONFIG=1",
            "change /devices/ap/card07/07.0006 CONFIG=1",
        ]
    );
}

#[test]
fn a_mask_cannot_take_what_is_in_use() {
    let mut hardware = Hardware::parse(HOST).unwrap();
    let config = BusConfig {
        plugged: Some("other"),
        ..BusConfig::default()
    };
    let mut bus = Bus::new(config, &mut hardware);
    let mut driver = Recorder {
        hardware: &mut hardware,
        told: Vec::new(),
    };
    bus.scan(&mut driver);
    let mut edit = |text: &str| {
        bus.edit_mask(
            MaskKind::Adapters,
            &MaskEdit::parse(text.as_bytes()).unwrap(),
            &mut driver,
        )
    };
    assert_eq!(edit("-5,-6"), Ok(()));
    assert_eq!(edit("+6"), Ok(()));
    let refused = edit("+5,-4").unwrap_err();
    assert_eq!(refused.errno(), arch::Errno::EBUSY);
    assert_eq!(
        refused.to_string(),
        "somebody keeps 1 queue(s) from apmask, the first is 05.0004"
    );
    let domains = MaskEdit::parse(b"-4").unwrap();
    bus.edit_mask(MaskKind::Domains, &domains, &mut driver)
        .unwrap();
    let back = bus.edit_mask(
        MaskKind::Domains,
        &MaskEdit::parse(b"+4").unwrap(),
        &mut driver,
    );
    assert!(matches!(
        back,
        Err(BusError::InUse {
            mask: MaskKind::Domains,
            ..
        })
    ));
    assert!(!bus.apmask().contains(Apid(5)) && bus.apmask().contains(Apid(4)));
}

#[test]
fn a_queue_is_tied_to_its_card_as_it_was_when_it_was_bound() {
    let mut hardware = Hardware::parse("card 4 14 A; dom 4; dom 5").unwrap();
    let mut bus = boot(&mut hardware);
    let side = &mut NoDriver(&mut hardware);
    let (card, first, second) = (Apid(4), Apqn::new(4, 4), Apqn::new(4, 5));
    let online = |bus: &Bus| [first, second].map(|apqn| bus.queue(apqn).unwrap().is_online());
    bus.set_card_online(card, false, side).unwrap();
    bus.unbind(Driver::Cex4Card, "card04", side).unwrap();
    bus.bind(Driver::Cex4Card, "card04", side).unwrap();
    assert!(bus.card(card).unwrap().is_online());
    // The queues are still those of the card that left, which was offline.
    assert_eq!(online(&bus), [false, false]);
    assert_eq!(
        bus.set_queue_online(first, true, side),
        Err(BusError::CardOffline(card))
    );
    // Bound again, a queue belongs to the card that came.
    bus.unbind(Driver::Cex4Queue, "04.0004", side).unwrap();
    bus.bind(Driver::Cex4Queue, "04.0004", side).unwrap();
    assert_eq!(online(&bus), [true, false]);
    bus.set_card_online(card, false, side).unwrap();
    assert_eq!(online(&bus), [false, false]);
    bus.set_card_online(card, true, side).unwrap();
    assert_eq!(online(&bus), [true, false]);
}
