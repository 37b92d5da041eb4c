//! Replies that a fault makes slow: computed, and kept until the caller releases them.
//!
//! A withheld reply counts as running, so the queue's depth bounds how many there are. When the queue
//! is reset or changes hands it is erased at once, not when its time has come.
use crate::state::{Job, State};
use crate::sync::{Mutex, lock};

/// The number of a withheld reply among those of its queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Ticket(u64);

/// The withheld replies of a queue. Their lock is taken under the queue's.
#[derive(Debug, Default)]
pub(crate) struct Withheld(Mutex<Jobs>);

#[derive(Debug, Default)]
struct Jobs {
    last: u64,
    jobs: Vec<(Ticket, Job)>,
}

impl Withheld {
    pub(crate) fn keep(&self, job: Job) -> Ticket {
        let mut jobs = lock(&self.0);
        jobs.last += 1;
        let ticket = Ticket(jobs.last);
        jobs.jobs.push((ticket, job));
        ticket
    }

    pub(crate) fn take(&self, ticket: Ticket) -> Option<Job> {
        let mut jobs = lock(&self.0);
        let at = jobs.jobs.iter().position(|(t, _)| *t == ticket)?;
        Some(jobs.jobs.swap_remove(at).1)
    }

    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        lock(&self.0).jobs.iter().any(|(held, _)| *held == ticket)
    }

    /// Erases what the queue does not wait for any more.
    pub(crate) fn erase_orphans(&self, state: &State) {
        lock(&self.0).jobs.retain(|(_, job)| !state.is_orphan(job));
    }
}
