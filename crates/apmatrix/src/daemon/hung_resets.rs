//! Resets that hang, in a whole daemon without a mounted tree: who waits, and that nobody else does.

use std::ops::Deref;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, CrycbFormat, Errno, Facilities, ResponseCode};
use device::{Client, ClientError, ClientOptions, OpenRequest};
use machine::{Lasts, SlowReset};
use sysfs::Tree;

use super::{Daemon, Machinery, Options, Persistence, TemporaryDaemon};
use crate::rundir::RunDir;

const A: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const B: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
const TYPE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough";
/// A's queue, which hangs.
const QUEUE: Apqn = Apqn::new(5, 4);
/// Generous: what is waited for comes by itself.
const LONG: Duration = Duration::from_secs(20);

struct Fixture<D = TemporaryDaemon>(D);

/// A has 05.0004, B has 06.0004.
fn fixture() -> Fixture {
    let machinery = Machinery::load(None).unwrap();
    prepared(TemporaryDaemon::start(machinery, false).unwrap())
}

fn prepared<D: Deref<Target = Daemon>>(daemon: D) -> Fixture<D> {
    let fixture = Fixture(daemon);
    fixture.set("bus/ap/apmask", "-5,-6");
    for (mdev, adapter) in [(A, "5"), (B, "6")] {
        fixture.set(&format!("{TYPE}/create"), mdev);
        fixture.set(&file(mdev, "assign_adapter"), adapter);
        fixture.set(&file(mdev, "assign_domain"), "4");
    }
    fixture
}

fn file(mdev: &str, name: &str) -> String {
    format!("devices/vfio_ap/matrix/{mdev}/{name}")
}

fn is_waiting<T>(answer: &Receiver<T>) -> bool {
    matches!(answer.try_recv(), Err(TryRecvError::Empty))
}

impl<D: Deref<Target = Daemon>> Fixture<D> {
    fn set(&self, path: &str, text: &str) {
        let desk = self.0.desk();
        desk.store_and_wait(path, text.as_bytes()).unwrap();
    }

    /// Writes without waiting.
    fn begin(&self, path: &str, text: &str) -> Receiver<Result<(), Errno>> {
        let desk = self.0.desk();
        let node = Tree::new(&desk.snapshot()).resolve(path, true).unwrap();
        let (sender, receiver) = channel();
        desk.store(node, text.as_bytes(), None, move |result| {
            sender.send(result).unwrap();
        });
        receiver
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8(self.0.desk().show(path).unwrap()).unwrap()
    }

