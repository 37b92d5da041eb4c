//! Resets that take time (spec 7; row T80): who waits for them, who does not, and what is there when
//! they have ended. Time is a command, so nothing here waits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

mod common;

use std::time::Duration;

use arch::{Apqn, Errno, ResponseCode};
use common::{Fake, boot};
use matrix::{BootConfig, Command, Effect, Effects, Host, MdevUuid, Outcome, Usage, VmId};
use sysfs::Session;

const F0: &str = "card 4 12 A; card 5 12 A; card 6 12 A; dom 4; dom 5; dom 6; dom 71; \
                  cdom 4; cdom 5; cdom 6; cdom 16; cdom 71; na 63; nd 84";
const M: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const N: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";
const DRIVERS: &str = "bus/ap/drivers";

/// The queue of M, and the hung one of every test.
const QUEUE: Apqn = Apqn::new(5, 4);
/// A machine that never ends a reset within a test.
const HANGS: [u8; 1000] = [2; 1000];

fn uuid(text: &str) -> MdevUuid {
    text.parse().unwrap()
}

fn write(session: &mut Session<Fake>, path: &str, text: &str) -> Result<Effects, Errno> {
    session
        .write(path, text.as_bytes())
        .map(|(_, effects)| effects)
        .map_err(|e| e.errno())
}

fn mdev(session: &mut Session<Fake>, name: &str, file: &str, text: &str) -> Result<Effects, Errno> {
    let path = format!("devices/vfio_ap/matrix/{name}/{file}");
    write(session, &path, text)
}

fn guest_matrix(session: &mut Session<Fake>, name: &str) -> String {
    let path = format!("devices/vfio_ap/matrix/{name}/guest_matrix");
    String::from_utf8(session.read(&path).unwrap()).unwrap()
}

fn open(session: &mut Session<Fake>, name: &str, vm: &str) -> Result<Effects, Errno> {
    let vm = Some(VmId(vm.into()));
    let mdev = uuid(name);
    session
        .apply(Command::Open { mdev, vm })
        .map_err(|error| error.errno())
}

fn pass(session: &mut Session<Fake>, milliseconds: u64) -> Vec<Effect> {
    let passed = Duration::from_millis(milliseconds);
    session.apply(Command::TimePassed(passed)).unwrap().list
}

/// Lets time pass, by the steps that the host asks for, until no reset is left.
fn settle(session: &mut Session<Fake>) -> (Duration, Vec<Effect>) {
    let (mut waited, mut effects) = (Duration::ZERO, Vec::new());
    while let Some(step) = session.host.next_look() {
        assert!(waited < Duration::from_secs(60), "it never ends");
        waited += step;
        effects.extend(session.apply(Command::TimePassed(step)).unwrap().list);
    }
    (waited, effects)
}

fn zeroized(session: &Session<Fake>) -> usize {
    let all = &session.platform.hardware.zeroized;
    all.iter().filter(|apqn| **apqn == QUEUE).count()
}

fn waits(effects: &Effects) -> Vec<Apqn> {
    match &effects.outcome {
        Outcome::Resetting { queues, .. } => queues.clone(),
        other => panic!("{other:?} instead of a wait"),
    }
}

const ENDED: Effect = Effect::ResetEnded {
    apqn: QUEUE,
    code: ResponseCode::NORMAL,
};

fn apid(session: &Session<Fake>, name: &str) -> Option<Vec<u8>> {
    let apcb = session.platform.guests.get(&uuid(name))?;
    Some(apcb.apm.iter().map(|apid| apid.0).collect())
}

/// M has 05.0004, N nothing; both are bound to `vfio_ap` and nothing hangs.
fn fixture() -> Session<Fake> {
    let mut session = boot(F0);
    write(&mut session, "bus/ap/apmask", "-5,-6").unwrap();
    for name in [M, N] {
        write(&mut session, CREATE, name).unwrap();
    }
    mdev(&mut session, M, "assign_adapter", "5").unwrap();
    mdev(&mut session, M, "assign_domain", "4").unwrap();
    session.platform.hardware.zeroized.clear();
    session
}

fn opened() -> Session<Fake> {
    let mut session = fixture();
    open(&mut session, M, "vm1").unwrap();
    session
}

fn script(session: &mut Session<Fake>, resets: &[u8], tests: &[u8]) {
    session.platform.hardware.script(QUEUE, resets, tests);
}

