//! What is compared is measured in turns, and the median of the turns counts: whatever else the machine
//! does meets both sides.

use std::fs;

/// The middle of some values; not a number if there are none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that 99 of 100 do not exceed; not a number if there are none.
pub(super) fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() * 99).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Values of several things that were measured in the same rounds.
#[derive(Debug)]
pub(super) struct Rounds<const N: usize>(Vec<[f64; N]>);

impl<const N: usize> Default for Rounds<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<const N: usize> Rounds<N> {
    /// One more round.
    pub(super) fn add(&mut self, values: [f64; N]) {
        self.0.push(values);
    }

    /// The medians of each thing.
    pub(super) fn medians(&self) -> [f64; N] {
        std::array::from_fn(|at| self.of(|round| round[at]))
    }

    /// The median of what `value` makes of each round, as a ratio.
    pub(super) fn of(&self, value: impl Fn(&[f64; N]) -> f64) -> f64 {
        median(self.0.iter().map(value).collect())
    }
}

/// How many threads wanted a CPU in the last minute, as the kernel averages it.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan() && p99(Vec::new()).is_nan());
        assert_eq!(p99((1..=100).map(f64::from).collect()), 99.0);
        assert_eq!(p99((1..=1000).map(f64::from).collect()), 990.0);
        assert_eq!(p99(vec![7.0]), 7.0);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let mut rounds = Rounds::default();
        // The machine was slower in the second round, for both.
        for values in [[10.0, 20.0], [1.0, 2.0], [9.0, 20.0]] {
            rounds.add(values);
        }
        assert_eq!(rounds.medians(), [9.0, 20.0]);
        assert_eq!(rounds.of(|[a, b]| a / b), 0.5);
    }
}
