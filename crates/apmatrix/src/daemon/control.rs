//! The control thread: the one owner of the host.
//!
//! ```text
//!   event --> apply to a clone of the host --+-- Err: clone dropped, reason kept, errno answered
//!                                            |
//!                                            +-- Ok:  journal --> publish the clone --> effects --> answer
//!                                                                                |
//!                              removal of a device in use: answered when the ----+
//!                              guest has let go (asked again every ten seconds)
//! ```
//!
//! Control never waits: every event carries its answer as a function, and what takes time is a state of
//! the host plus a timer here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arch::{Apid, Errno};
use machine::GuestId;
use matrix::{BootConfig, Command, Effect, Group, Host, MdevUuid, Outcome, VmId};

use super::commit::Keep;
use super::link::SessionLink;
use super::listeners::{Listeners, Paths};
use super::platform::MachinePlatform;
use super::refusals::Asker;
use super::resets::{Report, Waits};
use super::{Desk, faults, hmc};
use crate::control::{Request, Response};
use crate::rundir::RunDir;
use crate::state::{Image, Journal};

/// What is called with the result of an event, exactly once.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// A guest that does not let go of a device is asked again after this time (spec 5.6).
const RELEASE_INTERVAL: Duration = Duration::from_secs(10);

/// Something that control is told or asked.
pub(crate) enum Event {
    /// A write to an attribute, parsed.
    Apply {
        /// What it asks for.
        command: Command,
        /// The attribute, for the log.
        path: String,
        /// What was written, for the log.
        text: Vec<u8>,
        /// Who wrote it, for the log.
        asker: Option<Asker>,
        /// Answers write(2).
        answer: Answer,
    },
    /// A VMM opens a mediated device.
    Open {
        /// The device.
        mdev: MdevUuid,
        /// The VM.
        vm: VmId,
        /// The machine's number for the guest, attached already.
        guest: GuestId,
        /// How its session is reached.
        link: Arc<SessionLink>,
        /// Answers the VMM.
        answer: Answer,
    },
    /// A session ended.
    Close {
        /// Its device.
        mdev: MdevUuid,
        /// Its guest: the device may have another by now.
        guest: GuestId,
        /// Tells the session thread that the device can be opened again.
        answer: Answer,
    },
    /// The RESET request of a device.
    Reset {
        /// The device.
        mdev: MdevUuid,
        /// The guest that asks.
        guest: GuestId,
        /// Answers the VMM: EIO when a queue did not end well.
        answer: Answer,
    },
    /// The hardware console.
    Console {
        /// What it asks.
        request: Request,
        /// Answers it.
        answer: Box<dyn FnOnce(Response) + Send>,
    },
    /// A card model failed.
    Broken(Apid),
    /// The daemon ends.
    Stop,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Apply { .. } => "Apply",
            Self::Open { .. } => "Open",
            Self::Close { .. } => "Close",
            Self::Reset { .. } => "Reset",
            Self::Console { .. } => "Console",
            Self::Broken(_) => "Broken",
            Self::Stop => "Stop",
        })
    }
}

impl Event {
    /// Answers an event that nobody will handle.
    pub(super) fn refuse(self, errno: Errno) {
        match self {
            Self::Apply { answer, .. }
            | Self::Open { answer, .. }
            | Self::Close { answer, .. }
            | Self::Reset { answer, .. } => answer(Err(errno)),
            Self::Console { answer, .. } => {
                answer(Response::Refused("the daemon is ending".to_owned()));
            }
            Self::Broken(_) | Self::Stop => {}
        }
    }
}

/// Where the sockets of mediated devices come and go.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Who listens.
    pub(crate) listeners: Arc<Listeners>,
    /// Where the sockets are.
    pub(crate) run_dir: RunDir,
}

impl Sockets {
    /// Listens for a device of this IOMMU group. Without its socket a device can be administered but
    /// not opened.
    pub(super) fn add(&self, mdev: MdevUuid, group: Group) {
        let paths = Paths {
            socket: self.run_dir.mdev_socket(&mdev.to_string()),
            group: self.run_dir.vfio().join(group.to_string()),
        };
        if let Err(error) = self.listeners.add(mdev, paths) {
            tracing::error!(%mdev, "the device cannot be opened: {error:#}");
        }
    }
}

/// A removal that waits for its guest.
pub(super) struct Removal {
    pub(super) answer: Answer,
    ask_again: Instant,
}