fn log_lines(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Log(line) => Some(line.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn t80_reset_waits_until_a_second_zapq_is_settled() {
    let mut session = opened();
    script(&mut session, &[2, 0], &[2, 2, 0, 0]);
    let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    let mut waited = 0;
    let ended = loop {
        assert!(waited < 1000, "it never ends");
        waited += 10;
        let effects = pass(&mut session, 10);
        if effects.contains(&ENDED) {
            break effects;
        }
    };
    assert_eq!((waited, zeroized(&session)), (80, 2));
    assert_eq!(log_lines(&ended), [] as [&str; 0]);
    assert_eq!(session.platform.hardware.script_left(QUEUE), (0, 0));
    assert_eq!(session.host.next_look(), None);
    assert_eq!(
        session.host.matrix().reset_status(QUEUE),
        Some(ResponseCode::NORMAL)
    );
}

#[test]
fn the_wait_is_logged_when_it_has_doubled() {
    let mut session = opened();
    script(&mut session, &[2], &[2; 9]);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    let (waited, effects) = settle(&mut session);
    // Nine looks at a busy queue, one that ends it, one after the second ZAPQ.
    assert_eq!(waited, Duration::from_millis(220));
    let line = |ms| {
        format!("Waited {ms}ms for reset of queue 05.0004: response code 02 (reset in progress)")
    };
    assert_eq!(log_lines(&effects), [20, 40, 80, 160].map(line));
}

#[test]
fn a_reset_that_ends_at_once_is_not_waited_for() {
    let mut session = opened();
    let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
    assert_eq!((effects.outcome, zeroized(&session)), (Outcome::Done, 1));
    assert_eq!(session.host.next_look(), None);
}

/// Every row of the table of response codes: what ZAPQ and TAPQ answer, how long it takes, how many
/// ZAPQs, and the status that is left.
#[test]
fn each_response_code_has_its_class() {
    type Row = (&'static [u8], &'static [u8], u64, usize, u8);
    let table: [Row; 12] = [
        (&[3], &[], 0, 1, 3),
        (&[4], &[], 0, 1, 4),
        (&[1], &[], 0, 1, 1),
        // 00, and a look at once that finds the queue busy.
        (&[0], &[2, 5, 0], 40, 1, 0),
        (&[0], &[5, 3], 20, 1, 0),
        (&[2], &[0], 40, 2, 0),
        (&[5], &[5, 4], 60, 2, 0),
        (&[0x0a], &[2, 0], 60, 2, 0),
        (&[2, 2, 0x0a, 0], &[0, 0, 0, 0], 80, 4, 0),
        // Association errors: again, also after a good ZAPQ.
        (&[0, 0], &[2, 0x35, 0], 40, 2, 0),
        (&[0, 0], &[0x36, 0x36, 0], 40, 2, 0),
        // Another code ends it; the last ZAPQ had not succeeded.
        (&[2], &[2, 1], 40, 1, 2),
    ];
    for (resets, tests, milliseconds, zapqs, status) in table {
        let mut session = opened();
        script(&mut session, resets, tests);
        let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
        let name = format!("{resets:?} {tests:?}");
        assert_eq!(
            matches!(effects.outcome, Outcome::Resetting { .. }),
            milliseconds > 0,
            "{name}"
        );
        let (waited, effects) = settle(&mut session);
        assert_eq!(waited, Duration::from_millis(milliseconds), "{name}");
        assert_eq!(zeroized(&session), zapqs, "{name}");
        let code = ResponseCode(status);
        assert_eq!(
            session.host.matrix().reset_status(QUEUE),
            Some(code),
            "{name}"
        );
        let ended = Effect::ResetEnded { apqn: QUEUE, code };
        assert_eq!(effects.contains(&ended), milliseconds > 0, "{name}");
        // Passable: 00, 03 and 04.
        let passable = [0, 3, 4].contains(&status);
        mdev(&mut session, M, "assign_domain", "5").unwrap();
        assert_eq!(apid(&session, M).unwrap() == [5], passable, "{name}");
    }
}

#[test]
fn an_unassign_waits_and_nobody_else_does() {
    let mut session = opened();
    script(&mut session, &HANGS, &HANGS);
    let effects = mdev(&mut session, M, "unassign_adapter", "5").unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    assert_eq!(
        apid(&session, M),
        Some(vec![]),
        "the guest has lost it at once"
    );
    // Other writes and other guests go on, also with the queue itself.
    write(&mut session, "bus/ap/config_time", "60").unwrap();
    mdev(&mut session, N, "assign_domain", "4").unwrap();
    mdev(&mut session, N, "assign_adapter", "6").unwrap();
    open(&mut session, N, "vm2").unwrap();
    assert_eq!(apid(&session, N), Some(vec![6]));
    let effects = mdev(&mut session, N, "assign_adapter", "5").unwrap();
    assert_eq!(effects.outcome, Outcome::Done);
    assert_eq!(
        apid(&session, N),
        Some(vec![6]),
        "not before its reset has ended"
    );
    assert_eq!(guest_matrix(&mut session, N), "06.0004\n");
    pass(&mut session, 60_000);
    assert_eq!(apid(&session, N), Some(vec![6]));
    script(&mut session, &[], &[]);
    let (_, effects) = settle(&mut session);
    let expected = [
        ENDED,
        Effect::ConfigChanged(uuid(N)),
        Effect::Filtered(uuid(N)),
    ];
    assert_eq!(effects, expected);
    assert_eq!(apid(&session, N), Some(vec![5, 6]));
}

#[test]
fn a_close_waits_and_the_device_cannot_be_opened_until_then() {
    let mut session = opened();
    script(&mut session, &[2], &[2; 5]);
    let effects = session.apply(Command::Close(uuid(M))).unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    assert_eq!(apid(&session, M), None, "the masks are gone at once");
    assert_eq!(open(&mut session, M, "vm1").unwrap_err(), Errno::EBUSY);
    let twice = session.apply(Command::Close(uuid(M))).unwrap_err();
    assert_eq!(twice.errno(), Errno::EINVAL);
    // The VM itself is free.
    open(&mut session, N, "vm1").unwrap();
    session.apply(Command::Close(uuid(N))).unwrap();
    let (_, effects) = settle(&mut session);
    assert!(effects.contains(&ENDED));
    assert_eq!(zeroized(&session), 2);
    open(&mut session, M, "vm1").unwrap();
    assert_eq!(apid(&session, M), Some(vec![5]));
}

#[test]
fn a_removal_waits_whoever_had_the_device() {
    // Nobody has it; a guest lets go; a guest has let go, and its queues are being reset.
    for case in ["idle", "open", "closing"] {
        let mut session = opened();
        script(&mut session, &[2], &[2; 5]);
        if case != "open" {
            session.apply(Command::Close(uuid(M))).unwrap();
        }
        if case == "idle" {
            settle(&mut session);
            script(&mut session, &[2], &[2; 5]);
        }
        let effects = mdev(&mut session, M, "remove", "1").unwrap();
        assert_eq!(effects.outcome, Outcome::Pending(uuid(M)), "{case}");
        if case == "open" {
            session.apply(Command::Close(uuid(M))).unwrap();
        }
        assert_eq!(open(&mut session, M, "vm1").unwrap_err(), Errno::EAGAIN);
        assert_eq!(
            mdev(&mut session, M, "remove", "1").unwrap_err(),
            Errno::EAGAIN
        );
        // It keeps its queues until it is gone.
        mdev(&mut session, N, "assign_domain", "4").unwrap();
        let taken = mdev(&mut session, N, "assign_adapter", "5").unwrap_err();
        assert_eq!(taken, Errno::EADDRINUSE, "{case}");
        let (_, effects) = settle(&mut session);
        let gone = effects.iter().position(|e| *e == Effect::Removed(uuid(M)));
        let ended = effects.iter().position(|e| *e == ENDED);
        assert!(ended.unwrap() < gone.unwrap(), "{case}");
        mdev(&mut session, N, "assign_adapter", "5").unwrap();
    }
}

#[test]
fn an_unbind_waits_and_the_next_owner_gets_it_after_the_reset() {
    let mut session = opened();
    script(&mut session, &[2, 2], &[2; 5]);
    let effects = write(
        &mut session,
        &format!("{DRIVERS}/vfio_ap/unbind"),
        "05.0004",
    )
    .unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    assert_eq!(zeroized(&session), 2, "by vfio_ap, then by the bus");
    let effects = write(&mut session, &format!("{DRIVERS}/vfio_ap/bind"), "05.0004").unwrap();
    assert_eq!(effects.outcome, Outcome::Done);
    assert_eq!(
        apid(&session, M),
        Some(vec![]),
        "not before its reset has ended"
    );
    let (_, effects) = settle(&mut session);
    assert!(effects.contains(&ENDED) && effects.contains(&Effect::Filtered(uuid(M))));
    assert_eq!(apid(&session, M), Some(vec![5]));
}

#[test]
fn a_queue_that_the_host_took_is_left_alone() {
    let mut session = opened();
    script(&mut session, &[2, 2, 2], &[2; 3]);
    write(
        &mut session,
        &format!("{DRIVERS}/vfio_ap/unbind"),
        "05.0004",
    )
    .unwrap();
    mdev(&mut session, M, "unassign_adapter", "5").unwrap();
    write(&mut session, "bus/ap/apmask", "+5").unwrap();
    write(&mut session, "bus/ap/drivers_probe", "05.0004").unwrap();
    assert!(session.host.bus().is_host_driven(QUEUE));
    let before = zeroized(&session);
    let (_, effects) = settle(&mut session);
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::ResetEnded { .. }))
    );
    assert_eq!(
        zeroized(&session),
        before,
        "vfio_ap resets what it no longer has"
    );
    let state = session.host.bus().queue(QUEUE).unwrap().state;
    assert_eq!(state, bus::QueueState::Operating);
}

