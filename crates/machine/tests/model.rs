//! Random sequences: one queue against a model of it, and masks against the rule that no queue has
//! two guests.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::collections::{BTreeMap, VecDeque};

use arch::{
    AdapterMask, ApInstructions, ApType, Apcb, Apid, Apqn, AqicControl, CardMode, CrycbFormat,
    Facilities, Mask256, UsageMask,
};
use machine::{GuestId, Machine, PartitionConfig, Ran, Scratch, SetMasksError};
use proptest::prelude::*;

const APQN: Apqn = Apqn::new(3, 6);
const GUEST: GuestId = GuestId(1);

fn machine(spec: &str) -> Machine {
    let config = PartitionConfig::parse_spec(spec).unwrap();
    Machine::new(&config, Box::new(|_| {})).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Nqap(usize),
    Run,
    Dqap(usize),
    Reset,
    Aqic { enable: bool, nib: u64 },
    Revoke,
    Give,
    Deconfigure(bool),
    Checkstop(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..64).prop_map(Step::Nqap),
        1 => (8190usize..8195).prop_map(Step::Nqap),
        8 => Just(Step::Run),
        8 => (1usize..12).prop_map(Step::Dqap),
        1 => Just(Step::Reset),
        2 => (any::<bool>(), 0u64..2).prop_map(|(enable, nib)| Step::Aqic { enable, nib }),
        1 => Just(Step::Revoke),
        2 => Just(Step::Give),
        1 => any::<bool>().prop_map(Step::Deconfigure),
        1 => any::<bool>().prop_map(Step::Checkstop),
    ]
}

/// What the queue must do. Every message is malformed, so every reply has 8 bytes.
#[derive(Default)]
struct Model {
    requests: VecDeque<u64>,
    replies: VecDeque<u64>,
    read: usize,
    interrupts: bool,
    plugged: bool,
    deconfigured: bool,
    checkstopped: bool,
    reached: u64,
}

impl Model {
    fn empty(&mut self) {
        self.requests.clear();
        self.replies.clear();
        self.read = 0;
        self.interrupts = false;
    }

    /// GR1 with this code, or with the one that comes first.
    fn status(&self, code: u64) -> u64 {
        if !self.plugged {
            return 0x0001_0000;
        }
        let held = self.requests.len() + self.replies.len();
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let flags = flag(held == 0, 0x8000_0000)
            | flag(!self.replies.is_empty(), 0x4000_0000)
            | flag(held >= 8, 0x2000_0000)
            | flag(self.interrupts, 0x0100_0000);
        flags | self.condition().unwrap_or(code) << 16
    }

    fn condition(&self) -> Option<u64> {
        match (self.deconfigured, self.checkstopped) {
            (true, _) => Some(3),
            (false, true) => Some(4),
            (false, false) => None,
        }
    }

    fn operates(&self) -> bool {
        self.plugged && self.condition().is_none()
    }

    /// Applies `change` to the adapter; what the queue holds is lost if its answers change.
    fn adapter(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.condition();
        change(self);
        if self.condition() != before {
            self.empty();
        }
    }
}

fn apply(machine: &Machine, model: &mut Model, scratch: &mut Scratch, psmid: u64, step: &Step) {
    let mut cpu = machine.guest(GUEST);
    match *step {
        Step::Nqap(len) => {
            let status = cpu.nqap(APQN, psmid, false, &vec![0xff; len]);
            let code = if len > 8192 {
                0x15
            } else if model.requests.len() + model.replies.len() >= 8 {
                0x10
            } else {
                if model.operates() {
                    model.requests.push_back(psmid);
                }
                0
            };
            assert_eq!(status.to_gr1(), model.status(code));
        }
        Step::Run => {
            let ran = machine.run_one(APQN, scratch);
            if let Some(psmid) = model.requests.pop_front() {
                model.replies.push_back(psmid);
                model.reached += 1;
                assert!(matches!(
                    ran,
                    Ran::Replied {
                        guest: Some(GUEST),
                        ..
                    }
                ));
                assert_eq!(ran.more(), !model.requests.is_empty());
            } else {
                assert_eq!(ran, Ran::Idle);
            }
        }
        Step::Dqap(len) => {
            let mut buffer = [0xee; 12];
            let got = cpu.dqap(APQN, &mut buffer[..len]);
            let (mut code, mut stored, mut rest, mut name) = (0x10, 0, 0, 0);
            if let Some(&front) = model.replies.front() {
                code = 0;
                stored = len.min(8 - model.read);
                rest = 8 - model.read - stored;
                model.read += stored;
                if rest == 0 {
                    model.replies.pop_front();
                    (model.read, name) = (0, front);
                }
            }
            assert_eq!(got.status.to_gr1(), model.status(code));
            assert_eq!((got.stored, got.residual, got.psmid), (stored, rest, name));
            assert!(buffer[stored..].iter().all(|byte| *byte == 0xee));
        }
        Step::Reset => {
            if model.operates() {
                model.empty();
            }
            assert_eq!(cpu.rapq(APQN).to_gr1(), model.status(0));
        }
        Step::Aqic { enable, nib } => {
            let control = if enable {
                AqicControl::enable(6)
            } else {
                AqicControl::DISABLE
            };
            let status = cpu.aqic(APQN, control, nib);
            let code = if enable && nib == 0 {
                6
            } else if enable == model.interrupts {
                7
            } else {
                if model.operates() {
                    model.interrupts = enable;
                }
                0
            };
            assert_eq!(status.to_gr1(), model.status(code));
        }
        Step::Revoke => {
            machine.clear_masks(GUEST);
            model.empty();
            model.plugged = false;
        }
        Step::Give => {
            give(machine);
            model.plugged = true;
        }
        Step::Deconfigure(on) => {
            let done = if on {
                machine.deconfigure(Apid(3))
            } else {
                machine.configure(Apid(3))
            };
            done.unwrap();
            model.adapter(|model| model.deconfigured = on);
        }
        Step::Checkstop(on) => {
            let done = if on {
                machine.checkstop(Apid(3))
            } else {
                machine.recover(Apid(3))
            };
            done.unwrap();
            model.adapter(|model| model.checkstopped = on);
        }
    }
}

