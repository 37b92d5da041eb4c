//! Queues with ports: when a port is open, that nothing is lost when it closes, and that nothing passes it
//! afterwards.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use arch::status::StatusFlags;
use arch::{
    ApInstructions, Apcb, Apid, Apqi, Apqn, AqicControl, CrycbFormat, Facilities, HwInfo, QciBlock,
    ResponseCode,
};
use machine::port::{Carried, Lie, Port, PortLoad, Ports};
use machine::{GuestId, Lasts, Machine, PartitionConfig, Ran, Scratch, SlowReset};

const APQN: Apqn = Apqn::new(3, 6);
const GUEST: GuestId = GuestId(1);
/// Every card answers it at once, by a reply of eight bytes.
const MALFORMED: [u8; 8] = [0, 0x50, 0, 8, 0, 0, 0, 0];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open,
    Closing,
}

/// A port as its guest sees it, without any shared memory.
#[derive(Debug, Default)]
struct Mailbox {
    phase: Phase,
    interrupts: bool,
    requests: VecDeque<(u64, Vec<u8>)>,
    replies: VecDeque<(u64, Vec<u8>)>,
    read: usize,
    lies: bool,
    /// Longest reply that fits.
    room: usize,
    made: usize,
    dropped: usize,
    qci: Option<QciBlock>,
}

#[derive(Clone, Debug, Default)]
struct Mail(Arc<Mutex<Mailbox>>);

impl Mail {
    fn look(&self) -> MutexGuard<'_, Mailbox> {
        self.0.lock().unwrap()
    }
}

impl Ports for Mail {
    fn make(&self, apqn: Apqn, _info: HwInfo) -> Option<Box<dyn Port>> {
        (apqn == APQN).then(|| {
            self.look().made += 1;
            Box::new(self.clone()) as Box<dyn Port>
        })
    }

    fn configured(&self, block: Option<&QciBlock>) {
        self.look().qci = block.copied();
    }
}

impl Port for Mail {
    fn open(&mut self, interrupts: bool) {
        let mut mail = self.look();
        assert_eq!(mail.phase, Phase::Closed);
        mail.phase = Phase::Open;
        mail.interrupts = interrupts;
    }

    fn close(&mut self) {
        let mut mail = self.look();
        mail.phase = Phase::Closed;
        mail.requests.clear();
        mail.replies.clear();
        mail.read = 0;
        mail.lies = false;
    }

    fn begin_closing(&mut self) {
        self.look().phase = Phase::Closing;
    }

    fn set_interrupts(&mut self, enabled: bool) {
        self.look().interrupts = enabled;
    }