/// The owner of the host.
pub(crate) struct Control {
    pub(super) host: Host,
    pub(super) platform: MachinePlatform,
    /// What the host boots with.
    pub(super) boot: BootConfig,
    pub(super) desk: Desk,
    pub(super) sockets: Sockets,
    /// None: nothing is kept.
    pub(super) journal: Option<Journal>,
    pub(super) links: BTreeMap<MdevUuid, Arc<SessionLink>>,
    pub(super) removals: BTreeMap<MdevUuid, Removal>,
    pub(super) waits: Waits,
    /// Until when the host has been told the time.
    pub(super) clock: Instant,
    pub(super) next_scan: Instant,
}

/// A host and what it stands on.
#[derive(Debug)]
pub(crate) struct Started {
    /// The host.
    pub(crate) host: Host,
    /// What is below it.
    pub(crate) platform: MachinePlatform,
    /// What it boots with.
    pub(crate) boot: BootConfig,
    /// Where it is kept, if it is.
    pub(crate) journal: Option<Journal>,
}

impl Control {
    /// The owner of a host that is published already.
    pub(crate) fn new(started: Started, desk: Desk, sockets: Sockets) -> Self {
        let next_scan = Instant::now() + scan_interval(&started.host);
        let (links, removals, waits) = Default::default();
        Self {
            host: started.host,
            platform: started.platform,
            boot: started.boot,
            journal: started.journal,
            desk,
            sockets,
            links,
            removals,
            waits,
            clock: Instant::now(),
            next_scan,
        }
    }

