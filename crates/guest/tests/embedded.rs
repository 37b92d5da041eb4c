//! The embedded guest over a real socket, and over a queue that misbehaves on purpose.

use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arch::instruction::Dequeued;
use arch::status::StatusFlags;
use arch::{
    ApInstructions, ApType, Apqn, CrycbFormat, Facilities, HwInfo, Instruction, Outcome, QciBlock,
    QueueStatus, ResponseCode,
};
use device::{ClientOptions, Limits, OpenRequest};
use guest::requester::MOST_RETRIES;
use guest::{Crt, Guest, ModExpo, RequestError};

#[path = "../../device/examples/echo_card/card.rs"]
#[allow(dead_code, reason = "a part is used here")]
mod card;

const MEX: ModExpo<'_> = ModExpo {
    message: &[7, 8],
    exponent: &[3],
    modulus: &[0xff; 64],
};

#[test]
fn requests_over_a_real_socket() {
    let directory = std::env::temp_dir().join(format!("apmatrix-guest-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("mdev.sock");
    let _old = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let card = Arc::new(card::Card::new(&[5, 10], &[4, 71]));
    let served = Arc::clone(&card);
    let server = move || {
        let (stream, _) = listener.accept().unwrap();
        device::serve(stream, &*served, &Limits::default())
    };
    let server = std::thread::Builder::new().spawn(server).unwrap();
    let request = OpenRequest {
        vm: "embedded".parse().unwrap(),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let mut guest = Guest::connect(&path, request, ClientOptions::default()).unwrap();
    let names = [
        "05.0004", "05.0047", "0a.0004", "0a.0047", "card05", "card0a",
    ];
    assert_eq!(guest.devices(), names);
    // The pretended card answers with the message.
    for len in [1usize, 64, 128, 129, 256, 257, 512] {
        let message: Vec<u8> = (1..=len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let half = vec![1; len.div_ceil(2)];
        let operands = ModExpo {
            message: &message,
            exponent: &[3],
            modulus: &vec![0xff; len],
        };
        assert_eq!(guest.mod_expo(&operands), Ok(message.clone()));
        let operands = Crt {
            message: &message,
            p: &half,
            q: &half,
            dp: &half,
            dq: &half,
            u: &half,
        };
        assert_eq!(guest.crt(&operands), Ok(message));
    }
    // More than all queues hold at once.
    let tickets: Vec<_> = (0..100)
        .map(|_| guest.submit(MEX.encode().unwrap()))
        .collect();
    for ticket in tickets {
        let result = guest.wait(ticket, Duration::from_secs(5)).unwrap();
        assert_eq!(result[62..], [7, 8]);
    }
    assert_eq!(guest.total_requests(), 114);
    assert_eq!(card.counters.requests.load(Ordering::Relaxed), 114);
    assert!(!guest.follow_changes());
    card.wake(device::Wakeup {
        config_changes: 1,
        ..device::Wakeup::default()
    });
    while !guest.follow_changes() {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(guest);
    assert_eq!(server.join().unwrap(), device::SessionEnd::Closed);
    std::fs::remove_dir_all(directory).unwrap();
}

/// What a faulty queue does with the next request.
#[derive(Clone, Debug)]
enum Fault {
    /// NQAP answers this code.
    Nqap(ResponseCode),
    /// The request is answered with these bytes.
    Reply(Vec<u8>),
    /// DQAP answers this code until RAPQ.
    Dqap(ResponseCode),
    /// The request disappears.
    Lose,
}

/// Queues 01.0002 and 01.0003; faults apply to whichever is used next.
#[derive(Debug, Default)]
struct Faulty {
    faults: VecDeque<Fault>,
    queues: [Queue; 2],
    nqaps: u32,
    gone: bool,
}

#[derive(Debug, Default)]
struct Queue {
    replies: VecDeque<(u64, Vec<u8>)>,
    error: Option<ResponseCode>,
}

/// 2 ^ 5 mod 35 and the like are not needed: a result of zeros.
fn type_80() -> Vec<u8> {
    let mut reply = vec![0; 144];
    reply[..4].copy_from_slice(&[0, 0x80, 0, 144]);
    reply
}

fn type_82(code: u8) -> Vec<u8> {
    vec![0, 0x82, 0, 0, code, 0, 0, 0]
}

impl ApInstructions for Faulty {
    fn facilities(&self) -> Facilities {
        Facilities::APFT | Facilities::APQCI
    }

    fn execute(&mut self, instruction: &Instruction<'_>, buffer: &mut [u8]) -> Outcome {
        let Some(apqn) = instruction.apqn() else {
            let mut block = QciBlock::EMPTY;
            block.apm.insert(arch::Apid(1));
            block.aqm.insert(arch::Apqi(2));
            block.aqm.insert(arch::Apqi(3));
            return Outcome::Qci(block);
        };
        let queue = match apqn.to_u16() {
            0x0102 if !self.gone => &mut self.queues[0],
            0x0103 if !self.gone => &mut self.queues[1],
            _ => return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        };
        let status = |code, queue: &Queue| {
            let mut flags = StatusFlags::empty();
            flags.set(StatusFlags::EMPTY, queue.replies.is_empty());
            QueueStatus::new(code, flags)
        };
        match instruction {
            Instruction::Tapq { .. } => Outcome::Tapq {
                status: status(ResponseCode::NORMAL, queue),
                info: HwInfo::new(0x6a80_0000, ApType::CEX8, 0, 0, 8),
            },
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                *queue = Queue::default();
                Outcome::Status(status(ResponseCode::NORMAL, queue))
            }
            Instruction::Nqap { psmid, .. } => {
                self.nqaps += 1;
                let mut code = ResponseCode::NORMAL;
                match self.faults.pop_front() {
                    None => queue.replies.push_back((*psmid, type_80())),
                    Some(Fault::Reply(bytes)) => queue.replies.push_back((*psmid, bytes)),
                    Some(Fault::Nqap(refusal)) => code = refusal,
                    Some(Fault::Dqap(refusal)) => queue.error = Some(refusal),
                    Some(Fault::Lose) => {}
                }
                Outcome::Status(status(code, queue))
            }
            Instruction::Dqap { .. } => {
                if let Some(code) = queue.error {
                    return Outcome::refused(instruction, code);
                }
                let Some((psmid, bytes)) = queue.replies.pop_front() else {
                    let nothing = status(ResponseCode::FULL_OR_NO_REPLY, queue);
                    return Outcome::Dqap(Dequeued::nothing(nothing));
                };
                let stored = bytes.len().min(buffer.len());
                buffer[..stored].copy_from_slice(&bytes[..stored]);
                let rest = bytes[stored..].to_vec();
                let residual = rest.len();
                if residual != 0 {
                    queue.replies.push_front((psmid, rest));
                }
                Outcome::Dqap(Dequeued {
                    status: status(ResponseCode::NORMAL, queue),
                    psmid,
                    stored,
                    residual,
                })
            }
            Instruction::Aqic { .. } | Instruction::Qact { .. } | Instruction::Qci => {
                Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE)
            }
        }
    }
}

fn with(faults: impl IntoIterator<Item = Fault>) -> Guest<Faulty> {
    let mut guest = Guest::over(Faulty::default());
    guest.instructions().faults = faults.into_iter().collect();
    guest
}

#[test]
fn errors_of_the_einval_class_are_not_retried() {
    for code in [0x85, 0x82, 0x40, 0x8a] {
        let mut guest = with([Fault::Reply(type_82(code))]);
        assert_eq!(guest.mod_expo(&MEX), Err(RequestError::Invalid(code)));
        assert_eq!(guest.instructions().nqaps, 1);
    }
    for code in [
        ResponseCode::MESSAGE_TOO_BIG,
        ResponseCode::FACILITY_MISSING,
        ResponseCode::INVALID_DOMAIN,
    ] {
        let mut guest = with([Fault::Nqap(code)]);
        assert_eq!(guest.mod_expo(&MEX), Err(RequestError::Invalid(code.0)));
        assert_eq!(guest.instructions().nqaps, 1);
        assert_eq!(guest.total_requests(), 0);
    }
}

#[test]
fn errors_of_the_eagain_class_are_retried_ten_times_on_changing_queues() {
    let again = || Fault::Reply(type_82(0x10));
    let mut guest = with(std::iter::repeat_with(again).take(3));
    assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
    assert_eq!(guest.instructions().nqaps, 4);
    let both = [2, 3].map(|domain| guest.request_count(Apqn::new(1, domain)));
    assert_eq!(both, [2, 2], "the queue of the last try is avoided");
    let mut guest = with(std::iter::repeat_with(again).take(100));
    assert_eq!(guest.mod_expo(&MEX), Err(RequestError::Io));
    assert_eq!(guest.instructions().nqaps, MOST_RETRIES + 1);
}

#[test]
fn a_full_or_resetting_queue_gets_the_request_later() {
    for code in [
        ResponseCode::FULL_OR_NO_REPLY,
        ResponseCode::RESET_IN_PROGRESS,
    ] {
        let mut guest = with(std::iter::repeat_n(Fault::Nqap(code), 30));
        assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
        assert_eq!(
            (guest.instructions().nqaps, guest.total_requests()),
            (31, 1)
        );
    }
}

#[test]
fn lost_requests_are_sent_again_and_counted_once() {
    let mut guest = with([Fault::Lose, Fault::Lose]);
    assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
    assert_eq!((guest.instructions().nqaps, guest.total_requests()), (3, 1));
}

#[test]
fn a_queue_that_refuses_is_avoided_until_the_next_scan() {
    let mut guest = with([Fault::Dqap(ResponseCode::CHECKSTOPPED)]);
    for _ in 0..5 {
        assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
    }
    let counts = |guest: &Guest<Faulty>| [2, 3].map(|d| guest.request_count(Apqn::new(1, d)));
    assert_eq!(counts(&guest), [1, 5]);
    guest.scan();
    for _ in 0..4 {
        assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
    }
    assert_eq!(counts(&guest), [5, 5]);
}

#[test]
fn replies_of_the_wrong_form() {
    let mut short = type_80();
    short[3] = 100;
    let mut guest = with([Fault::Reply(short), Fault::Reply(vec![0x80; 20_000])]);
    assert_eq!(guest.mod_expo(&MEX), Err(RequestError::ReplyLength));
    assert_eq!(guest.mod_expo(&MEX), Err(RequestError::ReplyLength));
    assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]), "drained");
    // Nothing that an accelerator answers: the queue goes offline, the other one serves.
    let mut guest = with([Fault::Reply(vec![0, 0x99, 0, 8, 0, 0, 0, 0])]);
    assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
    let online: Vec<bool> = guest.bus().queues().map(|(_, q)| q.is_online()).collect();
    assert_eq!(online, [false, true]);
}

#[test]
fn without_queues_there_is_no_device() {
    let mut guest = with([]);
    guest.instructions().gone = true;
    assert_eq!(guest.mod_expo(&MEX), Err(RequestError::NoDevice));
    assert!(guest.devices().is_empty());
    guest.instructions().gone = false;
    guest.scan();
    assert_eq!(guest.mod_expo(&MEX), Ok(vec![0; 64]));
}

#[test]
fn a_reply_that_never_comes_times_out() {
    let mut guest = with([]);
    guest.instructions().faults = std::iter::repeat_n(Fault::Lose, 1 << 20).collect();
    let ticket = guest.submit(MEX.encode().unwrap());
    let result = guest.wait(ticket, Duration::from_millis(50));
    assert_eq!(result, Err(RequestError::TimedOut));
    assert_eq!(guest.pending(), 0);
}
