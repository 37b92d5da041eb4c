//! The adapter interruptions that the guest has enabled, kept over a daemon's death.
//!
//! ```text
//!   AQIC enable, 00 --> enabled[queue] = control word, notification byte
//!   AQIC disable, RAPQ, ZAPQ, DMA_UNMAP, RESET, no such queue --> the queue is in neither any more
//!   another daemon --> AQIC again for each of them, and an alert is owed for it
//! ```
//!
//! Closing the device has disabled them, and no guest can know: one that waits for an interruption would
//! wait for ever. So a new session begins with what the guest had, before the guest executes anything
//! in it, and whoever waits for a reply is told to look. A queue that answers AQIC otherwise stays
//! without interruptions; the guest sees that in its status, and is told to look as well.

use std::collections::BTreeMap;
use std::ops::Range;

use arch::{Apqn, AqicControl, Instruction, Outcome, ResponseCode};

use crate::backend::Alert;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Enablement {
    /// Control word and address of the notification byte.
    enabled: BTreeMap<Apqn, (AqicControl, u64)>,
    /// Interruptions that tell the guest to look at a queue that was reset behind its back.
    owed: BTreeMap<Apqn, Alert>,
}

impl Enablement {
    /// Follows what an instruction of the guest did, also while the daemon is away.
    pub(crate) fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        let (Some(apqn), Some(status)) = (instruction.apqn(), outcome.status()) else {
            return;
        };
        match (instruction, status.code) {
            (Instruction::Aqic { control, nib, .. }, ResponseCode::NORMAL) if control.enables() => {
                self.enabled.insert(apqn, (*control, *nib));
            }
            // A reset that has begun has disabled them already.
            (
                Instruction::Aqic { .. } | Instruction::Rapq { .. } | Instruction::Zapq { .. },
                ResponseCode::NORMAL,
            )
            | (
                Instruction::Rapq { .. } | Instruction::Zapq { .. },
                ResponseCode::RESET_IN_PROGRESS,
            )
            | (_, ResponseCode::NOT_AVAILABLE) => {
                self.enabled.remove(&apqn);
                self.owed.remove(&apqn);
            }
            _ => {}
        }
    }

    /// All queues are reset.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The guest has no memory there any more.
    pub(crate) fn unmapped(&mut self, range: &Range<u64>) {
        self.enabled.retain(|_, (_, nib)| !range.contains(nib));
        self.owed.retain(|_, alert| !range.contains(&alert.nib));
    }

    /// Whether the guest has enabled those of a queue.
    pub(crate) fn has(&self, apqn: Apqn) -> bool {
        self.enabled.contains_key(&apqn)
    }

    /// Subclass and address of the notification byte of a queue that has them enabled.
    pub(crate) fn of(&self, apqn: Apqn) -> Option<(u8, u64)> {
        let (control, nib) = self.enabled.get(&apqn)?;
        Some((control.isc(), *nib))
    }

    /// What a new session has to execute, each to be followed by [`restored`](Self::restored).
    pub(crate) fn again(&self) -> Vec<(Apqn, AqicControl, u64)> {
        let aqic = |(apqn, (control, nib)): (&Apqn, &(AqicControl, u64))| (*apqn, *control, *nib);
        self.enabled.iter().map(aqic).collect()
    }

    /// The new session has answered AQIC for a queue.
    pub(crate) fn restored(&mut self, apqn: Apqn, code: ResponseCode) {
        let Some((control, nib)) = self.enabled.get(&apqn).copied() else {
            return;
        };
        let alert = Alert {
            apqn,
            isc: control.isc(),
            nib,
            replies: 1,
        };
        self.owed.insert(apqn, alert);
        if !matches!(code, ResponseCode::NORMAL | ResponseCode::OTHERWISE_CHANGED) {
            self.enabled.remove(&apqn);
        }
    }

    /// Whether there is an alert that the daemon does not know of.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Takes the alerts that the daemon does not know of.
    pub(crate) fn take_owed(&mut self) -> impl Iterator<Item = Alert> {
        std::mem::take(&mut self.owed).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::QueueStatus;

    const APQN: Apqn = Apqn::new(5, 4);
    const NIB: u64 = 0x1000;
    const CONTROL: AqicControl = AqicControl::enable(6);

    fn follow(enablement: &mut Enablement, instruction: &Instruction<'_>, code: ResponseCode) {
        enablement.follow(instruction, &Outcome::Status(QueueStatus::code_only(code)));
    }

    fn aqic(control: AqicControl, nib: u64) -> Instruction<'static> {
        Instruction::Aqic {
            apqn: APQN,
            control,
            nib,
        }
    }

    fn enabled() -> Enablement {
        let mut enablement = Enablement::default();
        follow(&mut enablement, &aqic(CONTROL, NIB), ResponseCode::NORMAL);
        enablement
    }

    #[test]
    fn only_a_successful_aqic_enables() {
        let mut enablement = Enablement::default();
        for code in [
            ResponseCode::RESET_IN_PROGRESS,
            ResponseCode::INVALID_ADDRESS,
            ResponseCode::OTHERWISE_CHANGED,
        ] {
            follow(&mut enablement, &aqic(CONTROL, NIB), code);
            assert!(!enablement.has(APQN), "{code:?}");
        }
        assert!(enabled().has(APQN));
    }

    #[test]
    fn what_disables_takes_back_what_is_owed() {
        use ResponseCode as Code;
        let apqn = APQN;
        let (rapq, zapq) = (
            Instruction::Rapq { apqn, force: false },
            Instruction::Zapq { apqn, force: false },
        );
        let tapq = Instruction::Tapq {
            apqn,
            facilities: true,
        };
        for (instruction, code, ends) in [
            (aqic(AqicControl::DISABLE, 0), Code::NORMAL, true),
            (
                aqic(AqicControl::DISABLE, 0),
                Code::RESET_IN_PROGRESS,
                false,
            ),
            (rapq, Code::NORMAL, true),
            (rapq, Code::RESET_IN_PROGRESS, true),
            (zapq, Code::NORMAL, true),
            (zapq, Code::DECONFIGURED, false),
            (tapq, Code::NORMAL, false),
            (tapq, Code::RESET_IN_PROGRESS, false),
            (tapq, Code::NOT_AVAILABLE, true),
        ] {
            let mut enablement = enabled();
            enablement.restored(APQN, Code::NORMAL);
            follow(&mut enablement, &instruction, code);
            assert_eq!(enablement.has(APQN), !ends, "{instruction:?} {code:?}");
            assert_eq!(enablement.owes(), !ends, "{instruction:?} {code:?}");
        }
        let mut enablement = enabled();
        enablement.restored(APQN, Code::NORMAL);
        enablement.unmapped(&(NIB + 1..NIB + 2));
        assert!(enablement.has(APQN) && enablement.owes());
        enablement.unmapped(&(NIB..NIB + 1));
        assert!(!enablement.has(APQN) && !enablement.owes());
    }

    #[test]
    fn a_queue_that_refuses_is_told_of_once() {
        let mut enablement = enabled();
        assert_eq!(enablement.again(), [(APQN, CONTROL, NIB)]);
        enablement.restored(APQN, ResponseCode::BUSY);
        let alert = Alert {
            apqn: APQN,
            isc: 6,
            nib: NIB,
            replies: 1,
        };
        assert_eq!(enablement.take_owed().collect::<Vec<_>>(), [alert]);
        assert!(!enablement.owes() && enablement.again().is_empty());
    }
}
