//! The JSON of VERSION: who opens the device, and what is granted.

use std::fmt;
use std::str::FromStr;

use arch::{CrycbFormat, Errno, Facilities};
use serde_json::{Value, json};

use crate::backend::Grant;
use crate::message::{HIGHEST_MAX_MESSAGE, MAX_DESCRIPTORS, MAX_VERSION_JSON};

/// Which VM opens a device: 1..=128 printable ASCII characters without blanks, usually a UUID. Two
/// connections with the same text are the same VM.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmIdentity(String);

/// Longest VM identity in bytes.
pub const MAX_IDENTITY: usize = 128;

/// A text that cannot name a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a VM identity has 1 to 128 printable ASCII characters without blanks")]
pub struct VmIdentityError;

impl VmIdentity {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmIdentity {
    type Err = VmIdentityError;

    fn from_str(text: &str) -> Result<Self, VmIdentityError> {
        let fits = (1..=MAX_IDENTITY).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(VmIdentityError)
        }
    }
}

impl fmt::Display for VmIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client asks for when it opens a device. The CPU model has AP instructions, otherwise
/// nobody would ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRequest {
    /// The VM.
    pub vm: VmIdentity,
    /// Highest CRYCB format that fits the guest's CPU model: 2 with MSA extension 3, else 0.
    pub crycb_format: CrycbFormat,
    /// Facilities of the CPU model. [`Facilities::MSA3`] is not transmitted.
    pub facilities: Facilities,
}

/// QEMU's names of the CPU features that can be negotiated, besides `ap`.
pub const FEATURE_NAMES: [(&str, Facilities); 3] = [
    ("apft", Facilities::APFT),
    ("apqci", Facilities::APQCI),
    ("apqi", Facilities::APQI),
];

const AP: &str = "ap";

impl OpenRequest {
    /// The JSON text of the client's VERSION.
    #[must_use]
    pub fn to_json(&self) -> String {
        capabilities(
            0,
            &json!({
                "vm": self.vm.as_str(),
                "crycb_format": format_number(self.crycb_format),
                "facilities": feature_list(self.facilities),
            }),
        )
    }

    /// Reads the JSON text of a client's VERSION. Unknown keys are ignored.
    ///
    /// # Errors
    /// EINVAL for anything but a request with a VM identity and the feature `ap`.
    pub fn from_json(text: &[u8]) -> Result<Self, Errno> {
        let apmatrix = parse(text)?;
        let vm = apmatrix["vm"].as_str().ok_or(Errno::EINVAL)?;
        let crycb_format = match &apmatrix["crycb_format"] {
            Value::Null => CrycbFormat::Format2,
            value => parse_format(value)?,
        };
        Ok(Self {
            vm: vm.parse().map_err(|VmIdentityError| Errno::EINVAL)?,
            crycb_format,
            facilities: parse_features(&apmatrix["facilities"])?,
        })
    }
}

impl Grant {
    /// The grant without anything that was not asked for.
    #[must_use]
    pub(crate) fn within(self, request: &OpenRequest) -> Self {
        let below = format_number(self.crycb_format) <= format_number(request.crycb_format);
        Self {
            facilities: self.facilities & request.facilities,
            crycb_format: if below {
                self.crycb_format
            } else {
                request.crycb_format
            },
            ..self
        }
    }
}

/// What the server answers in VERSION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenReply {
    /// What the VM gets.
    pub grant: Grant,
    /// Longest AP message and reply in bytes.
    pub max_message: u32,
}

impl OpenReply {
    /// The JSON text of the server's VERSION.
    #[must_use]
    pub fn to_json(&self) -> String {
        capabilities(
            self.max_message,
            &json!({
                "crycb_format": format_number(self.grant.crycb_format),
                "facilities": feature_list(self.grant.facilities),
                "apxa": self.grant.apxa,
                "max_message": self.max_message,
            }),
        )
    }

    /// Reads the JSON text of a server's VERSION.
    ///
    /// # Errors
    /// EINVAL when a key is missing or out of range.
    pub fn from_json(text: &[u8]) -> Result<Self, Errno> {
        let apmatrix = parse(text)?;
        let max_message = apmatrix["max_message"]
            .as_u64()
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| (1..=HIGHEST_MAX_MESSAGE).contains(bytes))
            .ok_or(Errno::EINVAL)?;
        Ok(Self {
            grant: Grant {
                facilities: parse_features(&apmatrix["facilities"])?,
                crycb_format: parse_format(&apmatrix["crycb_format"])?,
                apxa: apmatrix["apxa"].as_bool().ok_or(Errno::EINVAL)?,
            },
            max_message,
        })
    }
}

