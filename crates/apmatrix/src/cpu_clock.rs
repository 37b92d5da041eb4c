//! The time that a thread has spent on a CPU: it does not run while others do.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Work that is over so soon was not interrupted for others: they would have run for longer.
const SHORT: Duration = Duration::from_micros(20);

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

    /// What work has cost that has taken `time`, up to now. The clock, which costs more to read than
    /// the least work, is read for long work only; it then shows what the thread did since it was read
    /// last, and `time` if it was read long ago.
    pub(crate) fn cost(&mut self, time: Duration) -> Duration {
        if time < SHORT {
            time
        } else {
            self.lap().min(time)
        }
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
    fn work_costs_what_the_thread_ran_and_no_more_than_it_took() {
        let mut clock = CpuClock::start();
        let short = SHORT / 2;
        assert_eq!(clock.cost(short), short);
        std::thread::sleep(Duration::from_millis(200));
        assert!(clock.cost(Duration::from_millis(200)) < Duration::from_millis(100));
        let mut ran = Duration::ZERO;
        let mut other = CpuClock::start();
        while ran < 4 * SHORT {
            ran += other.lap();
        }
        assert_eq!(clock.cost(SHORT), SHORT);
    }

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
