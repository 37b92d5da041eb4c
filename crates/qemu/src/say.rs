//! Messages for whoever started QEMU, on its standard error.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Prints one line. A closed standard error is no reason to stop a guest.
pub(crate) fn say(message: fmt::Arguments<'_>) {
    let _printed = writeln!(std::io::stderr(), "apmatrix: {message}");
}

/// Lets through a few messages and then one in a while, for messages that a guest can provoke.
#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: u32,
    refilled: Option<Instant>,
    dropped: u64,
}

impl Limiter {
    const BURST: u32 = 5;
    const PERIOD: Duration = Duration::from_secs(10);

    /// A limiter that has let nothing through yet.
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                tokens: Self::BURST,
                refilled: None,
                dropped: 0,
            }),
        }
    }

    /// Prints one line, or counts it among those that were left out.
    pub(crate) fn say(&self, message: fmt::Arguments<'_>) {
        match self.admit(Instant::now()) {
            None => {}
            Some(0) => say(message),
            Some(dropped) => say(format_args!("{message} ({dropped} messages left out)")),
        }
    }

    /// Whether a message may be printed at `now`, and how many were not since the last one.
    fn admit(&self, now: Instant) -> Option<u64> {
        // Another vCPU that prints right now is reason enough to leave this message out.
        let mut state = self.state.try_lock().ok()?;
        let since = state.refilled.map(|refilled| now.duration_since(refilled));
        if since.is_none_or(|since| since >= Self::PERIOD) {
            state.refilled = Some(now);
            state.tokens = Self::BURST;
        }
        if state.tokens == 0 {
            state.dropped += 1;
            return None;
        }
        state.tokens -= 1;
        Some(std::mem::take(&mut state.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_silence_then_the_count() {
        let limiter = Limiter::new();
        let start = Instant::now();
        for _ in 0..Limiter::BURST {
            assert_eq!(limiter.admit(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limiter.admit(start), None);
        }
        assert_eq!(limiter.admit(start + Limiter::PERIOD), Some(7));
        assert_eq!(limiter.admit(start + Limiter::PERIOD), Some(0));
    }
}
