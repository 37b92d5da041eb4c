//! Signalling an eventfd that belongs to a peer, who may do everything to make it hard.
//!
//! write(2) to an eventfd waits while its counter is full, and the peer can fill it between any check
//! and the write. Making the descriptor non-blocking would not help: that is a property of the open
//! file, which the peer shares and can change back, and whose own reads it would change. The kernel
//! itself never waits when *it* signals an eventfd: it lets the counter stay at its limit. It does so at
//! the end of an asynchronous I/O request that names one, so we read nothing from /dev/null.
//!
//! A system without asynchronous I/O gets a check and the write, by the session thread alone: who waits
//! then is the peer's own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::socket::poll_until;

/// Whether `descriptor` is an eventfd. The kernel has no call that says so; the name of the
/// anonymous inode behind it does.
fn is_eventfd(descriptor: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|target| target.as_os_str() == "anon_inode:[eventfd]")
}

/// An eventfd that belongs to a peer, for threads that must not wait for it. Clones are the same one; closing
/// an eventfd never waits, so any of them may be the last.
#[derive(Clone, Debug)]
pub struct PeerEventfd(Arc<OwnedFd>);

impl PeerEventfd {
    /// `None` if `descriptor` is no eventfd.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Option<Self> {
        is_eventfd(&descriptor).then(|| Self(Arc::new(descriptor)))
    }

    /// Adds 1 to its counter, at most up to the limit. False, and nothing done, where only a call that may
    /// wait could do it: then it is for a thread that serves nobody but this peer.
    #[must_use]
    pub fn signal_at_once(&self) -> bool {
        Requests::shared().is_some_and(|requests| requests.signal(&self.0).is_ok())
    }

    /// The same, by a call that may wait for the peer.
    pub(crate) fn signal(&self) {
        signal_eventfd(&self.0);
    }
}

/// Adds 1 to the counter of an eventfd that belongs to a peer, unless the peer has filled it: it then is
/// readable anyway. Waits for the peer only where there is no asynchronous I/O.
pub(crate) fn signal_eventfd(eventfd: &OwnedFd) {
    let requests = Requests::shared();
    let signalled = requests.map(|requests| requests.signal(eventfd));
    if !matches!(signalled, Some(Ok(()))) && has_room(eventfd) {
        // A failure means a descriptor that the peer broke: its loss.
        let _written = rustix::io::write(eventfd.as_fd(), &1u64.to_ne_bytes());
    }
}

/// Whether the counter is not full, now.
fn has_room(eventfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(eventfd, PollFlags::OUT)];
    poll_until(&mut fds, Some(Instant::now())).is_ok()
}

/// A context of the kernel's asynchronous I/O, for requests that end at once. Threads share it.
#[derive(Debug)]
struct Requests {
    context: libc::c_ulong,
    /// What requests read from.
    null: File,
}

/// Requests whose results nobody has taken; each ends within its submission.
const ROOM: u8 = 64;
/// How often results are taken for one signal: other threads may fill the room at once, and a system that
/// has no memory left says the same.
const TRIES: u32 = 8;

/// The kernel's `struct iocb`. Its second word is two halves whose order depends on the byte order;
/// both are zero here.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key_and_rw_flags: u64,
    opcode: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    result_descriptor: u32,
}

/// The kernel's `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event([u64; 4]);

/// Read at an offset.
const PREAD: u16 = 0;
/// Signal `result_descriptor` when the request has ended.
const RESULT_DESCRIPTOR: u32 = 1;

