//! Waking a vCPU that QEMU has halted.
//!
//! Nothing in the plugin interface does that. An empty line of input for a line-mode console does: it
//! raises an external interruption, whose handler ends in an LPSWE, where what is pending is delivered.
//! So the guest has such a console beside its own, which nobody reads, and the plugin holds the other
//! end of its socket. Without it an idle guest notices at its next timer interruption.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Our end of the console's socket.
#[derive(Debug)]
pub(crate) struct Poke(OwnedFd);

/// The number is not that of a socket which this process inherited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("argument 'poke={0}': not an inherited socket")]
pub(crate) struct NoSocket(RawFd);

impl Poke {
    /// Takes the descriptor that the launcher has left open for us.
    pub(crate) fn inherit(number: RawFd) -> Result<Self, NoSocket> {
        if number <= 2 {
            return Err(NoSocket(number));
        }
        // SAFETY: the number comes from QEMU's command line, on which the launcher gives this plugin
        // a descriptor of its own; a wrong one is found out by the system call. Borrowed only here.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let status = rustix::fs::fstat(borrowed).map_err(|_| NoSocket(number))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
            return Err(NoSocket(number));
        }
        fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|_| NoSocket(number))?;
        // SAFETY: it is open, and the launcher gave it to this plugin alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// Interrupts the guest.
    pub(crate) fn wake(&self) {
        // A full socket has lines that the guest has not taken: as good as one more.
        send(&self.0, b"\n", SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok();
    }

    /// Throws away what the guest wrote to the console.
    pub(crate) fn drain(&self) {
        let mut buffer = [0u8; 512];
        while let Ok((1.., _)) = recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {}
    }
}

impl AsFd for Poke {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
