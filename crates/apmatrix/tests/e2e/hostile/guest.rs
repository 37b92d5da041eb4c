//! A guest whose VMM it has taken over: random instructions and messages, as fast as they go.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use arch::instruction::Dequeued;
use arch::{ApInstructions, Apqn, AqicControl, Instruction, Outcome, ResponseCode};
use device::exec::decode_outcome;
use device::message::{Command, HEADER_LEN, Header};
use device::{Client, ClientOptions};
use zerocopy::FromBytes;

use super::administration::Scene;
use super::honest::MALFORMED;
use super::vmm::{Vmm, exec, message, request, socket};
use crate::instance::{A, B};
use crate::tier::Tier;

/// Messages in every run, and in a nightly one.
const MESSAGES: u64 = 200_000;
const NIGHTLY: u64 = 10_000_000;
/// Messages that are sent before their answers are read. All answers fit into the socket.
const BATCH: usize = 64;
/// The only queue that the guest has, and what the other guest has.
const OWN: Apqn = Apqn::new(5, 4);
const FOREIGN: Apqn = Apqn::new(6, 4);
/// In the high byte of the names of the guests' requests.
const MARK: u64 = 0xa5 << 56;
const FOREIGN_MARK: u64 = 0xb6 << 56;
/// Requests whose replies the other guest has not read.
const UNREAD: u64 = 8;
/// What the daemon may grow by, in KiB: the buffers of a queue, and what the allocator keeps.
const GROWTH: u64 = 16 << 10;

/// xorshift64*: the same messages in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }

    /// Mostly the guest's queue or one near it.
    fn apqn(&mut self) -> Apqn {
        match self.below(8) {
            0..=3 => OWN,
            4 => FOREIGN,
            5 => Apqn::new([4, 5, 6][self.below(3)], [4, 5, 6, 0x47][self.below(4)]),
            _ => Apqn::new(self.byte(), self.byte()),
        }
    }

    /// An AP message of up to `length` bytes: noise, or a request that is nearly right.
    fn message(&mut self, bytes: &mut Vec<u8>) {
        let length = match self.below(64) {
            0 => 8000 + self.below(400),
            1..=4 => 400,
            5..=6 => 464,
            _ => 1 + self.below(64),
        };
        bytes.resize(length, 0);
        self.fill(bytes);
        if length >= 16 && !self.one_in(4) {
            let [.., high, low] = length.to_be_bytes();
            let block = if length == 464 { 0x11 } else { 1 };
            bytes[..16]
                .copy_from_slice(&[0, 0x50, high, low, 0, 0, 0, 0, 0, block, 0, 0, 0, 0, 0, 0]);
            if self.one_in(4) {
                let at = self.below(16);
                bytes[at] = self.byte();
            }
        }
    }
}

/// What was asked, as far as its answer is looked at.
#[derive(Clone, Copy)]
enum Asked {
    Instruction(Instruction<'static>, usize),
    Other,
}

struct Guest {
    random: Random,
    requests: u64,
    bytes: Vec<u8>,
    asked: Vec<Asked>,
    message: Vec<u8>,
}

impl Guest {
    /// Appends a random message to the batch.
    fn ask(&mut self) {
        let random = &mut self.random;
        let asked = match random.below(20) {
            0..=16 => self.instruct(),
            17 => {
                // Not even an instruction.
                let mut noise = vec![0; random.below(80)];
                random.fill(&mut noise);
                self.bytes.extend(message(Command::ApExec, &noise));
                Asked::Other
            }
            18 => {
                let commands = [
                    Command::Version,
                    Command::DmaMap,
                    Command::DmaUnmap,
                    Command::DeviceGetInfo,
                    Command::DeviceGetIrqInfo,
                    Command::DeviceSetIrqs,
                    Command::ApGetApcb,
                ];
                let command = commands[random.below(commands.len())];
                let mut noise = vec![0; random.below(48)];
                random.fill(&mut noise);
                self.bytes.extend(message(command, &noise));
                Asked::Other
            }
            _ if random.one_in(50) => {
                self.bytes.extend(message(Command::DeviceReset, &[]));
                Asked::Other
            }
            _ => {
                self.bytes.extend(message(Command::ApGetApcb, &[]));
                Asked::Other
            }
        };
        self.asked.push(asked);
    }

