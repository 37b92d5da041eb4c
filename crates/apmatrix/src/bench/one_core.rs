//! What computes is compared on one core at the same time: the kernel gives each side slices of a few
//! milliseconds in turn, and each counts by its own CPU time. Whatever slows the core down meets all.

use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One side of a comparison: measures, and returns what it did in a second of CPU time.
pub(super) type Side<'s> = Box<dyn FnOnce() -> Result<f64> + Send + 's>;

/// Runs all sides at the same time, each by a thread of its own, on the first core that this process may
/// use. Programs that a side starts run there as well.
///
/// # Errors
/// A side's, or when the kernel does not bind threads.
pub(super) fn side_by_side<const N: usize>(sides: [Side<'_>; N]) -> Result<[f64; N]> {
    let rates = thread::scope(|scope| {
        let started = sides.map(|side| {
            scope.spawn(|| {
                bind_to_first_core()?;
                side()
            })
        });
        started.map(|side| side.join().map_err(|_| anyhow!("a side failed"))?)
    });
    let mut all = [f64::NAN; N];
    for (slot, rate) in all.iter_mut().zip(rates) {
        *slot = rate?;
    }
    Ok(all)
}

fn bind_to_first_core() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(first.context("the thread may run nowhere")?);
    sched_setaffinity(None, &one)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> Result<f64> {
        let bound = sched_getaffinity(None)?;
        let core = (0..CpuSet::MAX_CPU).filter(|cpu| bound.is_set(*cpu));
        let core: Vec<usize> = core.collect();
        assert_eq!(core.len(), 1);
        Ok(core[0] as f64)
    }

    #[test]
    fn all_sides_are_on_one_core_and_the_caller_is_not_bound() {
        let before = sched_getaffinity(None).unwrap();
        let [a, b] = side_by_side([Box::new(core), Box::new(core)]).unwrap();
        assert_eq!(a, b);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn a_side_that_fails_is_an_error() {
        let fails: Side<'_> = Box::new(|| Err(anyhow!("no key")));
        let error = side_by_side([Box::new(core), fails]).unwrap_err();
        assert_eq!(error.to_string(), "no key");
    }
}
