//! SPEC: the text form of a partition's hardware, as in the recorded transcripts.
//!
//! ```text
//!   SPEC = [ TERM { ";" TERM } ]
//!   TERM = "card" ID TYPE MODE | "dom" N | "cdom" N | "na" N | "nd" N | "decfg" ID | "chkstop" ID
//! ```
//! Numbers are decimal, 0 to 255. MODE is A (accelerator), C (CCA) or P (EP11). Terms may stand in
//! any order and blank terms are skipped.

use core::fmt;
use std::collections::BTreeMap;

use arch::{ApType, Apid, Apqi, CardMode};

use crate::partition::{AdapterConfig, ConfigError, PartitionConfig};

/// A SPEC that is not one: the term at fault and the reason.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpecError {
    /// A term cannot be understood.
    #[error("\"{term}\": {reason}")]
    Term {
        /// The term, trimmed.
        term: String,
        /// What is wrong with it.
        reason: TermError,
    },
    /// Every term is good, but not together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What is wrong with a term.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TermError {
    /// The first word is no keyword.
    #[error("no such term; terms are card, dom, cdom, na, nd, decfg and chkstop")]
    UnknownKeyword,
    /// The number of words after the keyword is wrong.
    #[error("{expected} expected after the keyword")]
    Operands {
        /// What has to follow.
        expected: &'static str,
    },
    /// A word is not a number.
    #[error("\"{word}\" is not a decimal number from 0 to 255")]
    Number {
        /// The word.
        word: String,
    },
    /// A word is not a mode.
    #[error("\"{word}\" is not a mode; modes are A, C and P")]
    Mode {
        /// The word.
        word: String,
    },
    /// The same thing is said twice.
    #[error("said before")]
    Duplicate,
    /// `decfg` or `chkstop` names an adapter that no `card` term describes.
    #[error("there is no such card")]
    NoSuchCard,
}

/// A term, decoded.
#[derive(Clone, Copy)]
enum Term {
    Card(Apid, AdapterConfig),
    Dom(Apqi),
    Cdom(Apqi),
    Na(u8),
    Nd(u8),
    Decfg(Apid),
    Chkstop(Apid),
}

impl Term {
    fn parse(text: &str) -> Result<Self, TermError> {
        let mut words = text.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let one = || match words[..] {
            [word] => number(word),
            _ => Err(TermError::Operands {
                expected: "one number is",
            }),
        };
        match keyword {
            "card" => match words[..] {
                [apid, ap_type, mode] => Ok(Self::Card(
                    Apid(number(apid)?),
                    AdapterConfig::new(ApType(number(ap_type)?), parse_mode(mode)?),
                )),
                _ => Err(TermError::Operands {
                    expected: "an adapter number, a type and a mode are",
                }),
            },
            "dom" => one().map(|n| Self::Dom(Apqi(n))),
            "cdom" => one().map(|n| Self::Cdom(Apqi(n))),
            "na" => one().map(Self::Na),
            "nd" => one().map(Self::Nd),
            "decfg" => one().map(|n| Self::Decfg(Apid(n))),
            "chkstop" => one().map(|n| Self::Chkstop(Apid(n))),
            _ => Err(TermError::UnknownKeyword),
        }
    }
}

fn number(word: &str) -> Result<u8, TermError> {
    word.parse()
        .ok()
        // `u8::from_str` takes a plus sign.
        .filter(|_| word.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| TermError::Number { word: word.into() })
}

/// A mode by its letter.
fn parse_mode(word: &str) -> Result<CardMode, TermError> {
    let mut letters = word.chars();
    letters
        .next()
        .filter(|_| letters.next().is_none())
        .and_then(CardMode::from_letter)
        .ok_or_else(|| TermError::Mode { word: word.into() })
}

/// What the terms so far say. Flags of adapters wait for the end: their card may come later.
#[derive(Default)]
struct Builder<'t> {
    config: PartitionConfig,
    na: Option<u8>,
    nd: Option<u8>,
    deconfigured: BTreeMap<Apid, &'t str>,
    checkstopped: BTreeMap<Apid, &'t str>,
}

