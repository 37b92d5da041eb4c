//! The last refusals, with their reasons: what `apmatrix log` shows.
//!
//! A write to an attribute returns an errno and nothing else, as on a real host. Why it was refused is
//! kept here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arch::Errno;

use crate::control::{Refusal, Writer};

/// How many refusals are kept.
const KEPT: usize = 256;
/// Longer written texts are cut in the log.
const MAX_TEXT: usize = 300;

/// Who writes to an attribute, as FUSE tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The writing thread's number; 0 when the daemon cannot see it.
    pub(crate) pid: u32,
    /// Its user.
    pub(crate) uid: u32,
}

impl Asker {
    /// Looks up the name. Whoever writes is still in write(2) until it is answered, so that the
    /// number cannot have been given to another process yet (unless the writer was killed).
    fn look(self) -> Writer {
        let file = format!("/proc/{}/comm", self.pid);
        let command = match self.pid {
            0 => String::new(),
            _ => std::fs::read_to_string(file).unwrap_or_default(),
        };
        Writer {
            pid: self.pid,
            uid: self.uid,
            command: command.trim_end().to_owned(),
        }
    }
}

/// A bounded log of refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Refusal>,
    count: u64,
}

impl Refusals {
    /// Keeps one refusal: what was asked and the text written, by whom, the errno answered, and why.
    pub(crate) fn record(
        &self,
        (what, text): (&str, &[u8]),
        asker: Option<Asker>,
        errno: Errno,
        reason: String,
    ) {
        let writer = asker.map(Asker::look);
        let command = writer.as_ref().map(|writer| writer.command.as_str());
        tracing::info!(what, errno = errno.name(), command, "refused: {reason}");
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
            writer,
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
            let asker = Asker {
                pid: std::process::id(),
                uid: 7,
            };
            let reason = format!("reason {n}");
            refusals.record(("bus/ap/apmask", b"zz"), Some(asker), Errno::EINVAL, reason);
        }
        let all = refusals.all();
        assert_eq!(all.len(), 256);
        assert_eq!((all[0].number, all[255].number), (45, 300));
        assert_eq!(all[255].reason, "reason 299");
        let writer = all[255].writer.clone().expect("it is known");
        assert_eq!((writer.pid, writer.uid), (std::process::id(), 7));
        assert!(!writer.command.is_empty(), "{writer:?}");
    }

    #[test]
    fn a_writer_that_cannot_be_seen_has_no_name() {
        assert_eq!(Asker { pid: 0, uid: 0 }.look().command, "");
    }
}
