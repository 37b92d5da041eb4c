//! Resets of queues by `vfio_ap` (spec 7), as states of the host.
//!
//! Nothing here waits. A reset that takes time is remembered in [`State`]; whoever owns
//! the host tells it how much time has passed ([`Command::TimePassed`](crate::Command::TimePassed)),
//! at the latest after [`Host::next_look`](crate::Host::next_look), and learns from
//! [`Effect::ResetEnded`] when the reset is over.
//!
//! ```text
//!            ZAPQ 00 and TAPQ settled, 03, 04, other code
//!   (none) ------------------------------------------------> ended
//!     |                                                         ^
//!     | ZAPQ 02, 05, 0A; or 00 and TAPQ not settled             | settled, last ZAPQ not 02, 05, 0A
//!     v                           after 20 ms: TAPQ             | TAPQ other: given up
//!   resetting ---------------------> look ----------------------+
//!     ^                               |  02, 05: still busy
//!     |                               |  settled after ZAPQ 02, 05, 0A, or association error: ZAPQ again
//!     +-------------------------------+
//! ```
//! There is no limit to the looks (quirk K15). Two things differ from Linux, which holds its locks
//! while it waits:
//!
//! - A ZAPQ that answers 00 is followed by a look at once. A queue that is settled then is not waited
//!   for; Linux waits 20 ms before it looks for the first time.
//! - Everybody else goes on. What would have to wait in Linux is done later: an adapter with a queue
//!   in reset stays in or out of a guest's view as it is, and the view is filtered again when the
//!   reset has ended. A device whose close or removal waits cannot be opened until then.

use std::time::Duration;

use arch::{ApInstructions, Apcb, Apqn, QueueStatus, ResponseCode};

use crate::driver::Driver;
use crate::effect::Effect;
use crate::mdev::{MdevUuid, Usage};
use crate::state::State;

/// Between two looks at a queue in reset (spec 7).
pub const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A reset that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reset {
    /// What the last ZAPQ answered.
    pub(crate) status: ResponseCode,
    /// Until the next look.
    pub(crate) next_look: Duration,
    /// Since it began.
    pub(crate) waited: Duration,
    /// Looks that found the queue busy.
    pub(crate) looks: u32,
    /// Mdevs whose close or removal waits for it.
    pub(crate) held_by: Vec<MdevUuid>,
}

impl Reset {
    pub(crate) const fn new(status: ResponseCode) -> Self {
        Self {
            status,
            next_look: LOOK_INTERVAL,
            waited: Duration::ZERO,
            looks: 0,
            held_by: Vec::new(),
        }
    }
}

/// What TAPQ says about a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Settled,
    Busy,
    AssociationError,
    Unexpected,
}

impl Look {
    const fn of(status: QueueStatus) -> Self {
        match status.code {
            ResponseCode::NORMAL | ResponseCode::DECONFIGURED | ResponseCode::CHECKSTOPPED => {
                Self::Settled
            }
            ResponseCode::RESET_IN_PROGRESS | ResponseCode::BUSY => Self::Busy,
            ResponseCode::SECRET_NOT_UNIQUE | ResponseCode::ASSOCIATION_FAILED => {
                Self::AssociationError
            }
            _ => Self::Unexpected,
        }
    }
}

/// Whether a ZAPQ that answered this has to be issued again.
pub(crate) const fn is_unfinished(code: ResponseCode) -> bool {
    matches!(
        code,
        ResponseCode::RESET_IN_PROGRESS | ResponseCode::BUSY | ResponseCode::STATE_CHANGE
    )
}

impl State {
    /// Whether a queue is being reset for `vfio_ap`.
    #[must_use]
    pub fn is_resetting(&self, apqn: Apqn) -> bool {
        self.resets.contains_key(&apqn)
    }

    /// The queues that are being reset for `vfio_ap`, ascending.
    pub fn resetting(&self) -> impl Iterator<Item = Apqn> {
        self.resets.keys().copied()
    }

    /// Time until the next look at a queue in reset; `None` when there is none.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        self.resets.values().map(|reset| reset.next_look).min()
    }
}

