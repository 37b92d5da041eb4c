//! Faults on demand: the console's verbs, and the clock that the machine does not have.
//!
//! ```text
//!   console --inject, list, clear--> machine
//!                  | for TIME                     engine: a slow reply
//!                  +-----------> timer <----------------+
//!                                  | when it is time
//!                                  +--> machine: clear the fault, release the reply
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arch::Apqn;
use machine::Machine;
use machine::faults::{FaultId, Order, Ticket};

use super::alerts::Alerts;
use crate::control::{FaultView, Response};

/// Entries of the timer above which it is looked whether they still mean anything.
const LIMIT: usize = 1024;

/// What is to be done when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// A fault ends.
    Clear(FaultId),
    /// A slow reply comes.
    Release(Apqn, Ticket),
}

/// The asking end of the timer; cheap to clone. The timer ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct FaultTimer(Sender<(Instant, Due)>);

impl FaultTimer {
    /// Starts the timer's thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(machine: &Arc<Machine>, alerts: &Alerts) -> Result<Self> {
        let (sender, receiver) = channel();
        let (machine, alerts) = (Arc::clone(machine), alerts.clone());
        thread::Builder::new()
            .name("fault-timer".into())
            .spawn(move || run(&machine, &alerts, &receiver))
            .context("cannot start the thread of the fault timer")?;
        Ok(Self(sender))
    }

    /// Does `due` after `delay`.
    pub(crate) fn after(&self, delay: Duration, due: Due) {
        // Without a timer the daemon is ending.
        self.0.send((Instant::now() + delay, due)).ok();
    }
}

/// What waits for its time.
#[derive(Default)]
struct Waiting {
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    /// How long the list may become before it is looked through.
    limit: usize,
}

impl Waiting {
    fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Adds an entry. A guest that resets its queue again and again leaves an entry for each slow reply
    /// that the reset erased: when there are many, those are forgotten. What remains is bounded by what
    /// all queues hold and by the faults.
    fn push(&mut self, entry: (Instant, Due), machine: &Machine) {
        self.due.push(Reverse(entry));
        if self.due.len() > self.limit {
            self.due.retain(|Reverse((_, due))| match due {
                Due::Clear(_) => true,
                Due::Release(apqn, ticket) => machine.withholds(*apqn, *ticket),
            });
            self.limit = 2 * self.due.len() + LIMIT;
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Due> {
        let is_due = self.next().is_some_and(|at| at <= now);
        is_due
            .then(|| self.due.pop())
            .flatten()
            .map(|Reverse((_, due))| due)
    }
}

fn run(machine: &Machine, alerts: &Alerts, orders: &Receiver<(Instant, Due)>) {
    let mut waiting = Waiting::default();
    loop {
        let received = match waiting.next() {
            None => orders.recv().map_err(RecvTimeoutError::from),
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(order) => waiting.push(order, machine),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(due) = waiting.pop(Instant::now()) {
            match due {
                Due::Clear(id) => drop(machine.clear_fault(id)),
                Due::Release(apqn, ticket) => {
                    alerts.announce(apqn, &machine.release(apqn, ticket));
                }
            }
        }
    }
}

/// Makes a fault active; answers its number.
///
/// # Errors
/// The order is not one, or there is no such queue.
pub(super) fn inject(machine: &Machine, timer: &FaultTimer, order: &str) -> Result<Response> {
    let order: Order = order.parse()?;
    let duration = order.duration;
    tracing::info!("fault injected: {order}");
    let id = machine.inject(order)?;
    if let Some(duration) = duration {
        timer.after(duration, Due::Clear(id));
    }
    Ok(Response::Injected(id.0))
}

/// The faults that are not over.
pub(super) fn list(machine: &Machine) -> Response {
    let view = machine.faults().into_iter().map(|fault| FaultView {
        id: fault.id.0,
        order: fault.order.to_string(),
        hits: fault.hits,
    });
    Response::Faults(view.collect())
}

/// Ends the faults that `which` names: a number, a queue or `all`.
///
/// # Errors
/// It names nothing, or no fault is active there.
pub(super) fn clear(machine: &Machine, which: &str) -> Result<Response> {
    let cleared = if which == "all" {
        machine.clear_faults(None);
        true
    } else if let Ok(id) = which.parse() {
        machine.clear_fault(FaultId(id))
    } else {
        let apqn: Apqn = which
            .parse()
            .with_context(|| format!("{which:?} is no fault's number, no queue and not \"all\""))?;
        anyhow::ensure!(
            machine.queues().contains(&apqn),
            "there is no queue {apqn}: the partition has no such adapter or usage domain"
        );
        machine.clear_faults(Some(apqn));
        true
    };
    anyhow::ensure!(
        cleared,
        "fault {which} is not active: it is over or never was"
    );
    Ok(Response::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::{ApInstructions, Apid};
    use machine::{PartitionConfig, Ran, Scratch};

    #[test]
    fn replies_that_a_reset_erased_are_forgotten() {
        let partition = PartitionConfig::parse_spec("card 5 14 A; dom 4").unwrap();
        let machine = Machine::new(&partition, Box::new(|_| {})).unwrap();
        let apqn = machine.queues()[0];
        machine
            .inject("05.0004 slow 1m until-cleared".parse().unwrap())
            .unwrap();
        let (mut waiting, mut scratch) = (Waiting::default(), Scratch::new());
        let at = Instant::now() + Duration::from_secs(60);
        waiting.push((at, Due::Clear(FaultId(7))), &machine);
        for _ in 0..10 * LIMIT {
            assert_eq!(machine.host().nqap(apqn, 1, false, &[1]).code.0, 0);
            let Ran::Withheld { ticket, .. } = machine.run_one(apqn, &mut scratch) else {
                panic!("the fault did not hit");
            };
            waiting.push((at, Due::Release(apqn, ticket)), &machine);
            assert_eq!(machine.host().rapq(apqn).code.0, 0);
        }
        assert!(waiting.due.len() <= LIMIT + 4, "{}", waiting.due.len());
        let kept = |due: &Reverse<(Instant, Due)>| due.0.1 == Due::Clear(FaultId(7));
        assert!(waiting.due.iter().any(kept));
        assert_eq!(waiting.pop(Instant::now()), None);
        assert!(machine.checkstop(Apid(5)).is_ok());
    }
}