fn capabilities(max_transfer: u32, apmatrix: &Value) -> String {
    let mut standard = json!({ "max_msg_fds": MAX_DESCRIPTORS, "apmatrix": apmatrix });
    if max_transfer != 0 {
        standard["max_data_xfer_size"] = max_transfer.into();
    }
    json!({ "capabilities": standard }).to_string()
}

/// The `apmatrix` object in a text that ends with a NUL byte.
fn parse(text: &[u8]) -> Result<Value, Errno> {
    let text = text.strip_suffix(&[0]).ok_or(Errno::EINVAL)?;
    if text.len() > MAX_VERSION_JSON {
        return Err(Errno::EINVAL);
    }
    let mut value: Value = serde_json::from_slice(text).map_err(|_| Errno::EINVAL)?;
    let apmatrix = value
        .get_mut("capabilities")
        .and_then(|capabilities| capabilities.get_mut("apmatrix"))
        .filter(|apmatrix| apmatrix.is_object())
        .ok_or(Errno::EINVAL)?;
    Ok(apmatrix.take())
}

fn feature_list(facilities: Facilities) -> Vec<&'static str> {
    let named = FEATURE_NAMES
        .into_iter()
        .filter(|(_, facility)| facilities.contains(*facility))
        .map(|(name, _)| name);
    [AP].into_iter().chain(named).collect()
}

/// Unknown names are ignored, so that newer clients can talk to older servers.
fn parse_features(value: &Value) -> Result<Facilities, Errno> {
    let names = value.as_array().ok_or(Errno::EINVAL)?;
    let mut ap = false;
    let mut facilities = Facilities::empty();
    for name in names {
        let name = name.as_str().ok_or(Errno::EINVAL)?;
        ap |= name == AP;
        for (known, facility) in FEATURE_NAMES {
            if known == name {
                facilities |= facility;
            }
        }
    }
    if ap {
        Ok(facilities)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(crate) fn format_number(format: CrycbFormat) -> u32 {
    match format {
        CrycbFormat::Format0 => 0,
        CrycbFormat::Format1 => 1,
        CrycbFormat::Format2 => 2,
    }
}

pub(crate) fn format_from_number(number: u64) -> Option<CrycbFormat> {
    match number {
        0 => Some(CrycbFormat::Format0),
        1 => Some(CrycbFormat::Format1),
        2 => Some(CrycbFormat::Format2),
        _ => None,
    }
}

fn parse_format(value: &Value) -> Result<CrycbFormat, Errno> {
    value
        .as_u64()
        .and_then(format_from_number)
        .ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_nul(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    #[test]
    fn requests_and_replies_round_trip() {
        let request = OpenRequest {
            vm: "guest-1".parse().unwrap(),
            crycb_format: CrycbFormat::Format0,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let text = with_nul(&request.to_json());
        assert_eq!(OpenRequest::from_json(&text), Ok(request));
        let reply = OpenReply {
            grant: Grant {
                facilities: Facilities::APQCI,
                crycb_format: CrycbFormat::Format1,
                apxa: false,
            },
            max_message: 65536,
        };
        assert_eq!(OpenReply::from_json(&with_nul(&reply.to_json())), Ok(reply));
    }

    #[test]
    fn requests_without_identity_or_ap_are_invalid() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{\"capabilities\":{}}",
            "{\"capabilities\":{\"apmatrix\":[]}}",
            "{\"capabilities\":{\"apmatrix\":{\"facilities\":[\"ap\"]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"\",\"facilities\":[\"ap\"]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a b\",\"facilities\":[\"ap\"]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":1,\"facilities\":[\"ap\"]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a\"}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a\",\"facilities\":[\"apft\"]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a\",\"facilities\":[1]}}}",
            "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a\",\"crycb_format\":3,\"facilities\":[\"ap\"]}}}",
        ] {
            let read = OpenRequest::from_json(&with_nul(text));
            assert_eq!(read, Err(Errno::EINVAL), "{text}");
        }
        let nested = "[".repeat(4000);
        let read = OpenRequest::from_json(&with_nul(&nested));
        assert_eq!(read, Err(Errno::EINVAL));
    }

    #[test]
    fn the_text_must_end_with_nul() {
        let text = "{\"capabilities\":{\"apmatrix\":{\"vm\":\"a\",\"facilities\":[\"ap\"]}}}";
        assert!(OpenRequest::from_json(&with_nul(text)).is_ok());
        assert_eq!(OpenRequest::from_json(text.as_bytes()), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _request = OpenRequest::from_json(&bytes);
            let _reply = OpenReply::from_json(&bytes);
        }
    }
}
