//! What waits to be delivered to the guest, and the flags by which translated code knows.
//!
//! Translated code tests a flag per vCPU in line; only when it is set a callback runs. So a guest to
//! which nothing happens pays for one comparison where a hook stands, and hooks stand at LPSWE, which
//! ends every interruption and begins every wait.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::report::Report;

/// The flags of vCPUs that translated code tests.
pub(crate) trait Board: Send + Sync + fmt::Debug {
    /// Sets or clears the flag of a vCPU that has started: there is something to deliver.
    fn set(&self, vcpu: u32, deliver: bool);
}

/// What is to be delivered to the guest's CPUs; any of them may take it.
#[derive(Debug)]
pub(crate) struct Pending {
    board: Box<dyn Board>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    report: Report,
    /// Indexes of the vCPUs that have started.
    vcpus: Vec<u32>,
    shown: bool,
}

impl Pending {
    /// Nothing to deliver.
    pub(crate) fn new(board: Box<dyn Board>) -> Self {
        Self {
            board,
            state: Mutex::default(),
        }
    }

    /// A vCPU has started; whether it is the first.
    pub(crate) fn started(&self, vcpu: u32) -> bool {
        let mut state = self.lock();
        let first = state.vcpus.is_empty();
        if !state.vcpus.contains(&vcpu) {
            state.vcpus.push(vcpu);
            self.board.set(vcpu, state.shown);
        }
        first
    }

    /// The machine starts anew: what was for its predecessor is dropped.
    pub(crate) fn clear(&self) {
        self.change(|report| *report = Report::default());
    }

    /// Looks at or moves the report of a configuration change.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Report) -> T) -> T {
        let mut state = self.lock();
        let result = work(&mut state.report);
        let deliver = state.report.has_check();
        if deliver != state.shown {
            state.shown = deliver;
            for vcpu in &state.vcpus {
                self.board.set(*vcpu, deliver);
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Flags(Arc<Mutex<BTreeMap<u32, bool>>>);

    impl Board for Flags {
        fn set(&self, vcpu: u32, deliver: bool) {
            self.0.lock().unwrap().insert(vcpu, deliver);
        }
    }

    #[test]
    fn every_started_vcpu_is_told_and_one_takes_it() {
        let flags = Flags::default();
        let pending = Pending::new(Box::new(flags.clone()));
        let shown = || flags.0.lock().unwrap().clone();
        assert!(pending.started(0));
        pending.change(Report::change);
        assert!(!pending.started(1));
        assert_eq!(shown(), BTreeMap::from([(0, true), (1, true)]));
        assert!(pending.change(Report::take_check));
        assert_eq!(shown(), BTreeMap::from([(0, false), (1, false)]));
        assert!(!pending.change(Report::take_check));
        pending.change(Report::give_check_back);
        pending.clear();
        assert_eq!(shown(), BTreeMap::from([(0, false), (1, false)]));
        assert!(!pending.change(Report::take_word));
    }
}
