//! Putting the daemon together, in the order in which its parts need each other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use cex::keys::HashKey;
use machine::{Doorbell, Machine};
use matrix::Host;

use super::alerts::Alerts;
use super::connections::listen;
use super::console_server::{self, ConsoleServer};
use super::control::{Control, Event, Sockets, Started};
use super::faults::FaultTimer;
use super::listeners::Listeners;
use super::platform::MachinePlatform;
use super::polling::Polling;
use super::ready::Ready;
use super::refusals::Refusals;
use super::{Desk, Machinery, engines};
use crate::control::{Request, Response};
use crate::fuse::{TreeFs, clear_stale, mount};
use crate::rundir::{Claim, DaemonRecord, RunDir};
use crate::state;

/// How to start a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where its tree and sockets are.
    pub(crate) run_dir: RunDir,
    /// Where it keeps state.
    pub(crate) state_dir: PathBuf,
    /// The hardware, the host's kernel parameters, and whether they are kept.
    pub(crate) persistence: Persistence,
    /// Whether the tree is mounted.
    pub(crate) mounts: bool,
    /// Whether this process lives in user and mount namespaces of its own.
    pub(crate) own_namespace: bool,
}

/// Whether a daemon's state outlives it.
#[derive(Clone, Debug)]
pub(crate) enum Persistence {
    /// It does: the daemon goes on with the state that is there.
    Kept {
        /// The machine that the state must be of; the machine of a new state.
        machine: Option<Machinery>,
        /// Begin a new state and put the old one aside.
        fresh: bool,
    },
    /// It does not: this machine is booted.
    Forgotten(Machinery),
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    desk: Desk,
    control: JoinHandle<()>,
    listeners: Arc<Listeners>,
    console: ConsoleServer,
    mounted: Option<fuser::BackgroundSession>,
    claim: Claim,
}

impl Daemon {
    /// Starts everything; returns when the tree can be used.
    ///
    /// # Errors
    /// What is missing or taken, and what to do about it. Nothing stays behind.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let run_dir = &options.run_dir;
        let claim = run_dir.claim()?;
        clear_stale(&run_dir.sys());
        std::fs::create_dir_all(run_dir.sys())?;
        std::fs::create_dir_all(&options.state_dir)
            .with_context(|| format!("cannot create {}", options.state_dir.display()))?;

        let ready = Ready::default();
        let doorbell = ready.clone();
        let ring = Box::new(move |apqn| doorbell.ring(apqn));
        let (machine, started) = begin(options, ring)?;
        let (events, inbox) = channel();
        let alerts = Alerts::default();
        let desk = Desk {
            snapshot: Arc::new(ArcSwap::from_pointee(started.host.clone())),
            control: events,
            machine: Arc::clone(&machine),
            refusals: Arc::new(Refusals::default()),
            fault_timer: FaultTimer::start(&machine, &alerts)?,
            recorders: Arc::default(),
            alerts,
            polling: Polling::new(ready.clone()),
        };
        let broken = desk.control.clone();
        let served = (&desk.alerts, &desk.fault_timer);
        let work = (&ready, &desk.polling);
        engines::start(&machine, work, served, move |apid| {
            broken.send(Event::Broken(apid)).ok();
        })?;
        let listeners = listen(&desk)?;
        let sockets = Sockets {
            listeners: Arc::clone(&listeners),
            run_dir: run_dir.clone(),
        };
        for (mdev, found) in started.host.matrix().mdevs() {
            sockets.add(mdev, found.group);
        }
        let control = Control::new(started, desk.clone(), sockets);
        let control = thread::Builder::new()
            .name("control".into())
            .spawn(move || control.run(&inbox))
            .context("cannot start the control thread")?;
        let console = console_server::serve(&run_dir.control_socket(), desk.clone())?;

        let mounted = if options.mounts {
            let owner = (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            );
            Some(mount(TreeFs::new(desk.clone(), owner), &run_dir.sys())?)
        } else {
            None
        };
        claim.announce(&DaemonRecord {
            pid: std::process::id(),
            state_dir: options.state_dir.clone(),
            own_namespace: options.own_namespace,
        })?;
        Ok(Self {
            desk,
            control,
            listeners,
            console,
            mounted,
            claim,
        })
    }

    /// Its run directory.
    pub(crate) fn run_directory(&self) -> &RunDir {
        self.claim.run_dir()
    }

    /// Its front desk.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Asks the hardware console.
    pub(crate) fn console(&self, request: Request) -> Response {
        self.desk.console(request)
    }

    /// Ends the daemon: guests are disconnected, then the tree is unmounted.
    pub(crate) fn stop(self) {
        if self.desk.control.send(Event::Stop).is_ok() && self.control.join().is_err() {
            tracing::error!("the control thread had failed");
        }
        self.console.stop();
        self.listeners.stop();
        if let Some(Err(error)) = self.mounted.map(fuser::BackgroundSession::umount_and_join) {
            tracing::warn!("cannot unmount the tree: {error}");
        }
    }
}

/// Boots the host, or brings it back.
fn begin(options: &Options, ring: Doorbell) -> Result<(Arc<Machine>, Started)> {
    let mut random = [0; 16];
    // Up to 256 bytes come all at once, or not at all.
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .context("no random numbers")?;
    let secret = HashKey::new(&random);
    let make = |partition: &_| Ok(Arc::new(Machine::keeping_keys(partition, ring, secret)?));
    match &options.persistence {
        Persistence::Forgotten(machinery) => {
            let machine = make(&machinery.partition)?;
            let mut platform = MachinePlatform::new(Arc::clone(&machine));
            let started = Started {
                host: Host::boot(&machinery.boot, &mut platform),
                platform,
                boot: machinery.boot.clone(),
                journal: None,
            };
            Ok((machine, started))
        }
        Persistence::Kept { machine, fresh } => {
            let begun = state::begin(&options.state_dir, machine.as_ref(), *fresh, make)?;
            let started = Started {
                host: begun.host,
                platform: begun.platform,
                boot: begun.boot,
                journal: Some(begun.journal),
            };
            Ok((begun.machine, started))
        }
    }
}
