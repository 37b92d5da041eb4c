//! How the default driver starts a queue (spec 2.8): a reset, which may take time, then interrupts.
//!
//! ```text
//!            RAPQ 00                                  TAPQ 00
//!   start ---------------------------> Operating <-----------------+
//!     |  02                                                        |
//!     +------> Resetting -- after 40 ms, and at a scan: TAPQ ------+-- 02, 05: still Resetting
//!     |                                                            |
//!     |  other                                                     | other
//!     +------------------------------> Error <---------------------+
//!                                        | next scan, if usable: start again
//! ```
//! The bus never waits: who owns it tells it how much time has passed.

use std::time::Duration;

use arch::{Apqn, AqicControl, ResponseCode};

use crate::device::{Driver, QueueState};
use crate::driver::QueueDriver;
use crate::state::Bus;

/// Host interruption subclass of the AP bus (spec 6.5).
pub const BUS_ISC: u8 = 6;

/// Between two looks at a queue that is being reset: 25 times a second (spec 2.8).
pub const LOOK_INTERVAL: Duration = Duration::from_millis(40);

impl Bus {
    /// The default driver's start of a queue.
    pub(crate) fn start_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        match side.rapq(apqn).code {
            ResponseCode::NORMAL => self.operate(apqn, side),
            ResponseCode::RESET_IN_PROGRESS => {
                self.resetting.insert_mut(apqn, LOOK_INTERVAL);
                self.set_state(apqn, QueueState::Resetting, false);
            }
            code => self.fail(apqn, code),
        }
    }

    /// Time has passed: looks at the queues whose time has come.
    pub fn pass_time(&mut self, passed: Duration, side: &mut dyn QueueDriver) {
        let running: Vec<(Apqn, Duration)> = self
            .resetting
            .iter()
            .map(|(apqn, left)| (*apqn, left.saturating_sub(passed)))
            .collect();
        for (apqn, left) in running {
            self.resetting.insert_mut(apqn, left);
            if left.is_zero() {
                self.look_at(apqn, side);
            }
        }
    }

    /// Time until the next look at a queue that the default driver has reset; `None` when no reset
    /// takes time.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        self.resetting.values().min().copied()
    }

    /// Looks whether the reset of a queue has ended.
    pub(crate) fn look_at(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        match self.test(apqn, side).0.code {
            ResponseCode::NORMAL => self.operate(apqn, side),
            ResponseCode::RESET_IN_PROGRESS | ResponseCode::BUSY => {
                self.resetting.insert_mut(apqn, LOOK_INTERVAL);
            }
            code => self.fail(apqn, code),
        }
    }

    /// The default driver has the queue no more.
    pub(crate) fn stop_queue(&mut self, apqn: Apqn) {
        self.resetting.remove_mut(&apqn);
        self.set_state(apqn, QueueState::Uninitiated, false);
    }

    fn operate(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        self.resetting.remove_mut(&apqn);
        let interrupts = self.enable_interrupts(apqn, side);
        self.set_state(apqn, QueueState::Operating, interrupts);
    }

    fn fail(&mut self, apqn: Apqn, code: ResponseCode) {
        self.resetting.remove_mut(&apqn);
        self.set_state(apqn, QueueState::Error(code), false);
    }

    fn set_state(&mut self, apqn: Apqn, state: QueueState, interrupts: bool) {
        if let Some(queue) = self.queues.get_mut(&apqn) {
            (queue.state, queue.interrupts) = (state, interrupts);
        }
    }

    /// Enables interrupts of a queue for the default driver, if the bus uses them; whether they are
    /// enabled then.
    pub(crate) fn enable_interrupts(&self, apqn: Apqn, side: &mut dyn QueueDriver) -> bool {
        let area = self
            .config
            .notification_area
            .filter(|_| self.uses_interrupts());
        area.is_some_and(|area| {
            let nib = area + u64::from(apqn.to_u16());
            let answer = side.aqic(apqn, AqicControl::enable(BUS_ISC), nib).code;
            matches!(
                answer,
                ResponseCode::NORMAL | ResponseCode::OTHERWISE_CHANGED
            )
        })
    }

    /// Whether one of the host's own drivers has the queue.
    #[must_use]
    pub fn is_host_driven(&self, apqn: Apqn) -> bool {
        let queue = self.queues.get(&apqn);
        queue.is_some_and(|queue| queue.driver.is_some_and(Driver::is_default))
    }
}
