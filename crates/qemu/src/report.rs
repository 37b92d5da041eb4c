//! A change of the AP configuration on its way to the guest.
//!
//! Linux looks at its AP bus when the channel subsystem says that the AP configuration changed. That
//! takes three steps, as on the real machine:
//!
//! ```text
//!            change           machine check         STCRW              CHSC 000e
//!   (none) --------> check ------------------> word -------> event ---------------> (none)
//!                      |   taken by a CPU              ^ |
//!                      +-------------------------------+ |
//!                          STCRW without waiting         +-- another change: back to check
//! ```
//!
//! A change that finds the word unread adds nothing: the guest is about to ask.

/// What the guest has not been told yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Report {
    check: bool,
    word: bool,
    event: bool,
}

impl Report {
    /// The configuration changed.
    pub(crate) fn change(&mut self) {
        self.event = true;
        if !self.word {
            self.word = true;
            self.check = true;
        }
    }

    /// Whether a machine check waits for a CPU.
    pub(crate) const fn has_check(self) -> bool {
        self.check
    }

    /// A CPU takes the machine check; false when there is none.
    pub(crate) fn take_check(&mut self) -> bool {
        std::mem::take(&mut self.check)
    }

    /// The machine check could not be delivered.
    pub(crate) fn give_check_back(&mut self) {
        self.check = self.word;
    }

    /// STCRW fetches the channel report word, and with it the machine check that would announce it.
    pub(crate) fn take_word(&mut self) -> bool {
        self.check = false;
        std::mem::take(&mut self.word)
    }

    /// CHSC fetches the event.
    pub(crate) fn take_event(&mut self) -> bool {
        std::mem::take(&mut self.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_one_check_one_word_one_event() {
        let mut report = Report::default();
        assert!(!report.take_word() && !report.take_event());
        report.change();
        report.change();
        assert!(report.take_check() && !report.take_check());
        assert!(report.take_word() && !report.take_word());
        assert!(report.take_event() && !report.take_event());
        assert_eq!(report, Report::default());
    }

    #[test]
    fn a_change_after_the_word_was_read_is_announced_again() {
        let mut report = Report::default();
        report.change();
        assert!(report.take_check() && report.take_word());
        report.change();
        assert!(report.has_check());
        assert!(report.take_event(), "one event answers both");
        assert!(report.take_check() && report.take_word() && !report.take_event());
    }

    #[test]
    fn a_word_that_was_read_needs_no_check() {
        let mut report = Report::default();
        report.change();
        assert!(report.take_check());
        report.give_check_back();
        assert!(report.has_check());
        assert!(report.take_word() && !report.has_check());
        report.give_check_back();
        assert!(!report.has_check());
    }
}
