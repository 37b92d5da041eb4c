//! The machine file: a partition's AP hardware and the host's initial masks, in TOML.
//!
//! The format is described in `docs/machine-file.md`. Every error names the file and the line, and
//! nothing is started.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use arch::{ApType, Apid, Apqi, CardMode, MaskEdit, QciFlags};
use machine::{AdapterConfig, ConfigError, PartitionConfig};
use matrix::BootConfig;
use serde::Deserialize;
use toml::Spanned;

/// The machine of a daemon that was given no file.
const DEFAULT: &str = include_str!("default-machine.toml");

/// What a machine file says.
#[derive(Clone, Debug)]
pub(crate) struct Machinery {
    /// The hardware.
    pub(crate) partition: PartitionConfig,
    /// Kernel parameters of the host.
    pub(crate) boot: BootConfig,
}

/// What is wrong with a machine file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub(crate) struct MachineFileError {
    file: String,
    line: usize,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    qci: Qci,
    #[serde(default)]
    domains: Domains,
    #[serde(default)]
    masks: Masks,
    #[serde(default)]
    adapter: Vec<Adapter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    adapter: u8,
    domain: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            adapter: 255,
            domain: 255,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Qci {
    installed: bool,
    flags: Option<Vec<Spanned<String>>>,
}