impl Requests {
    /// Those of this process, if the system has any.
    fn shared() -> Option<&'static Self> {
        static REQUESTS: OnceLock<Option<Requests>> = OnceLock::new();
        REQUESTS.get_or_init(|| Self::new().ok()).as_ref()
    }

    fn new() -> io::Result<Self> {
        let null = File::open("/dev/null")?;
        let mut context: libc::c_ulong = 0;
        let place: *mut libc::c_ulong = &raw mut context;
        // SAFETY: the kernel writes one `unsigned long` to `place`, which is valid for the call.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, libc::c_long::from(ROOM), place) };
        check(made)?;
        Ok(Self { context, null })
    }

    /// Signals `eventfd`. Results are left until there is no room for another: that is one call instead of
    /// two.
    fn signal(&self, eventfd: &OwnedFd) -> io::Result<()> {
        let mut submitted = self.submit(eventfd);
        for _ in 0..TRIES {
            match &submitted {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => self.take_results(),
                _ => break,
            }
            submitted = self.submit(eventfd);
        }
        submitted
    }

    /// Submits a request that ends at once and signals `eventfd`.
    fn submit(&self, eventfd: &OwnedFd) -> io::Result<()> {
        let number = |fd: RawFd| u32::try_from(fd).map_err(io::Error::other);
        let mut request = Iocb {
            opcode: PREAD,
            descriptor: number(self.null.as_raw_fd())?,
            flags: RESULT_DESCRIPTOR,
            result_descriptor: number(eventfd.as_raw_fd())?,
            ..Iocb::default()
        };
        let one: libc::c_long = 1;
        let mut list = [&raw mut request];
        // SAFETY: `list` has one pointer, to a request that outlives the call; the request has no buffer.
        // It has ended when the call returns, because reading /dev/null does not wait.
        let submitted =
            unsafe { libc::syscall(libc::SYS_io_submit, self.context, one, list.as_mut_ptr()) };
        check(submitted).map(drop)
    }

    /// Makes room for further requests. Whose results these are does not matter.
    fn take_results(&self) {
        let mut results = [Event::default(); ROOM as usize];
        let (least, most) = (libc::c_long::from(0u8), libc::c_long::from(ROOM));
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `results` has room for the events that are asked for at most, and `at_once` is
        // read during the call alone.
        let _taken = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                least,
                most,
                results.as_mut_ptr(),
                &raw const at_once,
            )
        };
    }
}

fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // SAFETY: the context is ours and nobody uses it any more.
        let _destroyed = unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::EventfdFlags;

    fn eventfd() -> OwnedFd {
        rustix::event::eventfd(0, EventfdFlags::empty()).unwrap()
    }

    fn take(eventfd: &OwnedFd) -> u64 {
        let mut counter = [0; 8];
        rustix::io::read(eventfd, &mut counter).unwrap();
        u64::from_ne_bytes(counter)
    }

    #[test]
    fn each_signal_counts_once() {
        let requests = Requests::new().expect("this kernel has asynchronous I/O");
        let eventfd = eventfd();
        for _ in 0..1000 {
            requests.signal(&eventfd).unwrap();
        }
        assert_eq!(take(&eventfd), 1000);
        signal_eventfd(&eventfd);
        assert_eq!(take(&eventfd), 1);
    }

    /// A write(2) would wait for ever here: the descriptor is a blocking one.
    #[test]
    fn a_full_counter_is_not_waited_for() {
        let requests = Requests::new().expect("this kernel has asynchronous I/O");
        let eventfd = eventfd();
        rustix::io::write(&eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        for _ in 0..3 {
            requests.signal(&eventfd).unwrap();
        }
        assert_eq!(take(&eventfd), u64::MAX);
        rustix::io::write(&eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        signal_eventfd(&eventfd);
        assert_eq!(take(&eventfd), u64::MAX);
    }

    #[test]
    fn other_descriptors_are_refused() {
        let requests = Requests::new().expect("this kernel has asynchronous I/O");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert!(requests.signal(&writer).is_err());
        assert!(PeerEventfd::new(eventfd()).is_some());
        assert!(PeerEventfd::new(writer).is_none());
        assert_eq!(rustix::io::read(&reader, &mut [0; 8]).unwrap(), 0);
    }
}
