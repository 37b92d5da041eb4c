//! One AP queue: its state machine under its own lock, and the card behind it.

use std::sync::Arc;

use arch::{Apqn, Instruction, Outcome};
use cex::Card;
use cex::keys::HashKey;

use crate::GuestId;
use crate::counters::{QueueCounters, QueueSnapshot};
use crate::faults::{
    FaultId, Faults, Hit, InjectError, Mnemonic, Order, RequestFaults, Ticket, Withheld,
};
use crate::keys::OwnerKeys;
use crate::port::Port;
use crate::slow::SlowReset;
use crate::state::{Condition, Finished, Interrupts, Job, QueueLoad, Requester, State};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};

/// One AP queue.
#[derive(Debug)]
pub(crate) struct Queue {
    apqn: Apqn,
    card: Card,
    /// Requests that reached the card; outlives the queue when the hardware changes.
    reached: Arc<AtomicU64>,
    state: Mutex<State>,
    faults: Faults,
    withheld: Withheld,
    /// With what the owner's keys are hashed; `None` keeps no keys.
    hash_key: Option<HashKey>,
}

impl Queue {
    pub(crate) fn new(
        apqn: Apqn,
        card: Card,
        condition: Condition,
        reached: Arc<AtomicU64>,
        hash_key: Option<HashKey>,
    ) -> Self {
        Self {
            apqn,
            card,
            reached,
            state: Mutex::new(State::new(card.hw_info(), condition)),
            faults: Faults::default(),
            withheld: Withheld::default(),
            hash_key,
        }
    }

    pub(crate) const fn card(&self) -> &Card {
        &self.card
    }

    /// Executes an instruction that names this queue. `reply` is the buffer of DQAP.
    pub(crate) fn execute(
        &self,
        requester: Requester,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Outcome {
        let mut state = lock(&self.state);
        let faulty = self.faults.any();
        if faulty
            && state.executes_for(requester)
            && let Some(mnemonic) = Mnemonic::of(instruction)
            && let Some(hit) = self
                .faults
                .on_instruction(mnemonic, requester != Requester::Host)
        {
            // It may have been the last.
            state.set_faulty(self.faults.any());
            match hit {
                Hit::Answer(code) => return state.answer(instruction, code),
                Hit::Hang => state.hang_reset(),
            }
        }
        let outcome = state.execute(requester, instruction, reply);
        if matches!(
            instruction,
            Instruction::Rapq { .. } | Instruction::Zapq { .. }
        ) {
            self.withheld.erase_orphans(&state);
        }
        outcome
    }

    /// Gives the queue to a guest, empty, with a port if there is one.
    pub(crate) fn plug(&self, guest: GuestId, port: Option<Box<dyn Port>>) {
        self.change(|state| state.plug(guest, port));
    }

    /// Gives the queue another port, or takes the one that it has.
    pub(crate) fn connect(&self, port: Option<Box<dyn Port>>) {
        self.change(|state| state.connect(port));
    }

    /// Whether somebody wants to see every instruction of the guest.
    pub(crate) fn divert(&self, diverted: bool) {
        self.change(|state| state.divert(diverted));
    }

    /// Makes a fault active.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn inject(&self, id: FaultId, order: Order) -> Result<(), InjectError> {
        let mut state = lock(&self.state);
        self.faults.inject(id, order)?;
        state.set_faulty(true);
        Ok(())
    }

    /// Takes the queue from its guest. When this returns, no request of the guest reaches the card
    /// any more and no reply reaches the guest.
    pub(crate) fn unplug(&self) {
        self.change(State::unplug);
    }

    /// Follows the hardware.
    pub(crate) fn set_condition(&self, condition: Condition) {
        self.change(|state| state.set_condition(condition));
    }

