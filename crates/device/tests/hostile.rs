//! Peers that lie, stall, flood and pass what they should not: their own session ends, the device
//! is closed, nothing panics.

mod common;

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Card, LIMITS, Peer, counter, eventfd, message, request, version};
use device::message::{Command, ExecRequest, Header, SetIrqs};
use device::{SessionEnd, Violation};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const EINVAL: u32 = 22;
const EOPNOTSUPP: u32 = 95;

fn card() -> Arc<Card> {
    Arc::new(Card::new(&[5], &[4]))
}

fn header(size: u32, flags: u32) -> Vec<u8> {
    let header = Header {
        id: 1.into(),
        command: Command::DeviceReset.raw().into(),
        size: size.into(),
        flags: flags.into(),
        error: 0.into(),
    };
    header.as_bytes().to_vec()
}

fn set_irqs(index: u32) -> Vec<u8> {
    let command = SetIrqs {
        argsz: SetIrqs::SIZE.into(),
        flags: 0x24.into(),
        index: index.into(),
        start: 0.into(),
        count: 1.into(),
    };
    message(Command::DeviceSetIrqs.raw(), command.as_bytes())
}

#[test]
fn a_silent_client_times_out() {
    let card = card();
    assert_eq!(Peer::connect(&card).end(), SessionEnd::HandshakeTimeout);
    let mut slow = Peer::connect(&card);
    slow.stream.write_all(&header(40, 0)[..7]).unwrap();
    assert_eq!(slow.end(), SessionEnd::HandshakeTimeout);
    assert_eq!(card.counters.opens.load(Ordering::Relaxed), 0);
}

#[test]
fn an_idle_client_may_stay_and_a_half_message_may_not() {
    let card = card();
    let mut peer = Peer::open(&card);
    std::thread::sleep(LIMITS.message * 2);
    assert_eq!(peer.errno(Command::DeviceReset.raw(), &[]), 0);
    peer.stream.write_all(&header(24, 0)).unwrap();
    peer.stream.write_all(&[1, 2, 3]).unwrap();
    assert_eq!(peer.end(), SessionEnd::MessageTimeout);
    assert_eq!(card.counters.closes.load(Ordering::Relaxed), 1);
}

#[test]
fn lying_sizes_and_flags_end_the_session() {
    let card = card();
    for (bytes, violation) in [
        (header(0, 0), Violation::Size),
        (header(15, 0), Violation::Size),
        (header(u32::MAX, 0), Violation::Size),
        (header(16 + 32 + 4096 + 1024, 0), Violation::Size),
        (header(16, 1), Violation::Flags),
        (header(16, 0x20), Violation::Flags),
        (header(16, 0x40), Violation::Flags),
        (header(16, 0x8000_0000), Violation::Flags),
    ] {
        let mut peer = Peer::open(&card);
        peer.stream.write_all(&bytes).unwrap();
        assert_eq!(peer.end(), SessionEnd::Violation(violation));
    }
    let counters = &card.counters;
    let opens = counters.opens.load(Ordering::Relaxed);
    assert_eq!(counters.closes.load(Ordering::Relaxed), opens);
}

#[test]
fn garbage_instead_of_version_opens_nothing() {
    let card = card();
    let json = request().to_json();
    let mut wrong_major = version(&json);
    wrong_major[0] = 1;
    for payload in [
        &b""[..],
        &[0; 3],
        &version("x"),
        &version("{}"),
        &wrong_major,
    ] {
        let mut peer = Peer::connect(&card);
        assert_eq!(peer.errno(Command::Version.raw(), payload), EINVAL);
        assert_eq!(peer.end(), SessionEnd::Refused(arch::Errno::EINVAL));
    }
    let mut peer = Peer::connect(&card);
    assert_eq!(peer.errno(Command::DeviceReset.raw(), &[]), EINVAL);
    assert_eq!(peer.end(), SessionEnd::Violation(Violation::NotOpen));
    assert_eq!(card.counters.opens.load(Ordering::Relaxed), 0);
}

#[test]
fn a_half_close_is_an_end() {
    let card = card();
    let peer = Peer::open(&card);
    peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(peer.end(), SessionEnd::Closed);
    let mut peer = Peer::open(&card);
    peer.stream.write_all(&header(16, 0)[..9]).unwrap();
    peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(peer.end(), SessionEnd::Truncated);
    assert_eq!(Peer::open(&card).close(), SessionEnd::Closed);
}