impl<'t> Builder<'t> {
    /// Adds a term; `text` is what it was parsed from. Returns whether it is new.
    fn add(&mut self, term: Term, text: &'t str) -> bool {
        let config = &mut self.config;
        match term {
            Term::Card(apid, adapter) => config.adapters.insert(apid, adapter).is_none(),
            Term::Dom(apqi) => {
                let new = !config.usage_domains.contains(apqi);
                config.usage_domains.insert(apqi);
                new
            }
            Term::Cdom(apqi) => {
                let new = !config.control_domains.contains(apqi);
                config.control_domains.insert(apqi);
                new
            }
            Term::Na(n) => self.na.replace(n).is_none(),
            Term::Nd(n) => self.nd.replace(n).is_none(),
            Term::Decfg(apid) => self.deconfigured.insert(apid, text).is_none(),
            Term::Chkstop(apid) => self.checkstopped.insert(apid, text).is_none(),
        }
    }

    fn finish(self) -> Result<PartitionConfig, SpecError> {
        let mut config = self.config;
        config.na = self.na.unwrap_or(config.na);
        config.nd = self.nd.unwrap_or(config.nd);
        for (apid, text) in self.deconfigured {
            adapter(&mut config, apid, text)?.deconfigured = true;
        }
        for (apid, text) in self.checkstopped {
            adapter(&mut config, apid, text)?.checkstopped = true;
        }
        config.validate()?;
        Ok(config)
    }
}

fn adapter<'c>(
    config: &'c mut PartitionConfig,
    apid: Apid,
    text: &str,
) -> Result<&'c mut AdapterConfig, SpecError> {
    config
        .adapters
        .get_mut(&apid)
        .ok_or_else(|| term_error(text, TermError::NoSuchCard))
}

fn term_error(text: &str, reason: TermError) -> SpecError {
    SpecError::Term {
        term: text.into(),
        reason,
    }
}

impl PartitionConfig {
    /// Parses SPEC. What SPEC cannot say, the QCI flags, is as in [`PartitionConfig::default`].
    ///
    /// # Errors
    /// The first term that is wrong, or the number that is out of range.
    pub fn parse_spec(spec: &str) -> Result<Self, SpecError> {
        let mut builder = Builder::default();
        for text in spec.split(';').map(str::trim) {
            if text.is_empty() {
                continue;
            }
            let term = Term::parse(text).map_err(|reason| term_error(text, reason))?;
            if !builder.add(term, text) {
                return Err(term_error(text, TermError::Duplicate));
            }
        }
        builder.finish()
    }
}

