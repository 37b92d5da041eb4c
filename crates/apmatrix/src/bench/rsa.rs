//! RSA through a queue of a machine in this process, on one core: what the cards' computing costs without
//! sessions, engines and guests.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arch::{ApInstructions, Apqn, ResponseCode};
use cex::keys::HashKey;
use cex::reference::ReferenceKey;
use guest::type50::Request;
use machine::{HostCpu, Machine, PartitionConfig, Ran, Scratch};

use crate::cpu_clock::CpuClock;
use crate::workload;

/// The machine's only queue.
const QUEUE: Apqn = Apqn::new(5, 4);
/// Room for any reply of an accelerator.
const REPLY_ROOM: usize = 12 * 1024;

/// A CRT request and its right answer.
#[derive(Debug)]
pub(super) struct KnownCrt {
    /// The request.
    pub(super) request: Request,
    /// What OpenSSL's own RSA answers.
    pub(super) expected: Vec<u8>,
}

impl KnownCrt {
    /// A request with a random message and this key.
    ///
    /// # Errors
    /// OpenSSL's.
    pub(super) fn new(key: &ReferenceKey) -> Result<Self> {
        let message = key.random_message()?;
        Ok(Self {
            request: workload::private(key, &message).encode()?,
            expected: key.private(&message)?,
        })
    }

    /// A request with a new key of `bits`.
    ///
    /// # Errors
    /// OpenSSL's.
    pub(super) fn generate(bits: u32) -> Result<Self> {
        let key = ReferenceKey::generate(bits).context("OpenSSL cannot make a key")?;
        Self::new(&key)
    }
}

/// A machine with one accelerator whose engine is the calling thread.
#[derive(Debug)]
pub(super) struct OneEngine {
    machine: Machine,
    scratch: Scratch,
    reply: Vec<u8>,
}

impl OneEngine {
    /// # Errors
    /// When there is no such machine.
    pub(super) fn new() -> Result<Self> {
        let partition = PartitionConfig::parse_spec("card 5 14 A; dom 4")?;
        Ok(Self {
            // The hash need not be unpredictable: these keys are all our own.
            machine: Machine::keeping_keys(&partition, Box::new(|_| {}), HashKey::new(&[0; 16]))?,
            scratch: Scratch::new(),
            reply: vec![0; REPLY_ROOM],
        })
    }

    /// Requests per second of CPU time, the whole way from NQAP to DQAP, in turn for about `time` by the
    /// wall. Every answer is compared.
    ///
    /// # Errors
    /// When an answer is wrong.
    pub(super) fn rate(&mut self, requests: &[KnownCrt], time: Duration) -> Result<f64> {
        rate_of(time, || {
            for request in requests {
                self.compute(request)?;
            }
            Ok(requests.len())
        })
    }

    fn compute(&mut self, known: &KnownCrt) -> Result<()> {
        let mut cpu: HostCpu<&Machine> = self.machine.host();
        let message = &known.request.message;
        let accepted = cpu.nqap(QUEUE, 1, false, message);
        ensure!(accepted.code == ResponseCode::NORMAL, "NQAP: {accepted:?}");
        let ran = self.machine.run_one(QUEUE, &mut self.scratch);
        ensure!(matches!(ran, Ran::Replied { .. }), "the engine: {ran:?}");
        let stored = cpu.dqap(QUEUE, &mut self.reply).stored;
        let result = self.reply.get(..stored);
        let is_right = result.is_some_and(|reply| reply.ends_with(&known.expected));
        ensure!(is_right, "an answer differs from OpenSSL's");
        Ok(())
    }
}

/// OpenSSL's own RSA as the cards are linked with it: operations per second of CPU time.
///
/// # Errors
/// OpenSSL's.
pub(super) fn linked_openssl_rate(bits: u32, time: Duration) -> Result<f64> {
    let key = ReferenceKey::generate(bits).context("OpenSSL cannot make a key")?;
    let message = key.random_message()?;
    // The first use prepares the key.
    let expected = key.private(&message)?;
    rate_of(time, || {
        ensure!(key.private(&message)? == expected, "OpenSSL errs");
        Ok(1)
    })
}

/// How many times in a second of CPU time something is done; `work` does it some times and says how many.
fn rate_of(time: Duration, mut work: impl FnMut() -> Result<usize>) -> Result<f64> {
    let (start, mut clock) = (Instant::now(), CpuClock::start());
    let mut count = 0;
    while start.elapsed() < time {
        count += work()?;
    }
    Ok(count as f64 / clock.lap().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_no_rate() {
        let mut known = KnownCrt::generate(1024).unwrap();
        let mut engine = OneEngine::new().unwrap();
        let time = Duration::from_millis(1);
        assert!(engine.rate(std::slice::from_ref(&known), time).unwrap() > 0.0);
        known.expected[5] ^= 1;
        assert!(engine.rate(&[known], time).is_err());
    }
}