#[test]
fn wrong_commands_get_errors_and_change_nothing() {
    let card = card();
    let mut peer = Peer::open(&card);
    for command in [0, 5, 6, 9, 14, 0x4152, 0x4153, 0x4155, u16::MAX] {
        assert_eq!(peer.errno(command, &[0; 40]), EOPNOTSUPP, "{command:#x}");
    }
    let again = version(&request().to_json());
    assert_eq!(peer.errno(Command::Version.raw(), &again), EINVAL);
    for (command, payload) in [
        (Command::DeviceReset, &[0u8; 1][..]),
        (Command::ApGetApcb, &[0; 1]),
        (Command::ApSetupRings, &[0; 1]),
        (Command::DeviceGetInfo, &[]),
        (
            Command::DeviceGetInfo,
            &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            Command::DeviceGetIrqInfo,
            &[16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ),
        (Command::DmaMap, &[32; 32]),
        (Command::DmaUnmap, &[24; 23]),
        (Command::DeviceSetIrqs, &[20; 19]),
        (Command::ApExec, &[0; 31]),
        (Command::ApExec, &[0xff; 64]),
    ] {
        assert_eq!(peer.errno(command.raw(), payload), EINVAL, "{command:?}");
    }
    assert_eq!(card.counters.instructions.load(Ordering::Relaxed), 0);
    assert_eq!(card.counters.resets.load(Ordering::Relaxed), 0);
    assert_eq!(peer.errno(Command::DeviceReset.raw(), &[]), 0);
    assert_eq!(peer.close(), SessionEnd::Closed);
}

#[test]
fn foreign_descriptors_are_closed_and_refused() {
    let card = card();
    let mut peer = Peer::open(&card);
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    peer.send_with(&set_irqs(0), &[writer.as_fd()]);
    assert_eq!(peer.receive().unwrap().0.error.get(), EINVAL);
    peer.send_with(&header(16, 0), &[writer.as_fd()]);
    assert_eq!(peer.receive().unwrap().0.error.get(), EINVAL);
    let two = [writer.as_fd(), writer.as_fd()];
    peer.send_with(&set_irqs(0), &two);
    assert_eq!(peer.receive().unwrap().0.error.get(), EINVAL);
    // The session holds no copy: with ours closed, the pipe is at its end.
    drop(writer);
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    let many = vec![reader.as_fd(); 40];
    peer.send_with(&set_irqs(0), &many);
    assert_eq!(peer.end(), SessionEnd::Violation(Violation::Descriptors));
}

#[test]
fn an_eventfd_is_registered_and_removed() {
    let card = card();
    let mut peer = Peer::open(&card);
    let wakeup = device::Wakeup {
        config_changes: 1,
        ..device::Wakeup::default()
    };
    let eventfd = eventfd();
    peer.send_with(&set_irqs(1), &[eventfd.as_fd()]);
    assert_eq!(peer.receive().unwrap().0.error.get(), 0);
    card.wake(wakeup);
    common::eventually(|| counter(&eventfd) == Some(1));
    // A full counter does not block the session; the kernel leaves it at its limit.
    rustix::io::write(&eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    card.wake(wakeup);
    assert_eq!(peer.errno(Command::DeviceReset.raw(), &[]), 0);
    assert_eq!(counter(&eventfd), Some(u64::MAX));
    peer.stream.write_all(&set_irqs(1)).unwrap();
    assert_eq!(peer.receive().unwrap().0.error.get(), 0);
    card.wake(wakeup);
    assert_eq!(peer.errno(Command::DeviceReset.raw(), &[]), 0);
    assert_eq!(counter(&eventfd), None);
    assert_eq!(card.counters.irqs.load(Ordering::Relaxed), 2);
    card.wake(device::Wakeup {
        close: true,
        ..device::Wakeup::default()
    });
    assert_eq!(peer.end(), SessionEnd::Evicted);
}

/// How many descriptors of this process are the same eventfd, ours included.
fn holders(eventfd: &impl AsRawFd) -> usize {
    let id = |text: String| {
        let line = text.lines().find(|line| line.starts_with("eventfd-id"));
        line.map(String::from)
    };
    let ours = format!("/proc/self/fdinfo/{}", eventfd.as_raw_fd());
    let ours = id(std::fs::read_to_string(ours).expect("proc"));
    assert!(ours.is_some(), "an eventfd names itself");
    std::fs::read_dir("/proc/self/fdinfo")
        .expect("proc")
        // Other tests of this process close descriptors meanwhile.
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|text| id(text.clone()) == ours)
        .count()
}

#[test]
fn an_eventfd_ends_with_its_session() {
    let card = card();
    let mut peer = Peer::open(&card);
    let eventfd = eventfd();
    for index in 0..2 {
        peer.send_with(&set_irqs(index), &[eventfd.as_fd()]);
        assert_eq!(peer.receive().unwrap().0.error.get(), 0);
    }
    assert_eq!(holders(&eventfd), 3, "ours and one for each interrupt");
    assert_eq!(peer.close(), SessionEnd::Closed);
    assert_eq!(holders(&eventfd), 1);
    // The next one who opens the device does not wake the last one's owner.
    let mut next = Peer::open(&card);
    card.wake(device::Wakeup {
        config_changes: 1,
        ..device::Wakeup::default()
    });
    assert_eq!(next.errno(Command::DeviceReset.raw(), &[]), 0);
    assert_eq!(counter(&eventfd), None);
}

#[test]
fn a_reset_that_takes_time_keeps_commands_waiting_and_nothing_else() {
    let card = card();
    let mut peer = Peer::open(&card);
    let eventfd = eventfd();
    peer.send_with(&set_irqs(1), &[eventfd.as_fd()]);
    assert_eq!(peer.receive().unwrap().0.error.get(), 0);
    card.counters.slow_resets.store(1, Ordering::Relaxed);
    peer.send(Command::DeviceReset.raw(), &[]);
    peer.send(Command::ApGetApcb.raw(), &[]);
    common::eventually(|| card.counters.resets.load(Ordering::Relaxed) == 1);
    card.wake(device::Wakeup {
        config_changes: 3,
        ..device::Wakeup::default()
    });
    let mut signals = 0;
    common::eventually(|| {
        signals += counter(&eventfd).unwrap_or(0);
        signals == 3
    });
    card.wake(device::Wakeup {
        reset: Some(Err(arch::Errno::EIO)),
        ..device::Wakeup::default()
    });
    let (reset, _) = peer.receive().unwrap();
    let answered = (reset.command.get(), reset.error.get());
    assert_eq!(answered, (Command::DeviceReset.raw(), 5));
    let (next, _) = peer.receive().unwrap();
    assert_eq!(next.command.get(), Command::ApGetApcb.raw());
    // Who goes away meanwhile is missed, although nothing is read.
    peer.send(Command::DeviceReset.raw(), &[]);
    common::eventually(|| card.counters.resets.load(Ordering::Relaxed) == 2);
    peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(peer.end(), SessionEnd::Closed);
    assert_eq!(card.counters.closes.load(Ordering::Relaxed), 1);
}

#[test]
fn a_client_that_never_reads_loses_its_session() {
    let card = card();
    let mut peer = Peer::open(&card);
    peer.stream.set_nonblocking(true).unwrap();
    let flood = message(Command::ApGetApcb.raw(), &[]);
    // Until both directions are full; then the session gives up on its reply.
    while peer.stream.write_all(&flood).is_ok() {}
    assert_eq!(peer.end(), SessionEnd::SendTimeout);
    assert_eq!(card.counters.closes.load(Ordering::Relaxed), 1);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let card = card();
    let mut peer = Peer::open(&card);
    let mut flood = Vec::new();
    for id in 0..100u16 {
        let mut one = message(Command::DeviceReset.raw(), &[]);
        one[..2].copy_from_slice(&id.to_le_bytes());
        // Every second one wants no reply.
        one[8] = if id % 2 == 1 { 0x10 } else { 0 };
        flood.extend(one);
    }
    peer.stream.write_all(&flood).unwrap();
    for id in (0..100).step_by(2) {
        let (header, _) = peer.receive().unwrap();
        assert_eq!((header.id.get(), header.flags.get()), (id, 1));
    }
    // The last one is not answered.
    common::eventually(|| card.counters.resets.load(Ordering::Relaxed) == 100);
}

#[test]
fn queues_outside_the_masks_do_not_exist() {
    let card = card();
    let mut peer = Peer::open(&card);
    let exec = ExecRequest {
        operation: 1.into(),
        apqn: 0x0604.into(),
        ..ExecRequest::default()
    };
    peer.send(Command::ApExec.raw(), exec.as_bytes());
    let (header, payload) = peer.receive().unwrap();
    assert_eq!(header.error.get(), 0);
    let (reply, data) = device::message::ExecReply::read_from_prefix(&payload).unwrap();
    assert_eq!((reply.status.get(), data.len()), (0x0001_0000, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_end_or_are_answered(
        before in proptest::collection::vec(any::<u8>(), 0..100),
        commands in proptest::collection::vec(
            (prop_oneof![0u16..16, 0x414fu16..0x4154], proptest::collection::vec(any::<u8>(), 0..80)),
            0..8,
        ),
        open: bool,
    ) {
        let card = card();
        let mut peer = if open { Peer::open(&card) } else { Peer::connect(&card) };
        for (command, payload) in &commands {
            let _closed = peer.stream.write_all(&message(*command, payload));
        }
        let _closed = peer.stream.write_all(&before);
        let _gone = peer.stream.shutdown(std::net::Shutdown::Write);
        let _all = peer.stream.read_to_end(&mut Vec::new());
        let end = peer.end();
        prop_assert!(!matches!(end, SessionEnd::Os(_)), "{end:?}");
        let counters = &card.counters;
        let opens = counters.opens.load(Ordering::Relaxed);
        prop_assert_eq!(counters.closes.load(Ordering::Relaxed), opens);
    }
}