#[test]
fn a_reset_of_the_guest_hides_nothing() {
    let mut session = opened();
    script(&mut session, &HANGS, &HANGS);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    // Filters: without the reset in progress nothing would change.
    let effects = mdev(&mut session, M, "assign_domain", "5").unwrap();
    assert_eq!(effects.list, [Effect::ConfigChanged(uuid(M))]);
    assert_eq!(apid(&session, M), Some(vec![5]), "its own queue, in reset");
    // A reset that fails shows at its end, as if the write had waited for it.
    script(&mut session, &[], &[1]);
    let (_, effects) = settle(&mut session);
    assert!(effects.contains(&Effect::Filtered(uuid(M))));
    assert_eq!(apid(&session, M), Some(vec![]));
}

#[test]
fn queues_that_a_configuration_takes_are_waited_for() {
    let mut session = opened();
    script(&mut session, &[2], &[2]);
    let config = format!("0x02,0x08,0x{}", "0".repeat(64));
    let effects = mdev(&mut session, M, "ap_config", &config).unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    assert_eq!(apid(&session, M), Some(vec![6]));
    settle(&mut session);

    // An adapter that falls out because another of its queues cannot be passed.
    let mut session = opened();
    script(&mut session, &[2], &[2]);
    let unbind = format!("{DRIVERS}/vfio_ap/unbind");
    write(&mut session, &unbind, "05.0005").unwrap();
    let effects = mdev(&mut session, M, "assign_domain", "5").unwrap();
    assert_eq!(waits(&effects), [QUEUE]);
    assert_eq!(apid(&session, M), Some(vec![]));
}