    fn instruct(&mut self) -> Asked {
        let random = &mut self.random;
        let apqn = random.apqn();
        let flag = random.one_in(2);
        let mut capacity = 0;
        let instruction = match random.below(24) {
            0..=9 => {
                random.message(&mut self.message);
                self.requests += 1;
                let psmid = MARK | self.requests;
                let nqap = Instruction::Nqap {
                    apqn,
                    psmid,
                    special: flag,
                    message: &self.message,
                };
                self.bytes.extend(exec(&nqap, 0));
                // The answer does not depend on the message.
                return Asked::Instruction(
                    Instruction::Nqap {
                        apqn,
                        psmid,
                        special: flag,
                        message: &[],
                    },
                    0,
                );
            }
            10..=18 => {
                capacity = if flag { 8192 } else { 1 + random.below(300) };
                Instruction::Dqap { apqn }
            }
            19 => Instruction::Tapq {
                apqn,
                facilities: flag,
            },
            20 if random.one_in(8) => Instruction::Rapq { apqn, force: flag },
            21 if random.one_in(8) => Instruction::Zapq { apqn, force: flag },
            20..=22 => Instruction::Aqic {
                apqn,
                control: AqicControl(random.next()),
                nib: random.next(),
            },
            _ if flag => Instruction::Qci,
            _ => Instruction::Qact {
                apqn,
                info: random.next(),
            },
        };
        let length = u32::try_from(capacity).expect("a short buffer");
        self.bytes.extend(exec(&instruction, length));
        Asked::Instruction(instruction, capacity)
    }
}

/// Reads the answers of a batch and looks for anything that is not the guest's.
fn judge(answers: &mut impl Read, asked: &[Asked], seen: &mut BTreeMap<&'static str, u64>) {
    let (mut payload, mut buffer) = (Vec::new(), [0; 8192]);
    for asked in asked {
        let mut header = [0; HEADER_LEN];
        answers
            .read_exact(&mut header)
            .expect("every message is answered");
        let (header, _) = Header::read_from_prefix(&header).expect("its length");
        payload.resize(
            header.payload_len(1 << 20).expect("a daemon does not lie"),
            0,
        );
        answers
            .read_exact(&mut payload)
            .expect("the answer is whole");
        let Asked::Instruction(instruction, capacity) = asked else {
            continue;
        };
        if header.error.get() != 0 {
            *seen.entry("refused").or_default() += 1;
            continue;
        }
        let buffer = &mut buffer[..*capacity];
        let outcome = decode_outcome(instruction, &payload, buffer).expect("a daemon does not lie");
        let (Some(apqn), Some(status)) = (instruction.apqn(), outcome.status()) else {
            *seen.entry("no queue").or_default() += 1;
            continue;
        };
        if apqn != OWN {
            assert_eq!(status.code, ResponseCode::NOT_AVAILABLE, "{instruction:?}");
            *seen.entry("foreign").or_default() += 1;
            continue;
        }
        *seen.entry("own").or_default() += 1;
        if let Outcome::Dqap(Dequeued {
            psmid,
            stored,
            residual,
            ..
        }) = outcome
            && stored > 0
            && residual == 0
        {
            assert_eq!(psmid & (0xff << 56), MARK, "a foreign reply");
            *seen.entry("replies").or_default() += 1;
        }
    }
}

/// Nothing of it reaches another queue, the daemon neither panics nor grows.
#[test]
fn millions_of_random_messages_reach_one_queue() {
    if !Tier::Mount.is_there() {
        return;
    }
    let count = if std::env::var_os("APMATRIX_NIGHTLY").is_some() {
        NIGHTLY
    } else {
        MESSAGES
    };
    let scene = Scene::new();
    let mut other = Client::connect(
        &socket(&scene.instance, B),
        request("other"),
        ClientOptions::default(),
    )
    .expect("the other device opens");
    for number in 0..UNREAD {
        let status = other.nqap(FOREIGN, FOREIGN_MARK | number, false, &MALFORMED);
        assert_eq!(status.code, ResponseCode::NORMAL);
    }
    let vmm = Vmm::open(&socket(&scene.instance, A), "hostile");
    let mut stream: UnixStream = vmm.stream;
    let reader = stream.try_clone().expect("there is a descriptor");
    let mut answers = BufReader::with_capacity(1 << 18, reader);
    let mut guest = Guest {
        random: Random(0x5eed_0000_0000_0001),
        requests: 0,
        bytes: Vec::new(),
        asked: Vec::new(),
        message: Vec::new(),
    };
    let (mut seen, mut memory, mut sent) = (BTreeMap::new(), None, 0);
    let start = Instant::now();
    while sent < count {
        guest.bytes.clear();
        guest.asked.clear();
        for _ in 0..BATCH {
            guest.ask();
        }
        stream.write_all(&guest.bytes).expect("the session goes on");
        judge(&mut answers, &guest.asked, &mut seen);
        sent += guest.asked.len() as u64;
        // Measured when every buffer has been used.
        if memory.is_none() && sent > MESSAGES / 10 {
            memory = Some(scene.status("VmRSS"));
        }
    }
    let grown = scene
        .status("VmRSS")
        .saturating_sub(memory.expect("there were enough"));
    println!(
        "{sent} messages in {:?}, the daemon grew by {grown} KiB: {seen:?}",
        start.elapsed()
    );
    assert!(grown < GROWTH, "the daemon grew by {grown} KiB");
    for what in ["own", "foreign", "replies", "no queue"] {
        assert!(seen.contains_key(what), "no message of this kind: {what}");
    }
    // The cards were reached through the two queues alone, through the other guest's by itself alone.
    let requests = scene.requests();
    let queues: Vec<&str> = requests.keys().map(String::as_str).collect();
    assert_eq!(queues, ["05.0004", "06.0004"]);
    assert_eq!(requests["06.0004"], UNREAD);
    // Its replies are all there, in order, and its own.
    let mut buffer = [0; 64];
    for number in 0..UNREAD {
        let got = other.dqap(FOREIGN, &mut buffer);
        assert_eq!((got.psmid, got.stored), (FOREIGN_MARK | number, 8));
    }
    let (status, _) = other.tapq(FOREIGN, true);
    assert_eq!(status.to_gr1(), 0x8000_0000, "empty, without interrupts");
    drop(other);
    scene.goes_on("a guest that has sent random messages");
}