    fn load(&self, _depth: usize, _running: usize) -> Result<PortLoad, Lie> {
        let mail = self.look();
        if mail.lies {
            return Err(Lie);
        }
        Ok(PortLoad {
            waiting: mail.requests.len(),
            replies: mail.replies.len(),
        })
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<Carried>, Lie> {
        let taken = self.look().requests.pop_front();
        Ok(taken.map(|(psmid, message)| {
            buffer[..message.len()].copy_from_slice(&message);
            Carried {
                psmid,
                special: false,
                length: message.len(),
                read: 0,
            }
        }))
    }

    fn post(&mut self, psmid: u64, reply: &[u8]) -> bool {
        let mut mail = self.look();
        let fits = reply.len() <= mail.room;
        if fits {
            mail.replies.push_back((psmid, reply.to_vec()));
        }
        fits
    }

    fn unread(&self, nth: usize, buffer: &mut [u8]) -> Result<Carried, Lie> {
        let mail = self.look();
        let (psmid, reply) = mail.replies.get(nth).ok_or(Lie)?;
        buffer[..reply.len()].copy_from_slice(reply);
        Ok(Carried {
            psmid: *psmid,
            special: false,
            length: reply.len(),
            read: if nth == 0 { mail.read } else { 0 },
        })
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        if let Ok(mut mail) = self.0.lock() {
            mail.dropped += 1;
        }
    }
}

fn masks() -> Apcb {
    Apcb {
        apm: [Apid(3)].into_iter().collect(),
        aqm: [Apqi(6), Apqi(7)].into_iter().collect(),
        ..Apcb::EMPTY
    }
}

fn machine() -> (Machine, Mail) {
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6; dom 7").unwrap();
    let machine = Machine::new(&config, Box::new(|_| {})).unwrap();
    let attached = machine.attach_guest(GUEST, CrycbFormat::Format2, Facilities::all());
    attached.unwrap();
    machine.set_masks(GUEST, &masks()).unwrap();
    let mail = Mail::default();
    mail.look().room = 4096;
    assert!(machine.set_ports(GUEST, Some(Arc::new(mail.clone()))));
    (machine, mail)
}

fn submit(mail: &Mail, psmids: std::ops::RangeInclusive<u64>) {
    let requests = psmids.map(|psmid| (psmid, MALFORMED.to_vec()));
    mail.look().requests.extend(requests);
}

fn run(machine: &Machine) -> Ran {
    machine.run_one(APQN, &mut Scratch::new())
}

/// The identifiers of all replies that instructions get.
fn dequeue(machine: &Machine) -> Vec<u64> {
    let mut psmids = Vec::new();
    loop {
        let got = machine.guest(GUEST).dqap(APQN, &mut [0; 64]);
        if got.stored == 0 {
            return psmids;
        }
        psmids.push(got.psmid);
    }
}

#[test]
fn requests_pass_through_an_open_port() {
    let (machine, mail) = machine();
    assert_eq!(mail.look().phase, Phase::Open);
    let block = mail.look().qci.unwrap();
    assert_eq!(machine.guest(GUEST).qci(), Some(block));
    submit(&mail, 1..=3);
    let load = machine.counters(APQN).load;
    assert_eq!((load.waiting, load.running, load.replies), (3, 0, 0));
    assert!(run(&machine).more());
    while run(&machine) != Ran::Idle {}
    assert_eq!(machine.counters(APQN).reached, 3);
    let psmids: Vec<u64> = mail
        .look()
        .replies
        .iter()
        .map(|(psmid, _)| *psmid)
        .collect();
    assert_eq!(psmids, [1, 2, 3]);
    let (status, _) = machine.guest(GUEST).tapq(APQN, true);
    assert_eq!(status.flags, StatusFlags::REPLIES);
    assert_eq!(mail.look().phase, Phase::Open, "TAPQ moves nothing");
    let nib = 0x1000;
    assert_eq!(
        machine
            .guest(GUEST)
            .aqic(APQN, AqicControl::enable(3), nib)
            .code
            .0,
        0
    );
    assert!(mail.look().interrupts);
    submit(&mail, 4..=4);
    assert!(matches!(
        run(&machine),
        Ran::Replied {
            interrupts: Some(_),
            ..
        }
    ));
}

#[test]
fn an_instruction_finds_what_the_port_held() {
    let (machine, mail) = machine();
    submit(&mail, 1..=4);
    for _ in 0..2 {
        run(&machine);
    }
    mail.look().read = 3;
    let first = machine.guest(GUEST).dqap(APQN, &mut [0; 64]);
    assert_eq!((first.psmid, first.residual), (1, 0));
    assert_eq!(mail.look().phase, Phase::Closed);
    assert_eq!(
        machine.guest(GUEST).nqap(APQN, 5, false, &MALFORMED).code.0,
        0
    );
    while run(&machine) != Ran::Idle {}
    let got = machine.guest(GUEST).dqap(APQN, &mut [0; 64]);
    assert_eq!(got.psmid, 2);
    assert_eq!(first.stored + 3, got.stored, "three bytes were read before");
    assert_eq!(mail.look().phase, Phase::Closed, "the queue holds replies");
    assert_eq!(dequeue(&machine), [3, 4, 5]);
    assert_eq!(mail.look().phase, Phase::Open, "it is empty");
}

#[test]
fn a_running_request_is_answered_where_its_guest_looks() {
    let (machine, mail) = machine();
    submit(&mail, 1..=1);
    machine.inject("03.0006 slow 1s".parse().unwrap()).unwrap();
    assert_eq!(mail.look().phase, Phase::Closing);
    let Ran::Withheld { ticket, .. } = run(&machine) else {
        panic!("the fault hits what is in the port");
    };
    let got = machine.guest(GUEST).dqap(APQN, &mut [0; 64]);
    assert_eq!(
        (got.stored, got.status.flags),
        (0, StatusFlags::empty()),
        "it is running"
    );
    assert_eq!(mail.look().phase, Phase::Closed);
    assert!(matches!(machine.release(APQN, ticket), Ran::Replied { .. }));
    assert_eq!(dequeue(&machine), [1]);
    assert_eq!(mail.look().phase, Phase::Open, "the fault is over");
}

#[test]
fn faults_hit_the_guests_next_instruction() {
    let (machine, mail) = machine();
    submit(&mail, 1..=1);
    machine
        .inject("03.0006 rc nqap 05".parse().unwrap())
        .unwrap();
    run(&machine);
    assert_eq!(mail.look().phase, Phase::Closing);
    let status = machine.guest(GUEST).nqap(APQN, 2, false, &MALFORMED);
    assert_eq!(status.code, ResponseCode::BUSY);
    assert_eq!(dequeue(&machine), [1]);
    assert_eq!(mail.look().phase, Phase::Open);
}

#[test]
fn a_diverted_guest_comes_by_instructions() {
    let (machine, mail) = machine();
    submit(&mail, 1..=1);
    machine.divert(GUEST, true);
    assert_eq!(mail.look().phase, Phase::Closing);
    assert_eq!(mail.look().qci, None);
    run(&machine);
    assert_eq!(dequeue(&machine), [1]);
    assert_eq!(mail.look().phase, Phase::Closed);
    machine.divert(GUEST, false);
    assert_eq!(mail.look().phase, Phase::Open);
    assert!(mail.look().qci.is_some());
}

#[test]
fn a_reply_that_is_too_long_goes_into_the_queue() {
    let (machine, mail) = machine();
    submit(&mail, 1..=1);
    run(&machine);
    mail.look().room = 1;
    submit(&mail, 2..=2);
    run(&machine);
    assert_eq!(mail.look().phase, Phase::Closing);
    mail.look().room = 4096;
    submit(&mail, 3..=3);
    run(&machine);
    assert_eq!(mail.look().replies.len(), 1, "what came later is behind it");
    assert_eq!(dequeue(&machine), [1, 2, 3]);
}

#[test]
fn the_host_sends_the_guest_out_of_the_port() {
    let (machine, mail) = machine();
    submit(&mail, 1..=1);
    assert_eq!(machine.host().nqap(APQN, 9, false, &MALFORMED).code.0, 0);
    assert_eq!(mail.look().phase, Phase::Closing);
    while run(&machine) != Ran::Idle {}
    let mut psmids = dequeue(&machine);
    psmids.sort_unstable();
    assert_eq!(psmids, [1, 9]);
}

#[test]
fn whatever_ends_a_queues_contents_ends_those_of_its_port() {
    type Reset = fn(&Machine);
    let resets: [(&str, Reset, Phase); 5] = [
        (
            "reset",
            |machine| assert_eq!(machine.guest(GUEST).zapq(APQN).code.0, 0),
            Phase::Open,
        ),
        (
            "deconfigured",
            |machine| machine.deconfigure(Apid(3)).unwrap(),
            Phase::Closed,
        ),
        (
            "check-stopped",
            |machine| machine.checkstop(Apid(3)).unwrap(),
            Phase::Closed,
        ),
        (
            "unplugged",
            |machine| machine.clear_masks(GUEST),
            Phase::Closed,
        ),
        (
            "removed",
            |machine| machine.remove_adapter(Apid(3)).unwrap(),
            Phase::Closed,
        ),
    ];
    for (name, end, phase) in resets {
        let (machine, mail) = machine();
        submit(&mail, 1..=2);
        run(&machine);
        end(&machine);
        let now = mail.look();
        assert_eq!(now.phase, phase, "{name}");
        assert_eq!(now.requests.len() + now.replies.len(), 0, "{name}");
        drop(now);
        if phase == Phase::Closed {
            // What the guest goes on to put there is nobody's.
            submit(&mail, 3..=3);
            assert_eq!(run(&machine), Ran::Idle, "{name}");
            assert_eq!(machine.counters(APQN).load.waiting, 0, "{name}");
        }
    }
}

#[test]
fn a_port_opens_again_with_its_adapter() {
    let (machine, mail) = machine();
    machine.deconfigure(Apid(3)).unwrap();
    assert_eq!(mail.look().phase, Phase::Closed);
    machine.configure(Apid(3)).unwrap();
    assert_eq!(mail.look().phase, Phase::Open);
    let hang = SlowReset {
        code: ResponseCode::NORMAL,
        lasts: Lasts::UntilEnded,
        resets: 1,
    };
    machine.slow_resets(APQN, Some(hang)).unwrap();
    machine.guest(GUEST).rapq(APQN);
    assert_eq!(mail.look().phase, Phase::Closed, "the reset takes time");
    machine.end_reset(APQN);
    assert_eq!(mail.look().phase, Phase::Open);
    machine.clear_masks(GUEST);
    assert_eq!(mail.look().qci.unwrap().apm.iter().count(), 0);
    machine.set_masks(GUEST, &masks()).unwrap();
    let (phase, made) = {
        let mail = mail.look();
        (mail.phase, mail.made)
    };
    assert_eq!((phase, made), (Phase::Open, 2));
    assert!(machine.set_ports(GUEST, None));
    assert!(!machine.set_ports(GuestId(9), None));
}

#[test]
fn a_guest_that_lies_has_its_queue_reset() {
    let (machine, mail) = machine();
    let other = Apqn::new(3, 7);
    assert_eq!(
        machine
            .guest(GUEST)
            .nqap(other, 5, false, &MALFORMED)
            .code
            .0,
        0
    );
    for by_instruction in [false, true] {
        submit(&mail, 1..=2);
        mail.look().lies = true;
        if by_instruction {
            assert_eq!(dequeue(&machine), [0; 0]);
        } else {
            assert_eq!(run(&machine), Ran::Idle);
        }
        assert_eq!(mail.look().phase, Phase::Open, "empty, and begun anew");
        assert_eq!(mail.look().requests.len(), 0);
    }
    assert_eq!(
        machine.counters(other).load.waiting,
        1,
        "nobody else notices"
    );
}