/// SPEC, without the terms that say what holds anyway. Parsing gives the configuration back, except
/// for other QCI flags than the default.
impl fmt::Display for PartitionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut term = |f: &mut fmt::Formatter<'_>, term: fmt::Arguments<'_>| {
            let before = core::mem::replace(&mut separator, "; ");
            write!(f, "{before}{term}")
        };
        for (word, max) in [("na", self.na), ("nd", self.nd)] {
            if max != u8::MAX {
                term(f, format_args!("{word} {max}"))?;
            }
        }
        for (Apid(id), adapter) in &self.adapters {
            let (ap_type, mode) = (adapter.ap_type.0, adapter.mode.letter());
            term(f, format_args!("card {id} {ap_type} {mode}"))?;
        }
        for Apqi(id) in self.usage_domains.iter() {
            term(f, format_args!("dom {id}"))?;
        }
        for Apqi(id) in self.control_domains.iter() {
            term(f, format_args!("cdom {id}"))?;
        }
        for (Apid(id), adapter) in &self.adapters {
            if adapter.deconfigured {
                term(f, format_args!("decfg {id}"))?;
            }
            if adapter.checkstopped {
                term(f, format_args!("chkstop {id}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::{ControlMask, Mask256, UsageMask};
    use proptest::prelude::*;

    fn parse(spec: &str) -> Result<PartitionConfig, String> {
        PartitionConfig::parse_spec(spec).map_err(|error| error.to_string())
    }

    #[test]
    fn specs_of_the_transcripts() {
        let spec =
            "na 63; nd 83; card 3 14 A; card 10 13 P; dom 6; dom 71; cdom 6; decfg 3; chkstop 10";
        let config = parse(spec).unwrap();
        assert_eq!((config.na, config.nd), (63, 83));
        assert_eq!(config.adapters.len(), 2);
        assert!(config.adapters[&Apid(3)].deconfigured);
        assert_eq!(config.adapters[&Apid(10)].mode, CardMode::Ep11);
        assert!(config.adapters[&Apid(10)].checkstopped);
        assert!(config.usage_domains.contains(Apqi(71)));
        assert!(config.control_domains.contains(Apqi(6)));
        assert_eq!(config.to_string(), spec);

        assert_eq!(parse(""), Ok(PartitionConfig::default()));
        let order = parse(" decfg 1 ;card 1   9 A;; dom 0; ").unwrap();
        assert_eq!(order.to_string(), "card 1 9 A; dom 0; decfg 1");
    }

    #[test]
    fn errors_name_the_term_and_the_reason() {
        let cases = [
            (
                "card 3 14 A; disk 4",
                "\"disk 4\": no such term; terms are card, dom, cdom, na, nd, decfg and chkstop",
            ),
            (
                "card 3 14",
                "\"card 3 14\": an adapter number, a type and a mode are expected after the keyword",
            ),
            ("dom", "\"dom\": one number is expected after the keyword"),
            (
                "dom 256",
                "\"dom 256\": \"256\" is not a decimal number from 0 to 255",
            ),
            (
                "dom +6",
                "\"dom +6\": \"+6\" is not a decimal number from 0 to 255",
            ),
            (
                "card 3 14 AA",
                "\"card 3 14 AA\": \"AA\" is not a mode; modes are A, C and P",
            ),
            ("dom 6; dom 6", "\"dom 6\": said before"),
            ("card 3 14 A; card 3 13 A", "\"card 3 13 A\": said before"),
            ("na 63; na 63", "\"na 63\": said before"),
            ("decfg 4; card 3 14 A", "\"decfg 4\": there is no such card"),
            (
                "na 2; card 3 14 A",
                "adapter 3 is above the highest adapter number 2",
            ),
            ("card 3 0 A", "adapter 3 has type 0; types are 1 to 255"),
        ];
        for (spec, error) in cases {
            assert_eq!(parse(spec), Err(error.to_owned()), "{spec}");
        }
    }

    prop_compose! {
        fn adapters()(adapters in prop::collection::btree_map(
            any::<u8>(), (1u8.., 0..3usize, any::<bool>(), any::<bool>()), 0..8,
        )) -> BTreeMap<Apid, AdapterConfig> {
            let modes = [CardMode::Accelerator, CardMode::Cca, CardMode::Ep11];
            adapters.into_iter().map(|(apid, (ap_type, mode, deconfigured, checkstopped))| {
                let ap_type = ApType(ap_type);
                (Apid(apid), AdapterConfig { ap_type, mode: modes[mode], deconfigured, checkstopped })
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn specs_round_trip(adapters in adapters(), masks: [[u8; 32]; 2]) {
            let [usage, control] = masks.map(|bytes| Mask256::from_be_bytes(&bytes));
            let config = PartitionConfig {
                adapters,
                usage_domains: UsageMask(usage),
                control_domains: ControlMask(control),
                ..PartitionConfig::default()
            };
            prop_assert_eq!(parse(&config.to_string()), Ok(config));
        }

        #[test]
        fn parsing_never_panics(spec in "[ a-z0-9;APC]{0,60}") {
            let _parsed = PartitionConfig::parse_spec(&spec);
        }
    }
}
