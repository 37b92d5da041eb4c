//! Adapter, domain and queue numbers (spec 1.1).

use core::fmt;
use core::str::FromStr;

/// Adapter (card) number, 0..=255. Prints as in `card0a`: two lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Apid(pub u8);

/// AP queue index, which is the usage or control domain number, 0..=255. Prints as four lower-case
/// hex digits, as in `05.00ab`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Apqi(pub u8);

/// AP queue number: an adapter and one of its domains. Prints as `05.00ab`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Apqn {
    /// The adapter.
    pub apid: Apid,
    /// The usage domain.
    pub apqi: Apqi,
}

impl Apqn {
    /// The queue of adapter `apid` and domain `apqi`.
    #[must_use]
    pub const fn new(apid: u8, apqi: u8) -> Self {
        Self {
            apid: Apid(apid),
            apqi: Apqi(apqi),
        }
    }

    /// The queue in the low 16 bits of GR0: APID in bits 15..8, APQI in bits 7..0. The rest of the
    /// register is ignored.
    #[must_use]
    pub const fn from_gr0(gr0: u64) -> Self {
        let [.., apid, apqi] = gr0.to_be_bytes();
        Self::new(apid, apqi)
    }

    /// The 16-bit form, `APID * 256 + APQI`.
    #[must_use]
    pub const fn to_u16(self) -> u16 {
        u16::from_be_bytes([self.apid.0, self.apqi.0])
    }
}

impl fmt::Display for Apid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl fmt::Display for Apqi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl fmt::Display for Apqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.apid, self.apqi)
    }
}

impl fmt::Debug for Apqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a queue number of the form `05.00ab`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a queue number of the form AA.DDDD (two and four hex digits)")]
pub struct ApqnSyntaxError;

impl FromStr for Apqn {
    type Err = ApqnSyntaxError;

    /// Parses exactly two hex digits, a dot and four hex digits (of which the first two are zero).
    fn from_str(text: &str) -> Result<Self, ApqnSyntaxError> {
        let (apid, apqi) = text.split_once('.').ok_or(ApqnSyntaxError)?;
        let field = |text: &str, digits: usize| {
            if text.len() != digits || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ApqnSyntaxError);
            }
            u16::from_str_radix(text, 16)
                .ok()
                .and_then(|n| u8::try_from(n).ok())
                .ok_or(ApqnSyntaxError)
        };
        Ok(Self::new(field(apid, 2)?, field(apqi, 4)?))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_form_is_two_dot_four_lower_case() {
        assert_eq!(Apqn::new(5, 0xab).to_string(), "05.00ab");
        assert_eq!("05.00ab".parse(), Ok(Apqn::new(5, 0xab)));
        assert_eq!("FF.00FF".parse(), Ok(Apqn::new(255, 255)));
    }

    #[test]
    fn malformed_queue_numbers_are_refused() {
        for text in [
            "", "05", "5.0004", "05.004", "05.0100", "05.00zz", "05.0004 ", "+5.0004",
        ] {
            assert_eq!(text.parse::<Apqn>(), Err(ApqnSyntaxError), "{text:?}");
        }
    }

    #[test]
    fn gr0_low_half_is_the_queue_number() {
        let apqn = Apqn::from_gr0(0x0080_0504);
        assert_eq!(apqn, Apqn::new(5, 4));
        assert_eq!(apqn.to_u16(), 0x0504);
    }
}
