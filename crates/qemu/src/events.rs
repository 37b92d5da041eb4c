//! What the host tells the guest without being asked: a thread that waits for it.
//!
//! ```text
//!   daemon -- CFG_CHG eventfd --> [this thread] --> Pending: a machine check for any vCPU, and a poke
//!          -- alert eventfd ---->               --> Pending: an adapter interruption, likewise
//!          -- REQ eventfd ------>               --> the device is given back, its queues are gone
//! ```

use std::os::fd::{AsFd, OwnedFd};

use arch::Facilities;
use device::{Client, ClientError, IrqIndex};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::plugin::Plugin;
use crate::poke::Poke;
use crate::say::say;

/// What the thread waits for.
#[derive(Debug)]
pub(crate) struct Events {
    config_changed: OwnedFd,
    request: OwnedFd,
    /// None for guests without adapter interruptions.
    alert: Option<OwnedFd>,
    poke: Option<Poke>,
}

impl Events {
    /// Registers the eventfds with the daemon; the client registers them again whenever it restores
    /// its connection.
    ///
    /// # Errors
    /// When there are no descriptors left or the daemon refuses.
    pub(crate) fn register(client: &mut Client, poke: Option<Poke>) -> Result<Self, ClientError> {
        let (config_changed, theirs) = pair()?;
        client.set_irq(IrqIndex::ConfigChanged, Some(theirs))?;
        let (request, theirs) = pair()?;
        client.set_irq(IrqIndex::Request, Some(theirs))?;
        let mut alert = None;
        if client.grant().facilities.contains(Facilities::APQI) {
            let (ours, theirs) = pair()?;
            client.set_alert(theirs)?;
            alert = Some(ours);
        }
        Ok(Self {
            config_changed,
            request,
            alert,
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

    /// Has an idle guest look at what is pending.
    pub(crate) fn wake(&self) {
        self.poke.as_ref().inspect(|poke| poke.wake());
    }

    fn run(&self, plugin: &Plugin) {
        let console = self.poke.as_ref().map(AsFd::as_fd);
        loop {
            let mut fds = vec![
                PollFd::new(&self.config_changed, PollFlags::IN),
                PollFd::new(&self.request, PollFlags::IN),
            ];
            fds.extend(self.alert.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(console.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            // An error is a signal of QEMU's that this thread got: nothing was read, look again.
            if poll(&mut fds, None).is_err() {
                continue;
            }
            if take(&self.config_changed) {
                plugin.pending().change(|state| state.report.change());
                self.wake();
            }
            if self.alert.as_ref().is_some_and(take) && plugin.fetch_alerts() {
                self.wake();
            }
            if take(&self.request) {
                plugin.release();
            }
            self.poke.as_ref().inspect(|poke| poke.drain());
        }
    }
}

/// An eventfd for us and one for the daemon.
fn pair() -> Result<(OwnedFd, OwnedFd), ClientError> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
        .map_err(|error| ClientError::Io(error.into()))?;
    let theirs = event.try_clone().map_err(ClientError::Io)?;
    Ok((event, theirs))
}

/// Whether the eventfd was signalled since the last call.
fn take(event: &OwnedFd) -> bool {
    rustix::io::read(event, &mut [0u8; 8]).is_ok()
}
