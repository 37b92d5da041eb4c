//! Engines: the threads that do the cards' work.
//!
//! A queue that accepts a request rings the doorbell; an engine then takes the request out of the
//! queue, computes on private memory without any lock, and posts the reply. A panic in a card model
//! check-stops that card, as the architecture would have it, and the engine goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use arch::{Apid, Apqn};
use machine::{Machine, Ran, Scratch};

use super::alerts::Alerts;
use super::faults::{Due, FaultTimer};

/// The ringing end: clone it into a machine's doorbell.
pub(crate) type Bell = Sender<Apqn>;

/// A bell and the work that it announces, before any engine runs.
pub(crate) fn bell() -> (Bell, Receiver<Apqn>) {
    channel()
}

/// Starts one engine per core. They end when the last [`Bell`] is dropped.
///
/// `broken` is called with an adapter whose card model panicked.
///
/// # Errors
/// When a thread cannot be started.
pub(crate) fn start(
    machine: &Arc<Machine>,
    work: Receiver<Apqn>,
    (alerts, timer): (&Alerts, &FaultTimer),
    broken: impl Fn(Apid) + Clone + Send + 'static,
) -> Result<()> {
    let work = Arc::new(Mutex::new(work));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for number in 0..cores {
        let (machine, work, broken) = (Arc::clone(machine), Arc::clone(&work), broken.clone());
        let (alerts, timer) = (alerts.clone(), timer.clone());
        thread::Builder::new()
            .name(format!("engine-{number}"))
            .spawn(move || run(&machine, &work, (&alerts, &timer), &broken))
            .context("cannot start an engine thread")?;
    }
    Ok(())
}

fn run(
    machine: &Machine,
    work: &Mutex<Receiver<Apqn>>,
    (alerts, timer): (&Alerts, &FaultTimer),
    broken: &dyn Fn(Apid),
) {
    let mut scratch = Scratch::new();
    while let Some(apqn) = next(work) {
        let step = AssertUnwindSafe(|| machine.run_one(apqn, &mut scratch));
        match catch_unwind(step) {
            Ok(Ran::Withheld { ticket, delay, .. }) => {
                timer.after(delay, Due::Release(apqn, ticket));
            }
            Ok(ran) => alerts.announce(apqn, &ran),
            Err(_) => {
                tracing::error!(%apqn, "a card model failed; its adapter is check-stopped");
                scratch = Scratch::new();
                broken(apqn.apid);
            }
        }
    }
}

fn next(work: &Mutex<Receiver<Apqn>>) -> Option<Apqn> {
    work.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}
