//! PQAP(AQIC) over a real channel: rows T72 to T79 of the behavioural specification.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use arch::status::StatusFlags;
use arch::{
    ApInstructions, Apqn, AqicControl, CrycbFormat, Facilities, Instruction, Outcome,
    ProgramException, QueueStatus, ResponseCode,
};
use device::{Alert, Client, ClientOptions, DmaRange, OpenRequest};
use rustix::event::{EventfdFlags, eventfd};

use crate::instance::{A, Instance};
use crate::tier::Tier;

const QUEUE: Apqn = Apqn::new(5, 4);
const NIB: u64 = 0x7a_2018;
const ALL: Facilities = Facilities::APFT
    .union(Facilities::APQCI)
    .union(Facilities::APQI);
const MEMORY: DmaRange = DmaRange {
    address: 0,
    length: 0x100_0000,
    readable: true,
    writable: true,
};

/// F1 with mdev {5 x 4}, opened by a VM with 16 MiB of memory.
struct T56 {
    instance: Instance,
    client: Client,
    alert: OwnedFd,
}

impl T56 {
    fn new() -> Option<Self> {
        Self::with(CrycbFormat::Format2, ALL)
    }

    fn with(crycb_format: CrycbFormat, facilities: Facilities) -> Option<Self> {
        if !Tier::Mount.is_there() {
            return None;
        }
        let instance = Instance::start();
        instance.set("bus/ap/apmask", "-5");
        instance.mdev(A, &[5], &[4]);
        let request = OpenRequest {
            vm: "guest".parse().expect("an identity"),
            crycb_format,
            facilities,
        };
        let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
        let client = Client::connect(&socket, request, ClientOptions::default());
        let mut client = client.expect("it opens");
        client.dma_map(MEMORY).expect("it is a good range");
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let alert = eventfd(0, flags).expect("there are descriptors");
        if facilities.contains(Facilities::APQI) {
            let theirs = alert.try_clone().expect("there are descriptors");
            client
                .set_alert(theirs)
                .expect("interruptions were granted");
        }
        Some(Self {
            instance,
            client,
            alert,
        })
    }

    fn execute(&mut self, instruction: &Instruction<'_>) -> Outcome {
        self.client.execute(instruction, &mut [])
    }

    fn aqic_on(&mut self, apqn: Apqn, control: AqicControl, nib: u64) -> QueueStatus {
        let outcome = self.execute(&Instruction::Aqic { apqn, control, nib });
        outcome.status().unwrap_or_else(|| panic!("{outcome:?}"))
    }

    fn enable(&mut self, nib: u64) -> ResponseCode {
        self.aqic_on(QUEUE, AqicControl::enable(3), nib).code
    }

    fn disable(&mut self) -> ResponseCode {
        self.aqic_on(QUEUE, AqicControl::DISABLE, 0).code
    }

    /// T72: interrupts are enabled.
    fn t72(&mut self) {
        assert_eq!(self.enable(NIB), ResponseCode::NORMAL);
    }

    fn is_enabled(&mut self) -> bool {
        let (status, _) = self.client.tapq(QUEUE, true);
        status.flags.contains(StatusFlags::INTERRUPTS)
    }

    /// Sends a request that any card answers, if only by an error reply.
    fn request(&mut self) {
        let nqap = Instruction::Nqap {
            apqn: QUEUE,
            psmid: 1,
            special: false,
            message: &[0; 64],
        };
        let status = self.execute(&nqap).status().expect("it names a queue");
        assert_eq!(status.code, ResponseCode::NORMAL);
    }

    fn wait_for_reply(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self
            .client
            .tapq(QUEUE, true)
            .0
            .flags
            .contains(StatusFlags::REPLIES)
        {
            assert!(Instant::now() < deadline, "no reply");
        }
    }

    fn wait_for_alert(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while rustix::io::read(&self.alert, &mut [0u8; 8]).is_err() {
            assert!(Instant::now() < deadline, "no alert");
            std::thread::yield_now();
        }
    }

    fn alerts(&mut self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        self.client
            .alerts(|alert| alerts.push(alert))
            .expect("asked");
        alerts
    }

    /// A reply comes and nobody is told, because interrupts are disabled.
    fn is_silent(&mut self) {
        assert!(!self.is_enabled());
        self.request();
        self.wait_for_reply();
        assert_eq!(self.alerts(), []);
    }
}

