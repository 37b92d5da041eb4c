//! The time that a thread has spent on a CPU: it does not run while others do.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of the thread that uses it.
#[derive(Debug)]
pub(crate) struct CpuClock {
    last: Duration,
}

impl CpuClock {
    /// Begins a lap.
    pub(crate) fn start() -> Self {
        Self { last: read() }
    }

    /// Time on a CPU since the last call, or since the start.
    pub(crate) fn lap(&mut self) -> Duration {
        let last = std::mem::replace(&mut self.last, read());
        self.last.saturating_sub(last)
    }
}

fn read() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // A thread's time is never negative.
    let (seconds, rest) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_while_the_thread_sleeps() {
        let mut clock = CpuClock::start();
        std::thread::sleep(Duration::from_millis(200));
        let asleep = clock.lap();
        let mut awake = Duration::ZERO;
        while awake < Duration::from_millis(2) {
            awake += clock.lap();
        }
        assert!(asleep < Duration::from_millis(100), "{asleep:?}");
    }
}
