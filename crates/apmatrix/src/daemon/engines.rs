//! Engines: the threads that do the cards' work.
//!
//! A queue that accepts a request rings the doorbell, and what comes through rings is looked for
//! ([`super::polling`]); an engine then takes the request out of the
//! queue, computes on private memory without any lock, and posts the reply. A panic in a card model
//! check-stops that card, as the architecture would have it, and the engine goes on.
//!
//! There is one engine per core for the whole machine. Which queue is next is decided by what guests and
//! queues have cost so far ([`fair`](super::fair)), so each turn is measured: the CPU time of the engine's
//! own thread, which does not run while others do. The clock is read once per turn, after the reply has
//! been posted, and not at all for what is over at once; see [`CpuClock::cost`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use arch::Apid;
use machine::{Machine, Ran, Scratch};

use super::alerts::Alerts;
use super::faults::{Due, FaultTimer};
use super::polling::{Lookout, Polling};
use super::ready::Ready;
use crate::cpu_clock::CpuClock;

/// Starts one engine per core for the queues that ring at `ready`, and for rings. They end with the process.
///
/// `broken` is called with an adapter whose card model panicked.
///
/// # Errors
/// When a thread cannot be started.
pub(crate) fn start(
    machine: &Arc<Machine>,
    (ready, polling): (&Ready, &Polling),
    (alerts, timer): (&Alerts, &FaultTimer),
    broken: impl Fn(Apid) + Clone + Send + 'static,
) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for number in 0..cores {
        let (machine, ready, broken) = (Arc::clone(machine), ready.clone(), broken.clone());
        let (alerts, timer) = (alerts.clone(), timer.clone());
        let polling = polling.clone();
        thread::Builder::new()
            .name(format!("engine-{number}"))
            .spawn(move || {
                let mut engine = Engine {
                    machine: &machine,
                    ready: &ready,
                    lookout: polling.lookout(cores),
                    alerts: &alerts,
                    timer: &timer,
                    broken: &broken,
                    scratch: Scratch::new(),
                    clock: CpuClock::start(),
                };
                loop {
                    engine.turn();
                }
            })
            .context("cannot start an engine thread")?;
    }
    Ok(())
}

/// An engine on its thread.
struct Engine<'a> {
    machine: &'a Machine,
    ready: &'a Ready,
    lookout: Lookout,
    alerts: &'a Alerts,
    timer: &'a FaultTimer,
    broken: &'a dyn Fn(Apid),
    scratch: Scratch,
    clock: CpuClock,
}

impl Engine<'_> {
    /// Waits for a queue whose turn it is, and runs one request of it.
    fn turn(&mut self) {
        let turn = self.lookout.next(&|apqn| self.machine.owner(apqn));
        let start = Instant::now();
        let apqn = turn.apqn();
        // The other engines may help with what the queue has besides.
        if self.machine.counters(apqn).load.waiting > 1 {
            self.ready.ring(apqn);
        }
        let step = AssertUnwindSafe(|| self.machine.run_one(apqn, &mut self.scratch));
        match catch_unwind(step) {
            Ok(ran) => {
                if ran.more() {
                    self.ready.ring(apqn);
                }
                match ran {
                    Ran::Withheld { ticket, delay, .. } => {
                        self.timer.after(delay, Due::Release(apqn, ticket));
                    }
                    ran => self.alerts.announce(apqn, &ran),
                }
            }
            Err(_) => {
                tracing::error!(%apqn, "a card model failed; its adapter is check-stopped");
                self.scratch = Scratch::new();
                (self.broken)(apqn.apid);
            }
        }
        let time = start.elapsed();
        self.lookout.computed(time);
        self.ready.done(&turn, self.clock.cost(time));
    }
}

#[cfg(test)]
mod tests;