#[test]
fn reset_says_eio_when_any_queue_ended_badly() {
    let mut session = opened();
    mdev(&mut session, M, "assign_adapter", "6").unwrap();
    script(&mut session, &[2], &[2]);
    let sixth = Apqn::new(6, 4);
    session
        .platform
        .hardware
        .force_zapq(sixth, ResponseCode::CHECKSTOPPED);
    let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
    let expected = Outcome::Resetting {
        queues: vec![QUEUE],
        failed: true,
    };
    assert_eq!(effects.outcome, expected);
}

#[test]
fn no_sequence_of_resets_puts_off_the_end_of_another() {
    let mut session = opened();
    script(&mut session, &[2], &[2]);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    let mut ended = false;
    for _ in 0..20 {
        session.platform.hardware.script(QUEUE, &[2], &[]);
        pass(&mut session, 19);
        session.apply(Command::ResetDevice(uuid(M))).unwrap();
        ended |= pass(&mut session, 1).contains(&ENDED);
    }
    script(&mut session, &[], &[]);
    let (waited, _) = settle(&mut session);
    assert!(waited <= Duration::from_millis(40), "{waited:?}, {ended}");
}

#[test]
fn hardware_that_goes_ends_its_reset() {
    let mut session = opened();
    script(&mut session, &HANGS, &[]);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    let without = F0.replace("card 5 12 A; ", "");
    session.platform.hardware.replace(&without).unwrap();
    session.apply(Command::HardwareChanged).unwrap();
    let (waited, effects) = settle(&mut session);
    assert_eq!(waited, Duration::from_millis(20));
    let unfinished = Effect::ResetEnded {
        apqn: QUEUE,
        code: ResponseCode::RESET_IN_PROGRESS,
    };
    assert!(effects.contains(&unfinished), "{effects:?}");
}

#[test]
fn a_reset_that_was_saved_goes_on() {
    let mut session = opened();
    script(&mut session, &HANGS, &HANGS);
    mdev(&mut session, M, "unassign_adapter", "5").unwrap();
    mdev(&mut session, N, "assign_domain", "4").unwrap();
    mdev(&mut session, N, "assign_adapter", "5").unwrap();
    let saved = session.host.save();
    script(&mut session, &[], &[]);
    let config = BootConfig::default();
    let restored = Host::restore(&config, saved.clone(), &mut session.platform).unwrap();
    assert_eq!(restored.save(), saved);
    session.host = restored;
    assert_eq!(
        session.host.matrix().mdev(uuid(M)).unwrap().usage,
        Usage::Idle
    );
    assert_eq!(guest_matrix(&mut session, N), ".0004\n");
    settle(&mut session);
    assert_eq!(guest_matrix(&mut session, N), "05.0004\n");
}
