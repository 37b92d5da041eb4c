//! How numbers, masks and names stand in a record.

use std::fmt::Display;
use std::str::FromStr;

use arch::{Apcb, Apqn, Mask256};
use matrix::MdevUuid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that stands as the text that it prints as and is parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Text<T>(pub(crate) T);

/// A queue, as `05.00ab`.
pub(crate) type Queue = Text<Apqn>;
/// A mediated device.
pub(crate) type Uuid = Text<MdevUuid>;

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = text.parse().map(Self);
        value.map_err(|_| serde::de::Error::custom(format!("{text:?} is malformed")))
    }
}

/// A mask as the hex digits from bit 0 on, without the zeros at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mask(pub(crate) Mask256);

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_string();
        let digits = text.trim_start_matches("0x").trim_end_matches('0');
        serializer.serialize_str(digits)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mask = arch::mask_text::parse_absolute(text.as_bytes()).map(Self);
        mask.map_err(|error| serde::de::Error::custom(format!("mask {text:?}: {error}")))
    }
}

/// Adapters, usage domains and control domains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Masks(pub(crate) Mask, pub(crate) Mask, pub(crate) Mask);

impl From<&Apcb> for Masks {
    fn from(apcb: &Apcb) -> Self {
        Self(Mask(apcb.apm.0), Mask(apcb.aqm.0), Mask(apcb.adm.0))
    }
}

impl From<Masks> for Apcb {
    fn from(Masks(apm, aqm, adm): Masks) -> Self {
        Self {
            apm: arch::AdapterMask(apm.0),
            aqm: arch::UsageMask(aqm.0),
            adm: arch::ControlMask(adm.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_short_and_come_back() {
        for mask in [
            Mask256::EMPTY,
            Mask256::FULL,
            Mask256::range(5, 6),
            Mask256::range(255, 255),
            Mask256::range(0, 0),
        ] {
            let text = serde_json::to_string(&Mask(mask)).unwrap();
            assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), Mask(mask));
        }
        let text = serde_json::to_string(&Mask(Mask256::range(5, 6))).unwrap();
        assert_eq!(text, "\"06\"");
    }
}