    fn open(&self, mdev: &str) -> Result<Client, ClientError> {
        let request = OpenRequest {
            vm: format!("vm-{mdev}").parse().unwrap(),
            crycb_format: CrycbFormat::Format2,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let options = ClientOptions {
            reset: LONG,
            ..ClientOptions::default()
        };
        Client::connect(&self.0.run_directory().mdev_socket(mdev), request, options)
    }

    fn hang(&self) {
        let hang = SlowReset {
            code: ResponseCode::RESET_IN_PROGRESS,
            lasts: Lasts::UntilEnded,
            resets: 1,
        };
        self.0
            .desk()
            .machine
            .slow_resets(QUEUE, Some(hang))
            .unwrap();
    }

    fn end(&self) {
        assert!(self.0.desk().machine.end_reset(QUEUE), "nothing hung");
    }

    /// Everybody else: B's guest, writes to every kind of attribute, reads, the console.
    fn others_go_on(&self, guest: &mut Client) {
        let start = Instant::now();
        for round in 0..100 {
            self.set("bus/ap/config_time", "60");
            self.set(&file(B, "assign_domain"), "5");
            assert_eq!(self.read(&file(B, "guest_matrix")), "06.0004\n06.0005\n");
            let (status, _) = guest.tapq(Apqn::new(6, 5), true);
            assert_eq!(status.code, ResponseCode::NORMAL, "round {round}");
            self.set(&file(B, "unassign_domain"), "5");
            self.set("bus/ap/scans", "1");
            guest.reset().unwrap();
            self.read(&file(A, "matrix"));
        }
        assert!(start.elapsed() < LONG, "they waited: {:?}", start.elapsed());
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_unassign_waits_for_its_reset_and_nobody_else_does() {
    let fixture = fixture();
    let (mut guest, mut other) = (fixture.open(A).unwrap(), fixture.open(B).unwrap());
    fixture.hang();
    let written = fixture.begin(&file(A, "unassign_adapter"), "5");
    eventually("the guest keeps its queue", || {
        guest.tapq(QUEUE, true).0.code == ResponseCode::NOT_AVAILABLE
    });
    fixture.others_go_on(&mut other);
    assert!(is_waiting(&written));
    fixture.end();
    assert_eq!(written.recv_timeout(LONG), Ok(Ok(())));
}

#[test]
fn a_device_whose_close_waits_is_busy_and_then_free() {
    let fixture = fixture();
    let mut other = fixture.open(B).unwrap();
    let guest = fixture.open(A).unwrap();
    fixture.hang();
    drop(guest);
    eventually("the close is not noticed", || {
        fixture.read("devices/ap/card05/05.0004/status") == "assigned\n"
    });
    fixture.others_go_on(&mut other);
    let refused = fixture.open(A).unwrap_err();
    assert!(
        matches!(refused, ClientError::Refused(Errno::EBUSY)),
        "{refused}"
    );
    fixture.end();
    eventually("it stays busy", || fixture.open(A).is_ok());
}

#[test]
fn a_removal_waits_for_the_reset_of_a_device_that_nobody_has() {
    let fixture = fixture();
    let mut other = fixture.open(B).unwrap();
    fixture.hang();
    let removed = fixture.begin(&file(A, "remove"), "1");
    fixture.others_go_on(&mut other);
    assert!(is_waiting(&removed));
    fixture.end();
    assert_eq!(removed.recv_timeout(LONG), Ok(Ok(())));
    assert!(fixture.0.desk().show(&file(A, "matrix")).is_err());
}

#[test]
fn reset_is_answered_when_the_queue_is_settled() {
    let fixture = fixture();
    let (mut guest, mut other) = (fixture.open(A).unwrap(), fixture.open(B).unwrap());
    fixture.hang();
    thread::scope(|scope| {
        let reset = scope.spawn(|| guest.reset());
        fixture.others_go_on(&mut other);
        assert!(!reset.is_finished());
        fixture.end();
        reset.join().unwrap().unwrap();
    });
    fixture.set("devices/ap/card05/config", "0");
    let refused = guest.reset().unwrap_err();
    assert!(
        matches!(refused, ClientError::Refused(Errno::EIO)),
        "{refused}"
    );
}

#[test]
fn an_unbind_waits_and_the_queue_comes_back_after_its_reset() {
    let fixture = fixture();
    let mut guest = fixture.open(A).unwrap();
    fixture.hang();
    let unbound = fixture.begin("bus/ap/drivers/vfio_ap/unbind", "05.0004");
    fixture.set("bus/ap/config_time", "60");
    assert!(is_waiting(&unbound));
    fixture.set("bus/ap/drivers/vfio_ap/bind", "05.0004");
    assert_eq!(fixture.read(&file(A, "guest_matrix")), ".0004\n");
    fixture.end();
    assert_eq!(unbound.recv_timeout(LONG), Ok(Ok(())));
    eventually("the guest does not get it back", || {
        guest.tapq(QUEUE, true).0.code == ResponseCode::NORMAL
    });
}

#[test]
fn a_daemon_that_ends_keeps_nobody_waiting() {
    let fixture = fixture();
    let mut guest = fixture.open(A).unwrap();
    fixture.hang();
    let written = fixture.begin(&file(A, "unassign_adapter"), "5");
    fixture.set(&file(A, "assign_adapter"), "5");
    thread::scope(|scope| {
        let reset = scope.spawn(|| guest.reset());
        fixture.set("bus/ap/config_time", "60");
        drop(fixture);
        assert_eq!(written.recv_timeout(LONG), Ok(Ok(())), "it is done");
        assert!(reset.join().unwrap().is_err(), "it is not");
    });
}

/// A daemon that keeps its state in `dir`.
fn kept(dir: &Path) -> Box<Daemon> {
    let options = Options {
        run_dir: RunDir::choose(Some(&dir.join("run"))).unwrap(),
        state_dir: dir.join("state"),
        persistence: Persistence::Kept {
            machine: None,
            fresh: false,
        },
        mounts: false,
        own_namespace: false,
    };
    Box::new(Daemon::start(&options).unwrap())
}

/// What a daemon leaves that is killed while writes wait: an unassignment is done, a removal is not.
#[test]
fn what_waits_is_kept_when_everybody_sees_it() {
    let name = format!("apmatrix-kept-resets-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let (first, second) = (dir.join("1"), dir.join("2"));
    for dir in [&first, &second] {
        std::fs::create_dir_all(dir.join("state")).unwrap();
    }
    let fixture = prepared(kept(&first));
    let state = |dir: &Path| dir.join("state/journal");
    let killed = |fixture: &Fixture<Box<Daemon>>, path: &str| {
        // The journal as a kill would leave it now.
        fixture.set("bus/ap/config_time", "60");
        std::fs::copy(state(&first), state(&second)).unwrap();
        let restarted = Fixture(kept(&second));
        let text = restarted.read(path);
        restarted.0.stop();
        text
    };
    fixture.hang();
    let removed = fixture.begin(&file(A, "remove"), "1");
    assert_eq!(killed(&fixture, &file(A, "matrix")), "05.0004\n");
    assert!(is_waiting(&removed));
    fixture.end();
    assert_eq!(removed.recv_timeout(LONG), Ok(Ok(())));

    fixture.set(&file(B, "assign_adapter"), "5");
    fixture.hang();
    let written = fixture.begin(&file(B, "unassign_adapter"), "5");
    assert_eq!(killed(&fixture, &file(B, "matrix")), "06.0004\n");
    assert!(is_waiting(&written));
    fixture.end();
    assert_eq!(written.recv_timeout(LONG), Ok(Ok(())));
    fixture.0.stop();
    std::fs::remove_dir_all(&dir).unwrap();
}
