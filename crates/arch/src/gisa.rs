//! The guest interruption state area, as far as adapter interruptions need it (spec 6.5).
//!
//! ```text
//!   enable on an ISC:  references 0 -> 1   sets its bit in the alert mask (IAM)
//!   disable:           references 1 -> 0   clears it
//!   reply arrives:     sets its bit in the pending mask (IPM); an alert if IAM has it too: somebody
//!                      must see that a CPU of the guest looks
//!   a CPU takes it:    lowest ISC that is pending and enabled in control register 6
//! ```

/// Number of interruption subclasses.
pub const SUBCLASSES: usize = 8;

/// Pending and alert mask with the reference counts behind it. Subclass *n* is bit `0x80 >> n`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gisa {
    pending: u8,
    alert: u8,
    references: [u32; SUBCLASSES],
}

impl Gisa {
    /// One more queue interrupts on `isc` (0..=7).
    pub fn register(&mut self, isc: u8) {
        self.references[usize::from(isc & 7)] += 1;
        self.alert |= bit(isc);
    }

    /// One queue less does; false when none did.
    pub fn unregister(&mut self, isc: u8) -> bool {
        let references = &mut self.references[usize::from(isc & 7)];
        let had = *references != 0;
        *references = references.saturating_sub(1);
        if *references == 0 {
            self.alert &= !bit(isc);
        }
        had
    }

    /// Queues that interrupt on `isc`.
    #[must_use]
    pub const fn references(&self, isc: u8) -> u32 {
        self.references[(isc & 7) as usize]
    }

    /// IAM.
    #[must_use]
    pub const fn alert_mask(&self) -> u8 {
        self.alert
    }

    /// IPM.
    #[must_use]
    pub const fn pending_mask(&self) -> u8 {
        self.pending
    }

    /// An adapter interruption on `isc` is due; whether a CPU must be made to look.
    pub const fn make_pending(&mut self, isc: u8) -> bool {
        self.pending |= bit(isc);
        self.alert & bit(isc) != 0
    }

    /// The subclass of the interruption that a CPU with this control register 6 takes, if any: the
    /// lowest. It is not pending any more.
    pub fn take(&mut self, control_register_6: u64) -> Option<u8> {
        let [_, _, _, _, enabled, _, _, _] = control_register_6.to_be_bytes();
        let isc = (0..8).find(|isc| self.pending & enabled & bit(*isc) != 0)?;
        self.pending &= !bit(isc);
        Some(isc)
    }
}

const fn bit(isc: u8) -> u8 {
    0x80 >> (isc & 7)
}

/// The interruption word that an adapter interruption stores: an adapter's, and its subclass.
#[must_use]
pub const fn interruption_word(isc: u8) -> u32 {
    0x8000_0000 | ((isc & 7) as u32) << 27
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_mask_follows_the_references() {
        let mut gisa = Gisa::default();
        gisa.register(3);
        gisa.register(3);
        assert_eq!((gisa.references(3), gisa.alert_mask()), (2, 0x10));
        assert!(gisa.unregister(3));
        assert_eq!((gisa.references(3), gisa.alert_mask()), (1, 0x10));
        assert!(gisa.unregister(3) && !gisa.unregister(3));
        assert_eq!((gisa.references(3), gisa.alert_mask()), (0, 0));
    }

    #[test]
    fn the_lowest_enabled_subclass_is_taken_once() {
        let mut gisa = Gisa::default();
        gisa.register(6);
        assert!(!gisa.make_pending(2), "nobody wants to be alerted");
        assert!(gisa.make_pending(6));
        assert_eq!(gisa.pending_mask(), 0x22);
        assert_eq!(gisa.take(0), None);
        assert_eq!(gisa.take(0x0200_0000), Some(6));
        assert_eq!(gisa.take(0xff00_0000), Some(2));
        assert_eq!(gisa.take(0xff00_0000), None);
        assert_eq!(interruption_word(6), 0xb000_0000);
    }
}