    /// Changes the state by what may orphan jobs.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.withheld.erase_orphans(&state);
    }

    /// Orders slow resets, see [`crate::slow`].
    pub(crate) fn slow_resets(&self, order: Option<SlowReset>) {
        lock(&self.state).slow_resets(order);
    }

    /// Ends a reset that takes time; whether there was one.
    pub(crate) fn end_reset(&self) -> bool {
        lock(&self.state).end_reset()
    }

    /// Takes the next request for an engine and counts it: from now on it has reached the card.
    pub(crate) fn take(&self) -> Option<(Job, RequestFaults)> {
        let mut state = lock(&self.state);
        let Some(job) = state.take() else {
            // A guest that lied about its port has had its queue reset.
            self.withheld.erase_orphans(&state);
            return None;
        };
        // Under the lock, so that the count cannot rise after a revoke has returned.
        self.reached.fetch_add(1, Ordering::Relaxed);
        let faults = if self.faults.any() {
            let hits = self.faults.on_request(state.guest().is_some());
            state.set_faulty(self.faults.any());
            hits
        } else {
            RequestFaults::default()
        };
        Some((job, faults))
    }

    /// The prepared keys for a job of this queue.
    pub(crate) const fn keys<'q>(&'q self, job: &'q Job) -> OwnerKeys<'q> {
        OwnerKeys::new(&self.state, job, self.hash_key.as_ref())
    }

    /// Brings the reply to a job.
    pub(crate) fn finish(&self, mut job: Job, reply: &[u8]) -> Finished {
        // The longer part, copying, is done before the lock is taken.
        job.answer(reply);
        lock(&self.state).finish(job)
    }

    /// Keeps the reply to a job until it is released; also whether the queue has another request.
    pub(crate) fn withhold(&self, mut job: Job, reply: &[u8]) -> Option<(Ticket, bool)> {
        job.answer(reply);
        let state = lock(&self.state);
        let more = state.load().waiting > 0;
        // An orphan is dropped, and erased by that.
        (!state.is_orphan(&job)).then(|| (self.withheld.keep(job), more))
    }

    /// Whether a reply is still withheld.
    pub(crate) fn withholds(&self, ticket: Ticket) -> bool {
        self.withheld.holds(ticket)
    }

    /// Posts a reply that was withheld, if it still is.
    pub(crate) fn release(&self, ticket: Ticket) -> Option<Finished> {
        let mut state = lock(&self.state);
        let job = self.withheld.take(ticket)?;
        Some(state.finish(job))
    }

    /// Takes a job back that gets no answer; whether the queue has another request.
    pub(crate) fn lose(&self, job: Job) -> bool {
        lock(&self.state).lose(job)
    }

    /// Ends the faults that `which` picks, and a reset that hangs by one of them; how many there were.
    pub(crate) fn clear_faults(&self, which: impl Fn(FaultId) -> bool) -> usize {
        let mut state = lock(&self.state);
        let (count, hung) = self.faults.clear(which);
        if hung {
            state.end_reset();
        }
        state.set_faulty(self.faults.any());
        count
    }

    pub(crate) const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Where the interruptions of `guest` go, if the queue is the guest's and has them enabled.
    pub(crate) fn interrupts_of(&self, guest: GuestId) -> Option<Interrupts> {
        let state = lock(&self.state);
        state.interrupts().filter(|_| state.guest() == Some(guest))
    }

    /// Disables the interruptions of `guest` if `which` says so.
    pub(crate) fn disable_interrupts(&self, guest: GuestId, which: impl Fn(Interrupts) -> bool) {
        let mut state = lock(&self.state);
        if state.guest() == Some(guest) && state.interrupts().is_some_and(which) {
            state.disable_interrupts();
        }
    }

    /// The guest that has the queue; `None` for the host.
    pub(crate) fn owner(&self) -> Option<GuestId> {
        lock(&self.state).guest()
    }

    pub(crate) fn load(&self) -> QueueLoad {
        lock(&self.state).load()
    }

    pub(crate) fn snapshot(&self) -> QueueSnapshot {
        let state = lock(&self.state);
        QueueSnapshot {
            apqn: self.apqn,
            guest: state.guest(),
            interrupts: state.interrupts(),
            counters: QueueCounters {
                reached: self.reached.load(Ordering::Relaxed),
                load: state.load(),
            },
        }
    }
}
