//! Descriptors that make whoever writes to them or closes them wait.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use device::message::Command;
use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyOpen,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::administration::Scene;
use super::vmm::{Ends, Vmm, message, set_irqs, socket};
use crate::instance::A;
use crate::tier::Tier;

const EINVAL: u32 = 22;
/// The last value at which an eventfd is full: a write waits.
pub(super) const FULL: u64 = u64::MAX - 1;

/// A TCP connection whose last close(2) waits for an hour, or until the other end, which is returned
/// too, is closed.
fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
    let address = listener.local_addr().expect("it is bound");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let (other, _) = listener.accept().expect("somebody connected");
    stream.set_nonblocking(true).expect("a socket");
    // Nobody reads, so some of it is never acknowledged.
    let full = loop {
        if let Err(error) = stream.write(&[0; 1 << 16]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a socket");
    let hour = Some(Duration::from_secs(3600));
    rustix::net::sockopt::set_socket_linger(&stream, hour).expect("a socket");
    (stream.into(), other)
}

#[test]
fn a_full_eventfd_is_waited_for_by_nobody() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "full");
    let notification = eventfd(0, EventfdFlags::empty()).expect("there is a descriptor");
    vmm.pass(&set_irqs(1), &[notification.as_fd()]);
    assert_eq!(vmm.receive().expect("it answers").0.error.get(), 0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        // Full nearly always, and blocking whenever it is; so that the daemon finds it empty sometimes.
        scope.spawn(|| {
            let flags = fcntl_getfl(&notification).expect("a descriptor");
            while !stop.load(Ordering::Relaxed) {
                fcntl_setfl(&notification, flags | OFlags::NONBLOCK).expect("a descriptor");
                rustix::io::read(&notification, &mut [0; 8]).ok();
                rustix::io::write(&notification, &FULL.to_ne_bytes()).ok();
                fcntl_setfl(&notification, flags).expect("a descriptor");
            }
        });
        for round in 0..200 {
            let verb = ["assign_domain", "unassign_domain"][round % 2];
            let file = format!("devices/vfio_ap/matrix/{A}/{verb}");
            scene.instance.set(&file, "5");
            assert_eq!(vmm.errno(&message(Command::DeviceReset, &[])), 0);
        }
        scene.goes_on("an eventfd that is full");
        drop(ends);
    });
    drop((vmm, notification));
    scene.remove();
}

#[test]
fn a_lingering_connection_holds_up_its_own_session_only() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let (connection, other) = lingering();
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "lingers");
    // While the daemon stands still ours cannot be the last one; the session's is: refusing it takes until
    // the other end is closed.
    scene.instance.freeze();
    vmm.pass(&set_irqs(1), &[connection.as_fd()]);
    drop(connection);
    scene.instance.thaw();
    scene.goes_on("a descriptor whose close waits");
    drop(other);
    assert_eq!(vmm.receive().expect("it answers").0.error.get(), EINVAL);
    // In a message that never ends: the device is free when its guest is gone, whatever else is not.
    let (connection, other) = lingering();
    let half = &set_irqs(1)[..9];
    assert_eq!(vmm.pass(half, &[connection.as_fd()]), Some(half.len()));
    drop(connection);
    drop(vmm);
    scene.remove();
    scene.goes_on("a guest that is gone with such a descriptor under way");
    drop(other);
}

#[test]
fn a_lingering_connection_in_the_backlog_holds_up_nobody() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    // As many as are served at a time, all silent; then those that wait to be accepted or refused.
    let silent: Vec<Vmm> = (0..8).map(|_| Vmm::connect(&socket)).collect();
    let mut others = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (connection, other) = lingering();
        let vmm = Vmm::connect(&socket);
        vmm.pass(&set_irqs(1), &[connection.as_fd()]);
        waiting.push(vmm);
        others.push(other);
    }
    scene.goes_on("a backlog with descriptors whose close waits");
    // Control itself takes the socket away, with all that wait there.
    scene.remove();
    scene.goes_on("a device removed with such a backlog");
    drop((silent, waiting, others));
}

/// A file system with one file; closing that takes until [`Stalled::let_go`].
#[derive(Clone, Debug, Default)]
struct Stalled(Arc<Mutex<Vec<ReplyEmpty>>>, Arc<AtomicBool>);

const FILE: INodeNo = INodeNo(2);

impl Stalled {
    fn let_go(&self) {
        self.1.store(true, Ordering::Release);
        for reply in self.0.lock().expect("nobody panics with it").drain(..) {
            reply.ok();
        }
    }

    fn attributes(ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: 0o777,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Stalled {
    fn lookup(&self, _: &fuser::Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        let attributes = Self::attributes(FILE);
        reply.entry(&Duration::from_secs(60), &attributes, Generation(0));
    }

    fn getattr(&self, _: &fuser::Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::from_secs(60), &Self::attributes(ino));
    }

    fn open(&self, _: &fuser::Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(1), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn flush(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        if self.1.load(Ordering::Acquire) {
            reply.ok();
        } else {
            self.0.lock().expect("nobody panics with it").push(reply);
        }
    }
}

#[test]
fn a_file_that_cannot_be_closed_holds_up_its_own_session_only() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let target = scene.instance.dir().join("stalled");
    std::fs::create_dir(&target).expect("the temporary directory is writable");
    let stalled = Stalled::default();
    let mounted = fuser::Session::new(stalled.clone(), &target, &fuser::Config::default())
        .and_then(fuser::Session::spawn)
        .expect("the tier has FUSE");
    let file = File::open(target.join("anon_inode:[eventfd]")).expect("every name is there");
    let mut vmm = Vmm::open(&socket(&scene.instance, A), "stalls");
    vmm.pass(&set_irqs(1), &[file.as_fd()]);
    scene.goes_on("a file whose server does not answer");
    let closing = stalled.0.lock().expect("nobody panics with it").len();
    assert_eq!(closing, 1, "the session is in close(2)");
    stalled.let_go();
    assert_eq!(vmm.receive().expect("it answers").0.error.get(), EINVAL);
    drop(file);
    mounted.umount_and_join().expect("nobody uses it");
}
