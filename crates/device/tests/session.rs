//! The documented client against the server: every command, and life without a daemon.

mod common;

use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use arch::status::StatusFlags;
use arch::{
    ApInstructions, Apqn, AqicControl, Errno, Facilities, HwInfo, QueueStatus, ResponseCode,
};
use common::{Card, Served, card, counter, eventfd, eventually, request};
use device::{Alert, Client, ClientError, ClientOptions, DmaRange, IrqIndex, SharedClient};

const HERE: Apqn = Apqn::new(5, 4);
const ABSENT: Apqn = Apqn::new(6, 4);

fn options() -> ClientOptions {
    ClientOptions {
        round_trip: Duration::from_millis(300),
        reset: Duration::from_millis(300),
        connect: Duration::from_secs(2),
        ..ClientOptions::default()
    }
}

fn connect(served: &Served) -> Client {
    Client::connect(served.path(), request(), options()).expect("the card is served")
}

fn served(name: &str, connections: usize) -> (Served, Arc<Card>) {
    let served = Served::new(name);
    let card = Arc::new(Card::new(&[5, 10], &[4, 71]));
    served.serve(&card, connections);
    (served, card)
}

#[test]
fn every_command_works() {
    let (served, card) = served("commands", 1);
    let mut client = connect(&served);
    assert!(client.grant().apxa);
    assert_eq!(client.facilities(), Facilities::APFT | Facilities::APQCI);
    assert_eq!(client.max_message(), 4096);
    let info = client.get_info().unwrap();
    assert_eq!(
        (info.flags.get(), info.regions.get(), info.irqs.get()),
        (0x21, 0, 2)
    );
    for index in 0..2 {
        let irq = client.get_irq_info(index).unwrap();
        assert_eq!((irq.flags.get(), irq.count.get()), (1, 1));
    }
    let refused = client.get_irq_info(2);
    assert!(matches!(refused, Err(ClientError::Refused(Errno::EINVAL))));
    let view = client.apcb().unwrap();
    assert_eq!(view.apcb.queues().count(), 4);
    assert_eq!(view.qci.apm, view.apcb.apm);
    let range = DmaRange {
        address: 0,
        length: 1 << 29,
        readable: true,
        writable: true,
    };
    client.dma_map(range).unwrap();
    assert_eq!(card.counters.maps.load(Ordering::Relaxed), 1);
    client.dma_unmap(range).unwrap();
    assert_eq!(card.counters.maps.load(Ordering::Relaxed), 0);
    client.reset().unwrap();
    assert_eq!(card.counters.resets.load(Ordering::Relaxed), 1);
    assert!(client.is_open());
}

#[test]
fn instructions_go_through() {
    let (served, card) = served("instructions", 1);
    let mut client = connect(&served);
    let (status, info) = client.tapq(HERE, true);
    assert_eq!((status.code, info), (ResponseCode::NORMAL, card::INFO));
    let (status, info) = client.tapq(ABSENT, true);
    assert_eq!(
        (status.code, info),
        (ResponseCode::NOT_AVAILABLE, HwInfo(0))
    );
    assert_eq!(client.qci().unwrap().na, 255);
    let message = [0x5a; 400];
    assert_eq!(
        client.nqap(HERE, 0x1234, false, &message).code,
        ResponseCode::NORMAL
    );
    let mut buffer = [0; 100];
    let first = client.dqap(HERE, &mut buffer);
    assert_eq!((first.stored, first.residual), (100, 44));
    assert_eq!(buffer[..4], [0, 0x80, 0, 144]);
    let rest = client.dqap(HERE, &mut buffer);
    assert_eq!((rest.stored, rest.residual, rest.psmid), (44, 0, 0x1234));
    assert_eq!(buffer[..44], [0x5a; 44]);
    let nothing = client.dqap(HERE, &mut [0; 10]);
    assert_eq!(nothing.status.code, ResponseCode::FULL_OR_NO_REPLY);
    assert_eq!(card.counters.requests.load(Ordering::Relaxed), 1);
}

#[test]
fn messages_above_the_limit_get_response_code_15() {
    let (served, card) = served("too-big", 1);
    let mut client = connect(&served);
    let message = vec![0; 4097];
    let status = client.nqap(HERE, 1, false, &message);
    assert_eq!(status.code, ResponseCode::MESSAGE_TOO_BIG);
    let status = client.nqap(ABSENT, 1, false, &message);
    assert_eq!(status.code, ResponseCode::NOT_AVAILABLE);
    assert_eq!(card.counters.requests.load(Ordering::Relaxed), 0);
    let status = client.nqap(HERE, 1, false, &message[..4096]);
    assert_eq!(status.code, ResponseCode::NORMAL);
    // A buffer of any size is fine: no reply is longer than the limit.
    assert_eq!(client.dqap(HERE, &mut vec![0; 1 << 20]).stored, 528);
}

#[test]
fn a_device_is_open_once() {
    let (served, card) = served("busy", 3);
    let first = connect(&served);
    let second = Client::connect(served.path(), request(), options());
    assert!(matches!(second, Err(ClientError::Refused(Errno::EBUSY))));
    drop(first);
    eventually(|| card.counters.closes.load(Ordering::Relaxed) == 1);
    drop(connect(&served));
}

