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
                let lookout = polling.lookout(cores);
                run(&machine, (&ready, lookout), (&alerts, &timer), &broken);
            })
            .context("cannot start an engine thread")?;
    }
    Ok(())
}

fn run(
    machine: &Machine,
    (ready, mut lookout): (&Ready, Lookout),
    (alerts, timer): (&Alerts, &FaultTimer),
    broken: &dyn Fn(Apid),
) {
    let mut scratch = Scratch::new();
    let mut clock = CpuClock::start();
    loop {
        let turn = lookout.next(&|apqn| machine.owner(apqn));
        let start = Instant::now();
        let apqn = turn.apqn();
        // The other engines may help with what the queue has besides.
        if machine.counters(apqn).load.waiting > 1 {
            ready.ring(apqn);
        }
        let step = AssertUnwindSafe(|| machine.run_one(apqn, &mut scratch));
        let ran = catch_unwind(step);
        match ran {
            Ok(ran) => {
                if ran.more() {
                    ready.ring(apqn);
                }
                match ran {
                    Ran::Withheld { ticket, delay, .. } => {
                        timer.after(delay, Due::Release(apqn, ticket));
                    }
                    ran => alerts.announce(apqn, &ran),
                }
            }
            Err(_) => {
                tracing::error!(%apqn, "a card model failed; its adapter is check-stopped");
                scratch = Scratch::new();
                broken(apqn.apid);
            }
        }
        let time = start.elapsed();
        lookout.computed(time);
        ready.done(&turn, clock.cost(time));
    }
}