impl Driver<'_> {
    /// Resets one queue and remembers how that went. The command that asked for it is complete when
    /// the reset has ended.
    pub(crate) fn reset_queue(&mut self, apqn: Apqn) {
        self.began.push(apqn);
        let code = self.zeroize(apqn);
        match code {
            ResponseCode::NORMAL => {
                let (status, _) = self.tapq(apqn, false);
                if Look::of(status) == Look::Settled {
                    self.end_reset(apqn, code);
                } else {
                    self.begin_reset(apqn, code);
                }
            }
            code if is_unfinished(code) => self.begin_reset(apqn, code),
            ResponseCode::DECONFIGURED | ResponseCode::CHECKSTOPPED => self.end_reset(apqn, code),
            _ => {
                self.log(format!(
                    "reset of queue {apqn} failed: response code {code}"
                ));
                self.end_reset(apqn, code);
            }
        }
    }

    /// Resets the queues of a product that are bound to `vfio_ap`.
    pub(crate) fn reset_bound(&mut self, product: &Apcb) {
        for apqn in self.state.bound_within(product) {
            self.reset_queue(apqn);
        }
    }

    /// ZAPQ; its answer decides whether a guest may have the queue.
    fn zeroize(&mut self, apqn: Apqn) -> ResponseCode {
        let code = self.zapq(apqn).code;
        if let Some(status) = self.state.queues.get_mut(&apqn) {
            *status = code;
        }
        code
    }

    /// A reset goes on. One that is under way already keeps the time of its next look, so that no
    /// sequence of resets can put off the end of another.
    fn begin_reset(&mut self, apqn: Apqn, status: ResponseCode) {
        match self.state.resets.get_mut(&apqn) {
            Some(reset) => reset.status = status,
            None => self.state.resets.insert_mut(apqn, Reset::new(status)),
        }
    }

    /// Time has passed: looks at the queues whose time has come. `is_taken` tells queues that the
    /// host's own drivers have by now: those are left alone, and only watched.
    pub(crate) fn pass_time(&mut self, passed: Duration, is_taken: &dyn Fn(Apqn) -> bool) {
        let running: Vec<Apqn> = self.state.resetting().collect();
        for apqn in running {
            let Some(reset) = self.state.resets.get_mut(&apqn) else {
                continue;
            };
            reset.waited += passed;
            reset.next_look = reset.next_look.saturating_sub(passed);
            if reset.next_look.is_zero() {
                reset.next_look = LOOK_INTERVAL;
                self.look_at(apqn, is_taken(apqn));
            }
        }
    }

    fn look_at(&mut self, apqn: Apqn, is_taken: bool) {
        let (status, _) = self.tapq(apqn, false);
        let Some(reset) = self.state.resets.get_mut(&apqn) else {
            return;
        };
        let look = Look::of(status);
        let repeat = look == Look::AssociationError || is_unfinished(reset.status);
        match look {
            Look::Busy => {
                reset.looks += 1;
                // At 20, 40, 80 ... ms: a reset that hangs for minutes is not worth a line every time.
                if reset.looks.is_power_of_two() {
                    let waited = reset.waited.as_millis();
                    let code = status.code;
                    self.log(format!(
                        "Waited {waited}ms for reset of queue {apqn}: response code {code}"
                    ));
                }
            }
            Look::Settled | Look::AssociationError if repeat && !is_taken => {
                let code = self.zeroize(apqn);
                self.begin_reset(apqn, code);
            }
            Look::Settled | Look::AssociationError => {
                let status = reset.status;
                self.end_reset(apqn, status);
            }
            Look::Unexpected => {
                let ended = reset.status;
                let code = status.code;
                self.log(format!(
                    "reset of queue {apqn} given up: response code {code}"
                ));
                self.end_reset(apqn, ended);
            }
        }
    }

    /// A reset is over: what waited for it is done.
    fn end_reset(&mut self, apqn: Apqn, code: ResponseCode) {
        let Some(reset) = self.state.resets.get(&apqn).cloned() else {
            return;
        };
        self.state.resets.remove_mut(&apqn);
        self.effects.push(Effect::ResetEnded { apqn, code });
        for uuid in reset.held_by {
            self.let_go(uuid);
        }
        if let Some(uuid) = self.state.owner(apqn)
            && let Some(mdev) = self.state.mdev(uuid)
            && mdev.filter_again
        {
            let before = mdev.view;
            self.refilter_queues(uuid);
            if self
                .state
                .mdev(uuid)
                .is_some_and(|mdev| mdev.view != before)
            {
                self.effects.push(Effect::Filtered(uuid));
            }
        }
    }

    /// Makes an mdev wait for the resets of its bound queues; whether there are any.
    pub(crate) fn hold(&mut self, uuid: MdevUuid, product: &Apcb) -> bool {
        let mut waits = false;
        for apqn in self.state.bound_within(product) {
            if let Some(reset) = self.state.resets.get_mut(&apqn) {
                reset.held_by.push(uuid);
                waits = true;
            }
        }
        waits
    }

    /// One reset that an mdev waited for has ended; the last one completes its close or removal.
    fn let_go(&mut self, uuid: MdevUuid) {
        let mut rest = self.state.resets.values();
        if rest.any(|reset| reset.held_by.contains(&uuid)) {
            return;
        }
        let Some(mdev) = self.state.mdevs.get_mut(&uuid) else {
            return;
        };
        match mdev.usage {
            Usage::Closing => mdev.usage = Usage::Idle,
            Usage::Leaving => self.forget_mdev(uuid),
            Usage::Idle | Usage::Open(_) | Usage::Removing(_) => {}
        }
    }

    fn log(&mut self, line: String) {
        self.effects.push(Effect::Log(line));
    }
}
