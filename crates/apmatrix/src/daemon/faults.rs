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

use crate::control::{FaultView, Response};

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
    pub(crate) fn start(machine: &Arc<Machine>) -> Result<Self> {
        let (sender, receiver) = channel();
        let machine = Arc::clone(machine);
        thread::Builder::new()
            .name("fault-timer".into())
            .spawn(move || run(&machine, &receiver))
            .context("cannot start the thread of the fault timer")?;
        Ok(Self(sender))
    }

    /// Does `due` after `delay`.
    pub(crate) fn after(&self, delay: Duration, due: Due) {
        // Without a timer the daemon is ending.
        self.0.send((Instant::now() + delay, due)).ok();
    }
}

fn run(machine: &Machine, orders: &Receiver<(Instant, Due)>) {
    let mut waiting = BinaryHeap::new();
    loop {
        let received = match waiting.peek() {
            None => orders.recv().map_err(RecvTimeoutError::from),
            Some(Reverse((at, _))) => {
                let time: &Instant = at;
                orders.recv_timeout(time.saturating_duration_since(Instant::now()))
            }
        };
        match received {
            Ok(order) => waiting.push(Reverse(order)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(Reverse((at, due))) = waiting.peek().copied()
            && at <= Instant::now()
        {
            waiting.pop();
            match due {
                Due::Clear(id) => drop(machine.clear_fault(id)),
                Due::Release(apqn, ticket) => {
                    machine.release(apqn, ticket);
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
