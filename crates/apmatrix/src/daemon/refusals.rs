//! The last refusals, with their reasons: what `apmatrix log` shows.
//!
//! A write to an attribute returns an errno and nothing else, as on a real host. Why it was refused is
//! kept here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arch::Errno;

use crate::control::Refusal;

/// How many refusals are kept.
const KEPT: usize = 256;
/// Longer written texts are cut in the log.
const MAX_TEXT: usize = 300;

/// A bounded log of refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Refusal>,
    count: u64,
}

impl Refusals {
    /// Keeps one refusal: what was asked, the text written, the errno answered, and why.
    pub(crate) fn record(&self, what: &str, text: &[u8], errno: Errno, reason: String) {
        tracing::info!(what, errno = errno.name(), "refused: {reason}");
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let entry = Refusal {
            number: kept.count,
            time,
            what: what.to_owned(),
            text: String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]).into_owned(),
            errno: errno.name().to_owned(),
            reason,
        };
        if kept.entries.len() == KEPT {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry);
    }

    /// The kept refusals, oldest first.
    pub(crate) fn all(&self) -> Vec<Refusal> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_256_are_kept_and_numbers_go_on() {
        let refusals = Refusals::default();
        for n in 0..300 {
            refusals.record("bus/ap/apmask", b"zz", Errno::EINVAL, format!("reason {n}"));
        }
        let all = refusals.all();
        assert_eq!(all.len(), 256);
        assert_eq!((all[0].number, all[255].number), (45, 300));
        assert_eq!(all[255].reason, "reason 299");
    }
}
