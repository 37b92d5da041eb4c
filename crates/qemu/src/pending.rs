//! What waits to be delivered to the guest, and the flags by which translated code knows.
//!
//! Translated code tests a flag per vCPU in line; only when it is set a callback runs. So a guest to
//! which nothing happens pays for one comparison where a hook stands: at LPSWE, which ends every
//! interruption and begins every wait, and at block starts if the guest has adapter interruptions.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::adapter::Adapter;
use crate::cpu::{Cpu, CpuError, Register};
use crate::psw::Psw;
use crate::report::Report;
use crate::timer::{Clock, CpuTimer};
use crate::{adapter, machine_check};

/// What translated code tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags {
    /// There is something to deliver.
    pub(crate) deliver: bool,
    /// There will be soon: a CPU that waits should not be halted.
    pub(crate) expect: bool,
}

/// The flags of vCPUs.
pub(crate) trait Board: Send + Sync + fmt::Debug {
    /// Shows the flags to a vCPU that has started.
    fn show(&self, vcpu: u32, flags: Flags);
}

/// What is to be delivered to the guest's CPUs; any of them may take it.
#[derive(Debug)]
pub(crate) struct Pending {
    board: Box<dyn Board>,
    state: Mutex<State>,
    /// Something became deliverable.
    arrived: Condvar,
}

/// See [`Pending`].
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) report: Report,
    pub(crate) adapter: Adapter,
    /// Indexes of the vCPUs that have started.
    vcpus: Vec<u32>,
    shown: Flags,
    /// A CPU was halted although replies were awaited: they took too long.
    given_up: bool,
}

impl State {
    /// Whether a CPU looks at what is pending by itself.
    pub(crate) fn is_attended(&self) -> bool {
        self.adapter.is_awaited() && !self.given_up
    }
}

impl Pending {
    /// Nothing to deliver.
    pub(crate) fn new(board: Box<dyn Board>) -> Self {
        Self {
            board,
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// A vCPU has started; whether it is the first.
    pub(crate) fn started(&self, vcpu: u32) -> bool {
        let mut state = self.lock();
        let first = state.vcpus.is_empty();
        if !state.vcpus.contains(&vcpu) {
            state.vcpus.push(vcpu);
            self.board.show(vcpu, state.shown);
        }
        first
    }

    /// The machine starts anew: what was for its predecessor is dropped.
    pub(crate) fn clear(&self) {
        self.change(|state| {
            state.report = Report::default();
            state.adapter = Adapter::default();
        });
    }

    /// Looks at or changes what is pending.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = work(&mut state);
        let deliver = state.report.has_check() || state.adapter.is_due();
        let flags = Flags {
            deliver,
            expect: state.adapter.is_awaited(),
        };
        if flags != state.shown {
            state.shown = flags;
            for vcpu in &state.vcpus {
                self.board.show(*vcpu, flags);
            }
        }
        if deliver {
            self.arrived.notify_all();
        }
        result
    }

    /// Whether something will be there to deliver soon.
    pub(crate) fn is_expected(&self) -> bool {
        self.lock().shown.expect
    }

    /// A CPU is going to be halted although replies are awaited.
    pub(crate) fn give_up(&self) {
        self.change(|state| state.given_up = true);
    }

    /// Waits up to `slice` for something to deliver; false when nothing is and nothing will be soon.
    pub(crate) fn wait(&self, slice: Duration) -> bool {
        let state = self.lock();
        if state.shown.expect && !state.shown.deliver {
            let waited = self.arrived.wait_timeout(state, slice);
            return waited.is_ok_and(|(state, _)| state.shown.expect || state.shown.deliver);
        }
        state.shown.deliver
    }

    /// Delivers an interruption to a CPU whose program has the PSW `old`, if one is due that it takes.
    /// Returns where the guest continues.
    pub(crate) fn interrupt(
        &self,
        cpu: &mut impl Cpu,
        old: Psw,
        clock: Option<&Clock>,
    ) -> Result<Option<u64>, CpuError> {
        if let Some(clock) = clock
            && let Some(next) = self.check(cpu, old, clock)?
        {
            return Ok(Some(next));
        }
        if !old.mask.takes_io() {
            return Ok(None);
        }
        let enabled = cpu.get(Register::Control(6))?;
        let taken = self.change(|state| {
            let taken = state.adapter.take(enabled)?;
            if state.adapter.is_early(cpu, &taken) {
                state.adapter.give_back(&taken);
                return None;
            }
            // Under the lock: another CPU that takes the next one must see the bytes.
            taken.notify(cpu);
            state.given_up = false;
            Some(taken)
        });
        let Some(taken) = taken else {
            return Ok(None);
        };
        let delivered = adapter::deliver(cpu, &taken, old);
        if !matches!(delivered, Ok(Some(_))) {
            self.change(|state| {
                taken.take_back(cpu);
                state.adapter.give_back(&taken);
            });
        }
        delivered
    }

    /// Machine checks have precedence.
    fn check(&self, cpu: &mut impl Cpu, old: Psw, clock: &Clock) -> Result<Option<u64>, CpuError> {
        let due = self.change(|state| state.report.has_check());
        if !due || !machine_check::is_enabled(cpu, old)? {
            return Ok(None);
        }
        let timer = match clock.timer(cpu)? {
            CpuTimer::Known(timer) => Some(timer),
            CpuTimer::Unused => None,
            CpuTimer::Unread => return Ok(None),
        };
        if !self.change(|state| state.report.take_check()) {
            return Ok(None);
        }
        let delivered = machine_check::deliver(cpu, old, timer);
        if !matches!(delivered, Ok(Some(_))) {
            self.change(|state| state.report.give_check_back());
        }
        delivered
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
    struct Shown(Arc<Mutex<BTreeMap<u32, bool>>>);

    impl Board for Shown {
        fn show(&self, vcpu: u32, flags: Flags) {
            self.0.lock().unwrap().insert(vcpu, flags.deliver);
        }
    }

    #[test]
    fn every_started_vcpu_is_told_and_one_takes_it() {
        let board = Shown::default();
        let pending = Pending::new(Box::new(board.clone()));
        let shown = || board.0.lock().unwrap().clone();
        let take = || pending.change(|state| state.report.take_check());
        assert!(pending.started(0));
        pending.change(|state| state.report.change());
        assert!(!pending.started(1));
        assert_eq!(shown(), BTreeMap::from([(0, true), (1, true)]));
        assert!(take());
        assert_eq!(shown(), BTreeMap::from([(0, false), (1, false)]));
        assert!(!take());
        pending.change(|state| state.report.give_check_back());
        pending.clear();
        assert_eq!(shown(), BTreeMap::from([(0, false), (1, false)]));
        assert!(!pending.change(|state| state.report.take_word()));
    }

    #[test]
    fn nobody_waits_when_nothing_is_expected() {
        let pending = Pending::new(Box::new(Shown::default()));
        assert!(!pending.wait(Duration::from_secs(60)));
    }
}
