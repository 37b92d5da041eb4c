//! Rounds in which every contender has its turn.

use std::error::Error;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::operation::{Contender, KeyNumbers, Operation};

/// How long it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// CPU time of one turn; at least one operation is done in it.
    pub(crate) turn: Duration,
}

/// One contender's speed.
#[derive(Clone, Copy)]
pub(crate) struct Speed {
    /// Operations per second.
    pub(crate) rate: f64,
    /// Relative to the first contender, the median of the rounds' ratios.
    pub(crate) ratio: f64,
}

/// CPU time of this thread: what else the machine does meets no number.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Every contender must have the same right result, more than once: a key may be prepared at its second
/// use.
///
/// # Errors
/// When one cannot compute it, or another number came out.
pub(crate) fn check(
    contenders: &mut [Box<dyn Contender + '_>],
    operation: Operation,
    numbers: &KeyNumbers,
) -> Result<(), Box<dyn Error>> {
    let expected = numbers.expected(operation);
    for contender in contenders {
        for _ in 0..3 {
            let mut result = vec![0xff; expected.len()];
            if !contender.run(operation, &mut result) || result != expected {
                let name = contender.name();
                return Err(format!("{name} computes something else: {operation:?}").into());
            }
        }
    }
    Ok(())
}

/// The speed of each contender, in their order.
///
/// # Errors
/// When an operation fails.
pub(crate) fn measure(
    contenders: &mut [Box<dyn Contender + '_>],
    operation: Operation,
    plan: Plan,
) -> Result<Vec<Speed>, Box<dyn Error>> {
    let mut result = vec![0; crate::BITS[crate::BITS.len() - 1] as usize / 8];
    let mut rates = vec![Vec::new(); contenders.len()];
    for _ in 0..plan.rounds {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            let (start, mut count) = (cpu_time(), 0u32);
            let spent = loop {
                if !contender.run(operation, &mut result) {
                    return Err(format!("{} failed: {operation:?}", contender.name()).into());
                }
                count += 1;
                let spent = cpu_time() - start;
                if spent >= plan.turn {
                    break spent;
                }
            };
            rates.push(f64::from(count) / spent.as_secs_f64());
        }
    }
    let speeds = rates.iter().map(|own| {
        let ratios = own.iter().zip(&rates[0]).map(|(own, first)| own / first);
        Speed {
            rate: median(own.clone()),
            ratio: median(ratios.collect()),
        }
    });
    Ok(speeds.collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
