//! What the host tells the guest without being asked: a thread that waits for it.
//!
//! ```text
//!   daemon -- CFG_CHG eventfd --> [this thread] --> Pending: a machine check for any vCPU, and a poke
//!          -- REQ eventfd ------>               --> the device is given back, its queues are gone
//! ```

use std::os::fd::{AsFd, OwnedFd};

use device::{Client, ClientError, IrqIndex};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::plugin::Plugin;
use crate::poke::Poke;
use crate::report::Report;
use crate::say::say;

/// What the thread waits for.
#[derive(Debug)]
pub(crate) struct Events {
    config_changed: OwnedFd,
    request: OwnedFd,
    poke: Option<Poke>,
}

impl Events {
    /// Registers the eventfds with the daemon; the client registers them again whenever it restores
    /// its connection.
    ///
    /// # Errors
    /// When there are no descriptors left or the daemon refuses.
    pub(crate) fn register(client: &mut Client, poke: Option<Poke>) -> Result<Self, ClientError> {
        let mut register = |index| {
            let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
                .map_err(|error| ClientError::Io(error.into()))?;
            let theirs = event.try_clone().map_err(ClientError::Io)?;
            client.set_irq(index, Some(theirs))?;
            Ok::<_, ClientError>(event)
        };
        Ok(Self {
            config_changed: register(IrqIndex::ConfigChanged)?,
            request: register(IrqIndex::Request)?,
            poke,
        })
    }

    /// Starts the thread. Call it when vCPUs exist: before, QEMU may still become a daemon, and a
    /// thread would not survive that.
    pub(crate) fn start(&'static self, plugin: &'static Plugin) {
        let thread = std::thread::Builder::new().name("apmatrix".to_owned());
        if let Err(error) = thread.spawn(move || self.run(plugin)) {
            say(format_args!(
                "no thread for the host's events ({error}): hot plug waits for the guest's own scan"
            ));
        }
    }

    fn run(&self, plugin: &Plugin) {
        let console = self.poke.as_ref().map(AsFd::as_fd);
        loop {
            let mut fds = vec![
                PollFd::new(&self.config_changed, PollFlags::IN),
                PollFd::new(&self.request, PollFlags::IN),
            ];
            fds.extend(console.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            // An error is a signal of QEMU's that this thread got: nothing was read, look again.
            if poll(&mut fds, None).is_err() {
                continue;
            }
            if take(&self.config_changed) {
                plugin.pending().change(Report::change);
                self.poke.as_ref().inspect(|poke| poke.wake());
            }
            if take(&self.request) {
                plugin.release();
            }
            self.poke.as_ref().inspect(|poke| poke.drain());
        }
    }
}

/// Whether the eventfd was signalled since the last call.
fn take(event: &OwnedFd) -> bool {
    rustix::io::read(event, &mut [0u8; 8]).is_ok()
}