    /// Handles events until the daemon ends.
    pub(crate) fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let timers = self.removals.values().map(|removal| removal.ask_again);
            let next = timers
                .chain(self.next_look())
                .chain([self.next_scan])
                .min()
                .unwrap_or(self.next_scan);
            match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => self.run_timers(),
            }
        }
        for link in self.links.values() {
            link.close();
        }
        for (_, removal) in self.removals {
            (removal.answer)(Err(Errno::ENODEV));
        }
        self.waits.give_up();
        while let Ok(event) = inbox.try_recv() {
            event.refuse(Errno::ENODEV);
        }
        if let Some(journal) = self.journal {
            journal.finish(&Image {
                spec: self.desk.machine.config().to_string(),
                host: self.host.clone(),
            });
        }
    }

    fn handle(&mut self, event: Event) {
        self.let_time_pass();
        match event {
            Event::Apply {
                command,
                path,
                text,
                asker,
                answer,
            } => match self.apply(&command) {
                Ok(Outcome::Pending(mdev)) => {
                    let ask_again = Instant::now() + RELEASE_INTERVAL;
                    self.removals.insert(mdev, Removal { answer, ask_again });
                }
                Ok(outcome) => self.answer_after_resets(outcome, Report::Done, answer),
                Err(error) => {
                    let errno = error.errno();
                    self.desk
                        .refusals
                        .record((&path, &text), asker, errno, error.to_string());
                    answer(Err(errno));
                }
            },
            Event::Open {
                mdev,
                vm,
                guest,
                link,
                answer,
            } => {
                answer(self.open(mdev, vm, guest, link));
            }
            Event::Close {
                mdev,
                guest,
                answer,
            } => self.close(mdev, guest, answer),
            Event::Reset {
                mdev,
                guest,
                answer,
            } => self.reset(mdev, guest, answer),
            Event::Console { request, answer } => answer(self.console(&request)),
            Event::Broken(apid) => {
                if let Err(error) = self.desk.machine.checkstop(apid) {
                    tracing::warn!("cannot check-stop adapter {apid}: {error}");
                }
                if let Err(error) = self.commit(&Command::HardwareChanged, Keep::Fact) {
                    tracing::warn!("{error}");
                }
            }
            Event::Stop => {}
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::ConfigChanged(mdev) => {
                self.links.get(&mdev).inspect(|link| link.config_changed());
            }
            Effect::ReleaseRequest(mdev) => {
                self.links.get(&mdev).inspect(|link| link.request());
            }
            Effect::Created(mdev) => {
                if let Some(found) = self.host.matrix().mdev(mdev) {
                    self.sockets.add(mdev, found.group);
                }
            }
            Effect::Removed(mdev) => {
                self.sockets.listeners.remove(mdev);
                if let Some(removal) = self.removals.remove(&mdev) {
                    (removal.answer)(Ok(()));
                }
            }
            Effect::ResetEnded { apqn, code } => self.waits.ended(apqn, code),
            // Kept already.
            Effect::Filtered(_) => {}
            Effect::Uevent(event) => tracing::debug!("uevent: {event:?}"),
            Effect::Log(line) => tracing::warn!("{line}"),
        }
    }

    fn open(
        &mut self,
        mdev: MdevUuid,
        vm: VmId,
        guest: GuestId,
        link: Arc<SessionLink>,
    ) -> Result<(), Errno> {
        let refusals = Arc::clone(&self.desk.refusals);
        let refuse = |errno: Errno, reason: String| {
            refusals.record(("open", mdev.to_string().as_bytes()), None, errno, reason);
            Err(errno)
        };
        if self.links.contains_key(&mdev) {
            return refuse(
                Errno::EBUSY,
                format!("{mdev} is open already; refused {vm}"),
            );
        }
        self.platform.connect(mdev, guest);
        self.links.insert(mdev, link);
        // Guests are not kept, so this needs no journal.
        let open = Command::Open { mdev, vm: Some(vm) };
        if let Err(error) = self.commit(&open, Keep::Command) {
            self.platform.disconnect(mdev);
            self.links.remove(&mdev);
            return refuse(error.errno(), error.to_string());
        }
        Ok(())
    }

    fn close(&mut self, mdev: MdevUuid, guest: GuestId, answer: Answer) {
        if self.platform.guest_of(mdev) != Some(guest) {
            return answer(Err(Errno::ENODEV));
        }
        self.links.remove(&mdev);
        let closed = self.commit_fact(&Command::Close(mdev));
        self.platform.disconnect(mdev);
        match closed {
            Ok(outcome) => self.answer_after_resets(outcome, Report::Done, answer),
            Err(error) => answer(Err(error.errno())),
        }
    }

    fn reset(&mut self, mdev: MdevUuid, guest: GuestId, answer: Answer) {
        if self.platform.guest_of(mdev) != Some(guest) {
            return answer(Err(Errno::ENODEV));
        }
        match self.commit(&Command::ResetDevice(mdev), Keep::Command) {
            Ok(outcome) => self.answer_after_resets(outcome, Report::Reset, answer),
            Err(error) => answer(Err(error.errno())),
        }
    }

    fn console(&mut self, request: &Request) -> Response {
        match request {
            Request::Show => return hmc::show(&self.desk.machine),
            Request::Log => return Response::Log(self.desk.refusals.all()),
            _ => {}
        }
        let machine = &self.desk.machine;
        let done = match request {
            Request::Ipl => self.ipl().map(|()| Response::Done),
            Request::Inject { order } => faults::inject(machine, &self.desk.fault_timer, order),
            Request::Faults => Ok(faults::list(machine)),
            Request::ClearFaults { which } => faults::clear(machine, which),
            _ => self.operate(request).map(|()| Response::Done),
        };
        match done {
            Ok(response) => response,
            Err(error) => {
                let what = format!("hmc {request:?}");
                self.desk
                    .refusals
                    .record((&what, b""), None, Errno::EINVAL, error.to_string());
                Response::Refused(error.to_string())
            }
        }
    }

    /// Changes the hardware. It announces the change, and the bus looks at it at once.
    fn operate(&mut self, request: &Request) -> Result<(), anyhow::Error> {
        self.ready()?;
        let before = self.desk.machine.config();
        if let Err(error) = hmc::operate(&self.desk.machine, request) {
            // A verb of two steps may have done the first.
            self.desk.machine.replace(before)?;
            return Err(error.into());
        }
        self.commit(&Command::HardwareChanged, Keep::Hardware(before))?;
        Ok(())
    }

    fn run_timers(&mut self) {
        self.let_time_pass();
        let now = Instant::now();
        if self.next_scan <= now {
            self.apply_quietly(&Command::Rescan);
            self.next_scan = now + scan_interval(&self.host);
        }
        let due: Vec<MdevUuid> = self
            .removals
            .iter_mut()
            .filter(|(_, removal)| removal.ask_again <= now)
            .map(|(mdev, removal)| {
                removal.ask_again = now + RELEASE_INTERVAL;
                *mdev
            })
            .collect();
        for mdev in due {
            drop(self.commit(&Command::RepeatReleaseRequest(mdev), Keep::Command));
        }
    }
}

pub(super) fn scan_interval(host: &Host) -> Duration {
    Duration::from_secs(u64::from(host.bus().config_time()))
}