#[test]
fn t72_aqic_enables_and_a_reply_interrupts() {
    let Some(mut vm) = T56::new() else { return };
    assert_eq!(vm.alerts(), []);
    let status = vm.aqic_on(QUEUE, AqicControl::enable(3), NIB);
    assert_eq!(status.code, ResponseCode::NORMAL);
    assert!(vm.is_enabled());
    let alert = Alert {
        apqn: QUEUE,
        isc: 3,
        nib: NIB,
        replies: 1,
    };
    for _ in 0..3 {
        vm.request();
        vm.wait_for_alert();
        assert_eq!(vm.alerts(), [alert]);
        assert_eq!(vm.alerts(), [], "it is taken");
    }
}

#[test]
fn t73_aqic_again_is_otherwise_changed_and_the_first_byte_stays() {
    let Some(mut vm) = T56::new() else { return };
    vm.t72();
    assert_eq!(vm.enable(NIB + 0x1000), ResponseCode::OTHERWISE_CHANGED);
    vm.request();
    vm.wait_for_alert();
    assert_eq!(vm.alerts()[0].nib, NIB);
}

#[test]
fn t74_bad_bytes_and_queues() {
    let Some(mut vm) = T56::new() else { return };
    for nib in [0, MEMORY.length, u64::MAX] {
        assert_eq!(vm.enable(nib), ResponseCode::INVALID_ADDRESS, "{nib:x}");
    }
    let read_only = DmaRange {
        address: MEMORY.length,
        length: 0x1000,
        readable: true,
        writable: false,
    };
    vm.client.dma_map(read_only).expect("it is a good range");
    assert_eq!(vm.enable(MEMORY.length), ResponseCode::INVALID_ADDRESS);
    let none = Apqn::new(6, 4);
    for nib in [0, NIB] {
        let status = vm.aqic_on(none, AqicControl::enable(3), nib);
        assert_eq!(status.code, ResponseCode::NOT_AVAILABLE);
    }
    vm.is_silent();
}

#[test]
fn t75_aqic_disables() {
    let Some(mut vm) = T56::new() else { return };
    vm.t72();
    assert_eq!(vm.disable(), ResponseCode::NORMAL);
    assert_eq!(vm.disable(), ResponseCode::OTHERWISE_CHANGED);
    vm.is_silent();
}

/// What a reply has caused is taken back with the enablement: no late byte in memory that the guest
/// uses for something else by then.
#[test]
fn t75_an_alert_does_not_outlive_its_enablement() {
    let Some(mut vm) = T56::new() else { return };
    vm.t72();
    vm.request();
    vm.wait_for_alert();
    assert_eq!(vm.disable(), ResponseCode::NORMAL);
    assert_eq!(vm.alerts(), []);
}

#[test]
fn t76_unmapping_the_byte_disables() {
    let Some(mut vm) = T56::new() else { return };
    vm.t72();
    vm.client.dma_unmap(MEMORY).expect("it was mapped");
    vm.is_silent();
    assert_eq!(vm.enable(NIB), ResponseCode::INVALID_ADDRESS);
}

#[test]
fn t77_resets_disable() {
    let Some(mut vm) = T56::new() else { return };
    vm.t72();
    vm.client.reset().expect("the queue is in good health");
    vm.is_silent();
    let (apqn, force) = (QUEUE, false);
    for reset in [
        Instruction::Rapq { apqn, force },
        Instruction::Zapq { apqn, force },
    ] {
        vm.t72();
        vm.execute(&reset);
        vm.is_silent();
    }
    vm.t72();
    // The next owner finds nothing.
    let path = format!("devices/vfio_ap/matrix/{A}");
    vm.instance.set(&format!("{path}/unassign_adapter"), "5");
    vm.instance.set(&format!("{path}/assign_adapter"), "5");
    vm.is_silent();
}

#[test]
fn t78_aqic_needs_its_facility() {
    let Some(mut vm) = T56::with(CrycbFormat::Format2, ALL - Facilities::APQI) else {
        return;
    };
    let aqic = Instruction::Aqic {
        apqn: QUEUE,
        control: AqicControl::enable(3),
        nib: NIB,
    };
    let specification = Outcome::Exception(ProgramException::Specification);
    assert_eq!(vm.execute(&aqic), specification);
    assert!(vm.client.alerts(|_| {}).is_err());
}

/// The guest's numbers end at 63 and 15 without extended addressing.
#[test]
fn t79_without_apxa_high_numbers_do_not_exist() {
    let Some(mut vm) = T56::with(CrycbFormat::Format0, ALL) else {
        return;
    };
    vm.t72();
    let specification = Outcome::Exception(ProgramException::Specification);
    for apqn in [Apqn::new(64, 4), Apqn::new(5, 16)] {
        let control = AqicControl::enable(3);
        let aqic = Instruction::Aqic {
            apqn,
            control,
            nib: NIB,
        };
        assert_eq!(vm.execute(&aqic), specification);
    }
}
