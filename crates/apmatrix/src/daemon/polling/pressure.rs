//! Whether processors are short, as a thread can tell that does nothing but work: what it did not run, it
//! waited.

use std::time::{Duration, Instant};

use crate::cpu_clock::CpuClock;

/// How long a thread works before it judges.
const WINDOW: Duration = Duration::from_millis(10);
/// Processors are short for a thread that has waited for this part of a window: others that want one get
/// at least a few milliseconds at once, a thread that has work for microseconds does no harm.
const PART: u32 = 8;

/// What a thread that does not sleep sees of the others' need for processors.
#[derive(Debug)]
pub(super) struct Pressure {
    clock: CpuClock,
    /// When the window began, if one has.
    since: Option<Instant>,
}

impl Pressure {
    /// For the calling thread.
    pub(super) fn new() -> Self {
        Self {
            clock: CpuClock::start(),
            since: None,
        }
    }

    /// For a thread that is to find processors enough, however busy the machine is that tests it.
    #[cfg(test)]
    pub(super) fn never_high() -> Self {
        Self {
            since: Some(Instant::now() + Duration::from_secs(3600)),
            ..Self::new()
        }
    }

    /// The thread has slept, or is going to: what was seen up to here says nothing.
    pub(super) const fn forget(&mut self) {
        self.since = None;
    }

    /// Whether a window has ended in which the thread waited too much. The thread has not slept since the
    /// last call, or has said so by [`forget`](Self::forget).
    pub(super) fn is_high(&mut self, now: Instant) -> bool {
        let Some(since) = self.since else {
            self.since = Some(now);
            self.clock.lap();
            return false;
        };
        let window = now.saturating_duration_since(since);
        if window < WINDOW {
            return false;
        }
        self.since = Some(now);
        let waited = window.saturating_sub(self.clock.lap());
        waited > window / PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_finds_processors_short() {
        let mut pressure = Pressure::new();
        assert!(!pressure.is_high(Instant::now()), "it has seen nothing yet");
        std::thread::sleep(2 * WINDOW);
        assert!(pressure.is_high(Instant::now()));
    }

    #[test]
    fn a_thread_that_runs_does_not() {
        let mut pressure = Pressure::new();
        let begin = Instant::now();
        assert!(!pressure.is_high(begin));
        // A window by the clock of the thread: whatever else it waited for does not count then.
        let (mut clock, mut ran) = (CpuClock::start(), Duration::ZERO);
        while ran < WINDOW {
            ran += clock.lap();
        }
        assert!(!pressure.is_high(begin + ran));
    }

    #[test]
    fn what_was_before_sleep_is_forgotten() {
        let mut pressure = Pressure::new();
        let begin = Instant::now();
        assert!(!pressure.is_high(begin));
        std::thread::sleep(2 * WINDOW);
        pressure.forget();
        assert!(!pressure.is_high(Instant::now()));
    }

    #[test]
    fn a_window_that_is_not_over_says_nothing() {
        let mut pressure = Pressure::new();
        let begin = Instant::now();
        assert!(!pressure.is_high(begin));
        assert!(!pressure.is_high(begin + WINDOW / 2));
    }
}