#[test]
fn a_client_gets_no_more_than_it_asked_for() {
    let (served, _card) = served("grant", 1);
    let mut modest = request();
    modest.facilities = Facilities::APFT;
    modest.crycb_format = arch::CrycbFormat::Format0;
    let client = Client::connect(served.path(), modest, options()).unwrap();
    assert_eq!(client.facilities(), Facilities::APFT);
    assert_eq!(client.grant().crycb_format, arch::CrycbFormat::Format0);
}

#[test]
fn without_a_socket_there_is_no_client() {
    let served = Served::new("none");
    let client = Client::connect(served.path(), request(), options());
    assert!(matches!(client, Err(ClientError::Connect(_))));
}

/// Waits, as a guest does, by executing instructions.
fn poll_until(client: &mut Client, wanted: ResponseCode) {
    eventually(|| client.tapq(HERE, true).0.code == wanted);
}

#[test]
fn queues_are_in_reset_while_the_daemon_is_away() {
    let (served, first) = served("away", 1);
    let mut client = connect(&served);
    let registered = eventfd();
    let kept = registered.try_clone().unwrap();
    client
        .set_irq(IrqIndex::ConfigChanged, Some(registered))
        .unwrap();
    assert_eq!(client.tapq(HERE, true).0.code, ResponseCode::NORMAL);
    let qci = client.qci().unwrap();
    // The daemon ends the session and does not listen any more.
    first.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    eventually(|| first.counters.closes.load(Ordering::Relaxed) == 1);
    let (status, info) = client.tapq(HERE, true);
    assert_eq!(
        (status.code, info),
        (ResponseCode::RESET_IN_PROGRESS, card::INFO)
    );
    assert_eq!(
        client.nqap(HERE, 1, false, b"x").code,
        ResponseCode::RESET_IN_PROGRESS
    );
    // What was sent is gone, and a driver sends it again.
    let lost = client.dqap(HERE, &mut []).status;
    assert_eq!(
        lost,
        QueueStatus::new(ResponseCode::FULL_OR_NO_REPLY, StatusFlags::EMPTY)
    );
    assert_eq!(
        client.tapq(ABSENT, true).0.code,
        ResponseCode::NOT_AVAILABLE
    );
    assert_eq!(client.qci(), Some(qci));
    assert!(client.reset().is_err());
    let start = Instant::now();
    for _ in 0..100 {
        client.tapq(HERE, true);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    // Another daemon: everything works again, and the eventfd is registered with it.
    let second = Arc::new(Card::new(&[5], &[4]));
    served.serve(&second, 1);
    poll_until(&mut client, ResponseCode::NORMAL);
    assert_eq!(client.reconnects(), 1);
    // It has other queues than the one before: a change that the guest hears of.
    assert_eq!(counter(&kept), Some(1));
    second.wake(device::Wakeup {
        config_changes: 1,
        ..device::Wakeup::default()
    });
    eventually(|| counter(&kept) == Some(1));
}

/// A driver with interruptions asks without the T bit whether they are enabled, waits for them, and is told
/// to look when the daemon is back.
#[test]
fn enabled_interruptions_outlive_the_daemon() {
    const CONTROL: AqicControl = AqicControl::enable(6);
    const NIB: u64 = 0x1000;
    let (served, first) = served("interruptions", 1);
    let mut request = request();
    request.facilities |= Facilities::APQI;
    let mut client = Client::connect(served.path(), request, options()).unwrap();
    let alert = eventfd();
    client.set_alert(alert.try_clone().unwrap()).unwrap();
    let kept = [HERE, Apqn::new(5, 71)];
    let reset = [Apqn::new(10, 4), Apqn::new(10, 71)];
    for apqn in kept.into_iter().chain(reset) {
        assert!(!is_enabled(&mut client, apqn));
        let code = client.aqic(apqn, CONTROL, NIB).code;
        assert_eq!(code, ResponseCode::NORMAL);
        assert!(is_enabled(&mut client, apqn));
    }
    assert_eq!(client.rapq(reset[0]).code, ResponseCode::NORMAL);
    first.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    eventually(|| first.counters.closes.load(Ordering::Relaxed) == 1);
    // Away: what waits for a reset sees one, what waits for AQIC does not give the queue up.
    let (in_reset, done) = (ResponseCode::RESET_IN_PROGRESS, ResponseCode::NORMAL);
    assert_eq!(client.tapq(HERE, true).0.code, in_reset);
    let flags = StatusFlags::EMPTY | StatusFlags::INTERRUPTS;
    assert_eq!(client.tapq(HERE, false).0, QueueStatus::new(done, flags));
    assert_eq!(client.tapq(reset[0], false).0.code, in_reset);
    assert_eq!(client.rapq(reset[1]).code, in_reset);
    assert_eq!(client.tapq(reset[1], false).0.code, in_reset);
    assert_eq!(counter(&alert), None, "nothing to look at yet");
    let second = Arc::new(Card::new(&[5, 10], &[4, 71]));
    served.serve(&second, 1);
    eventually(|| client.tapq(HERE, true).0.code == done);
    assert_eq!(counter(&alert), Some(1));
    for (apqns, expected) in [(kept, true), (reset, false)] {
        for apqn in apqns {
            assert_eq!(is_enabled(&mut client, apqn), expected, "{apqn}");
        }
    }
    let mut told = Vec::new();
    client.alerts(|alert| told.push(alert)).unwrap();
    let look = |apqn| Alert {
        apqn,
        isc: 6,
        nib: NIB,
        replies: 1,
    };
    assert_eq!(told, kept.map(look));
    client.alerts(|alert| panic!("{alert:?} again")).unwrap();
    // A machine that starts anew has none, whatever becomes of its daemon.
    client.reset().unwrap();
    second.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    eventually(|| second.counters.closes.load(Ordering::Relaxed) == 1);
    assert_eq!(client.tapq(HERE, false).0.code, in_reset);
}

fn is_enabled(client: &mut Client, apqn: Apqn) -> bool {
    let flags = client.tapq(apqn, true).0.flags;
    flags.contains(StatusFlags::INTERRUPTS)
}

#[test]
fn a_stopped_daemon_costs_one_deadline() {
    let (served, card) = served("stopped", 1);
    let mut client = connect(&served);
    client.tapq(HERE, true);
    card.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    eventually(|| card.counters.closes.load(Ordering::Relaxed) == 1);
    // Accepts and says nothing, as a stopped process does.
    std::fs::remove_file(served.path()).unwrap();
    let silent = UnixListener::bind(served.path()).unwrap();
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(
            client.tapq(HERE, true).0.code,
            ResponseCode::RESET_IN_PROGRESS
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    drop(silent);
    served.serve(&Arc::new(Card::new(&[5], &[4])), 1);
    poll_until(&mut client, ResponseCode::NORMAL);
}

/// A client that a thread keeps, and what the thread was told. The thread lives as long as the test.
fn kept(client: Client) -> (Arc<SharedClient>, mpsc::Receiver<bool>) {
    let shared = Arc::new(SharedClient::new(client));
    let (sender, told) = mpsc::channel();
    let keeper = Arc::clone(&shared);
    std::thread::Builder::new()
        .spawn(move || {
            keeper.keep(|open| {
                let _nobody_listens = sender.send(open);
            });
        })
        .expect("the system has threads");
    (shared, told)
}

#[test]
fn a_kept_connection_comes_back_without_instructions() {
    let (served, first) = served("kept", 1);
    let (client, told) = kept(connect(&served));
    for round in 1..=3 {
        first.wake(device::Wakeup {
            close: true,
            ..device::Wakeup::default()
        });
        let soon = Duration::from_secs(5);
        assert_eq!(told.recv_timeout(soon), Ok(false), "the loss is noticed");
        served.serve(&first, 1);
        assert_eq!(told.recv_timeout(soon), Ok(true), "and the return");
        assert_eq!(client.reconnects(), round);
        let (status, _) = (&*client).tapq(HERE, true);
        assert_eq!(status.code, ResponseCode::NORMAL);
    }
    assert_eq!(first.counters.closes.load(Ordering::Relaxed), 3);
}

/// A daemon that is stopped, also in the middle of an instruction or of a connection.
#[test]
fn no_instruction_waits_for_a_connection_that_is_kept() {
    let (served, card) = served("silent", 1);
    let (client, told) = kept(connect(&served));
    (&*client).tapq(HERE, true);
    std::fs::remove_file(served.path()).unwrap();
    let silent = UnixListener::bind(served.path()).unwrap();
    card.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(false));
    let connected = silent.accept().unwrap();
    let start = Instant::now();
    for _ in 0..10_000 {
        let (status, _) = (&*client).tapq(HERE, true);
        assert_eq!(status.code, ResponseCode::RESET_IN_PROGRESS);
    }
    // A client alone would wait some milliseconds each time.
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    drop((silent, connected));
    served.serve(&card, 1);
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(true));
    let (status, _) = (&*client).tapq(HERE, true);
    assert_eq!(status.code, ResponseCode::NORMAL);
}

#[test]
fn several_threads_share_a_client() {
    let (served, card) = served("threads", 1);
    let client = SharedClient::new(connect(&served));
    std::thread::scope(|scope| {
        for domain in [4, 71] {
            let client = &client;
            scope.spawn(move || {
                let mut instructions = client;
                let apqn = Apqn::new(10, domain);
                for psmid in 0..200 {
                    let sent = instructions.nqap(apqn, psmid, false, &[domain; 400]);
                    assert_eq!(sent.code, ResponseCode::NORMAL);
                    let mut buffer = [0; 144];
                    let reply = instructions.dqap(apqn, &mut buffer);
                    assert_eq!((reply.psmid, reply.stored), (psmid, 144));
                    assert_eq!(buffer[16..], [domain; 128]);
                }
            });
        }
    });
    assert_eq!(card.counters.requests.load(Ordering::Relaxed), 400);
}