fn give(machine: &Machine) {
    let apcb = Apcb {
        apm: [APQN.apid].into_iter().collect(),
        aqm: [APQN.apqi].into_iter().collect(),
        ..Apcb::EMPTY
    };
    machine.set_masks(GUEST, &apcb).unwrap();
}

/// Masks over adapters 0..4 and domains 0..4.
fn apcb(bits: [u8; 2]) -> Apcb {
    let mask = |bits: u8| -> Mask256 { (0..4).filter(|n| bits & 1 << n != 0).collect() };
    Apcb {
        apm: AdapterMask(mask(bits[0])),
        aqm: UsageMask(mask(bits[1])),
        ..Apcb::EMPTY
    }
}

proptest! {
    #[test]
    fn one_queue_behaves_like_its_model(steps in prop::collection::vec(step(), 1..120)) {
        let machine = machine("card 3 14 A; dom 6");
        machine.attach_guest(GUEST, CrycbFormat::Format2, Facilities::all()).unwrap();
        let (mut model, mut scratch) = (Model::default(), Scratch::new());
        give(&machine);
        model.plugged = true;
        for (psmid, step) in (1..).zip(&steps) {
            apply(&machine, &mut model, &mut scratch, psmid, step);
            let (status, info) = machine.guest(GUEST).tapq(APQN, true);
            prop_assert_eq!(status.to_gr1(), model.status(0));
            prop_assert_eq!(info.0 != 0, model.plugged);
            prop_assert_eq!(machine.counters(APQN).reached, model.reached);
        }
    }

    #[test]
    fn no_queue_ever_has_two_guests(
        steps in prop::collection::vec((0u8..8, 1u64..5, any::<[u8; 2]>()), 1..60),
    ) {
        let machine = machine("card 0 14 A; card 1 14 A; card 2 14 P; dom 0; dom 1; dom 2");
        let mut expected: BTreeMap<GuestId, Apcb> = BTreeMap::new();
        for (kind, id, bits) in steps {
            let id = GuestId(id);
            match kind {
                0 | 1 => {
                    let attached = machine.attach_guest(id, CrycbFormat::Format2, Facilities::all());
                    prop_assert_eq!(attached.is_err(), expected.contains_key(&id));
                    expected.entry(id).or_insert(Apcb::EMPTY);
                }
                2 => {
                    machine.detach_guest(id);
                    expected.remove(&id);
                }
                3 => {
                    let apid = Apid(bits[0] % 4);
                    let added = machine.add_adapter(apid, ApType::CEX8, CardMode::Accelerator);
                    if added.is_err() {
                        machine.remove_adapter(apid).unwrap();
                    }
                }
                _ => {
                    let apcb = apcb(bits);
                    let result = machine.set_masks(id, &apcb);
                    let shares = |other: &Apcb| other.queues().any(|apqn| apcb.contains(apqn));
                    let taken = expected.iter().find(|(by, other)| **by != id && shares(other));
                    match (expected.contains_key(&id), taken) {
                        (false, _) => prop_assert_eq!(result, Err(SetMasksError::NotAttached { id })),
                        (true, Some((&by, other))) => {
                            let apqn = other.queues().find(|apqn| apcb.contains(*apqn)).unwrap();
                            prop_assert_eq!(result, Err(SetMasksError::QueueHeld { apqn, by }));
                        }
                        (true, None) => {
                            prop_assert_eq!(result, Ok(()));
                            expected.insert(id, apcb);
                        }
                    }
                }
            }
            for queue in machine.snapshot().queues {
                let owners: Vec<GuestId> = expected
                    .iter()
                    .filter_map(|(id, apcb)| apcb.contains(queue.apqn).then_some(*id))
                    .collect();
                prop_assert!(owners.len() <= 1);
                prop_assert_eq!(queue.guest, owners.first().copied());
                for id in (1..5).map(GuestId) {
                    let (status, _) = machine.guest(id).tapq(queue.apqn, false);
                    prop_assert_eq!(status.queue_exists(), owners.contains(&id));
                }
            }
            for (id, apcb) in &expected {
                prop_assert_eq!(machine.masks(*id), Some(*apcb));
            }
        }
    }
}