impl Default for Qci {
    fn default() -> Self {
        Self {
            installed: true,
            flags: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Domains {
    usage: Vec<Spanned<u8>>,
    control: Vec<Spanned<u8>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Masks {
    apmask: Option<Spanned<String>>,
    aqmask: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adapter {
    id: Spanned<u8>,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    #[serde(default)]
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Configured,
    Deconfigured,
    Checkstopped,
}

impl Machinery {
    /// Reads a machine file, or the built-in default machine.
    ///
    /// # Errors
    /// When the file cannot be read, or with file, line and reason.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::parse("the default machine", DEFAULT)?);
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the machine file {}", path.display()))?;
        Ok(Self::parse(&path.display().to_string(), &text)?)
    }

    /// Parses the text of a machine file; `file` is used in errors only.
    ///
    /// # Errors
    /// With file, line and reason.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, MachineFileError> {
        let source = Source { file, text };
        let document: Document =
            toml::from_str(text).map_err(|error| source.error(error.span(), error.message()))?;
        let mut partition = PartitionConfig {
            na: document.limits.adapter,
            nd: document.limits.domain,
            qci: source.qci(&document.qci)?,
            ..PartitionConfig::default()
        };
        for (domains, is_usage) in [
            (&document.domains.usage, true),
            (&document.domains.control, false),
        ] {
            for domain in domains {
                let apqi = Apqi(*domain.get_ref());
                if is_usage {
                    partition.usage_domains.insert(apqi);
                } else {
                    partition.control_domains.insert(apqi);
                }
                source.check(&partition, domain.span())?;
            }
        }
        for adapter in &document.adapter {
            let apid = Apid(*adapter.id.get_ref());
            let mut config = source.adapter_kind(&adapter.kind)?;
            config.deconfigured = adapter.state == State::Deconfigured;
            config.checkstopped = adapter.state == State::Checkstopped;
            if partition.adapters.insert(apid, config).is_some() {
                let message = format!("adapter {} is there twice", apid.0);
                return Err(source.error(Some(adapter.id.span()), &message));
            }
            source.check(&partition, adapter.id.span())?;
        }
        let boot = BootConfig {
            apmask: source.mask(document.masks.apmask.as_ref())?,
            aqmask: source.mask(document.masks.aqmask.as_ref())?,
            ..BootConfig::default()
        };
        Ok(Self { partition, boot })
    }
}

/// The text being read, for errors that name a line.
struct Source<'t> {
    file: &'t str,
    text: &'t str,
}

impl Source<'_> {
    fn error(&self, span: Option<Range<usize>>, message: &str) -> MachineFileError {
        let before = span.map_or(0, |span| span.start.min(self.text.len()));
        let line = 1 + self.text.as_bytes()[..before]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        MachineFileError {
            file: self.file.to_owned(),
            line,
            message: message.trim().to_owned(),
        }
    }

    fn check(
        &self,
        partition: &PartitionConfig,
        span: Range<usize>,
    ) -> Result<(), MachineFileError> {
        partition
            .validate()
            .map_err(|error: ConfigError| self.error(Some(span), &error.to_string()))
    }

    fn qci(&self, qci: &Qci) -> Result<Option<QciFlags>, MachineFileError> {
        if !qci.installed {
            return Ok(None);
        }
        let Some(names) = &qci.flags else {
            return Ok(PartitionConfig::default().qci);
        };
        let mut flags = QciFlags::empty();
        for name in names {
            flags |= QciFlags::from_name(name.get_ref()).ok_or_else(|| {
                let known = "APSC, APXA, QACT, RC8A, APSB";
                let message = format!("{:?} is not a QCI flag ({known})", name.get_ref());
                self.error(Some(name.span()), &message)
            })?;
        }
        Ok(Some(flags))
    }

    /// `CEX8A`: generation and mode letter.
    fn adapter_kind(&self, kind: &Spanned<String>) -> Result<AdapterConfig, MachineFileError> {
        let parse = || {
            let rest = kind.get_ref().strip_prefix("CEX")?;
            let mode = CardMode::from_letter(rest.chars().next_back()?)?;
            let generation: u8 = rest[..rest.len() - 1].parse().ok()?;
            (4..=8)
                .contains(&generation)
                .then(|| AdapterConfig::new(ApType(generation + 6), mode))
        };
        parse().ok_or_else(|| {
            let message = format!(
                "{:?} is not an adapter type (CEX4 to CEX8 and a letter: A, C or P)",
                kind.get_ref()
            );
            self.error(Some(kind.span()), &message)
        })
    }

    fn mask(&self, text: Option<&Spanned<String>>) -> Result<Option<MaskEdit>, MachineFileError> {
        let Some(text) = text else { return Ok(None) };
        match MaskEdit::parse(text.get_ref().as_bytes()) {
            Ok(edit) => Ok(Some(edit)),
            Err(error) => Err(self.error(
                Some(text.span()),
                &format!("the mask is malformed: {error}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Machinery::parse("m.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_default_machine_is_well_formed() {
        let file = Machinery::load(None).unwrap();
        assert!(file.partition.adapters.len() >= 2);
        assert!(!file.partition.usage_domains.is_empty());
    }

    #[test]
    fn everything_can_be_said() {
        let text = "[limits]\nadapter = 63\ndomain = 84\n[qci]\nflags = [\"APSC\", \"APXA\"]\n\
            [domains]\nusage = [4, 0x47]\ncontrol = [4]\n[masks]\naqmask = \"-0-255,+4\"\n\
            [[adapter]]\nid = 5\ntype = \"CEX7P\"\nstate = \"deconfigured\"\n";
        let file = Machinery::parse("m.toml", text).unwrap();
        assert_eq!((file.partition.na, file.partition.nd), (63, 84));
        assert_eq!(file.partition.qci, Some(QciFlags::APSC | QciFlags::APXA));
        let adapter = &file.partition.adapters[&Apid(5)];
        assert_eq!(
            (adapter.ap_type, adapter.mode),
            (ApType(13), CardMode::Ep11)
        );
        assert!(adapter.deconfigured && !adapter.checkstopped);
        assert!(file.boot.aqmask.is_some() && file.boot.apmask.is_none());
    }

    #[test]
    fn errors_name_file_line_and_reason() {
        assert!(error("[domains\n").starts_with("m.toml:1: "));
        assert!(
            error("[[adapter]]\nid = 1\ntype = \"CEX9A\"\n").starts_with("m.toml:3: \"CEX9A\"")
        );
        let twice =
            "[[adapter]]\nid = 1\ntype = \"CEX8A\"\n[[adapter]]\nid = 1\ntype = \"CEX8A\"\n";
        assert_eq!(error(twice), "m.toml:5: adapter 1 is there twice");
        let high = "[limits]\ndomain = 84\n[domains]\nusage = [\n  4,\n  85,\n]\n";
        assert!(error(high).starts_with("m.toml:6: "), "{}", error(high));
        assert!(error("[masks]\napmask = \"+300\"\n").starts_with("m.toml:2: the mask"));
        assert!(error("[qci]\nflags = [\"APXX\"]\n").starts_with("m.toml:2: "));
        assert!(error("\n\ncolour = 1\n").starts_with("m.toml:3: "));
        assert!(error("[[adapter]]\nid = 256\ntype = \"CEX8A\"\n").starts_with("m.toml:2: "));
    }
}
