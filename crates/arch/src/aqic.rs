//! The AQIC control word (spec 6.1).

/// GR1 of PQAP(AQIC).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct AqicControl(pub u64);

impl AqicControl {
    const ENABLE: u64 = 1 << 47;

    /// The control word that enables interrupts on `isc` (0..=7).
    #[must_use]
    pub const fn enable(isc: u8) -> Self {
        Self(Self::ENABLE | (isc & 7) as u64)
    }

    /// The control word that disables interrupts.
    pub const DISABLE: Self = Self(0);

    /// IR: whether interrupts are to be enabled.
    #[must_use]
    pub const fn enables(self) -> bool {
        self.0 & Self::ENABLE != 0
    }

    /// The interruption subclass, 0..=7.
    #[must_use]
    pub const fn isc(self) -> u8 {
        self.0.to_be_bytes()[7] & 7
    }
}
