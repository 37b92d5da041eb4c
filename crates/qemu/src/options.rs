//! The plugin's arguments: `-plugin libapmatrix_qemu.so,socket=PATH,cpu-features=ap+apft+apqci`.

use std::os::fd::RawFd;
use std::path::PathBuf;

use arch::Facilities;
use device::VmIdentity;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    /// The mediated device's socket.
    pub(crate) socket: PathBuf,
    /// The CPU features, or `None` without `ap`: then the guest has no AP instructions.
    pub(crate) features: Option<Facilities>,
    /// The VM's identity, if given.
    pub(crate) vm: Option<VmIdentity>,
    /// Number of the descriptor that wakes the guest, if given: see [`crate::poke`].
    pub(crate) poke: Option<RawFd>,
}

/// A wrong argument. The texts are for people who start QEMU.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OptionError {
    #[error("argument 'socket=PATH' is missing: the socket of the mediated device")]
    NoSocket,
    #[error(
        "unknown argument '{0}' (known: socket=PATH, cpu-features=LIST, vm=IDENTITY, poke=DESCRIPTOR)"
    )]
    Unknown(String),
    #[error("unknown CPU feature '{0}' (known: ap, apft, apqci, apqi)")]
    UnknownFeature(String),
    #[error("CPU feature '{0}' needs feature 'ap'")]
    NeedsAp(&'static str),
    #[error("argument 'vm': {0}")]
    Vm(#[from] device::VmIdentityError),
}

/// What a guest gets without `cpu-features`. Adapter interruptions cost the guest speed, and polling
/// is about as fast.
const DEFAULT_FEATURES: Facilities = Facilities::APFT.union(Facilities::APQCI);

impl Options {
    /// Parses `name=value` arguments.
    ///
    /// # Errors
    /// The first wrong argument.
    pub(crate) fn parse<'a>(args: impl Iterator<Item = &'a str>) -> Result<Self, OptionError> {
        let mut socket = None;
        let mut features = Some(DEFAULT_FEATURES);
        let (mut vm, mut poke) = (None, None);
        for arg in args {
            match arg.split_once('=') {
                Some(("socket", path)) if !path.is_empty() => socket = Some(PathBuf::from(path)),
                Some(("cpu-features", list)) => features = parse_features(list)?,
                Some(("vm", identity)) => vm = Some(identity.parse()?),
                Some(("poke", number)) if number.parse::<RawFd>().is_ok() => {
                    poke = number.parse().ok();
                }
                _ => return Err(OptionError::Unknown(arg.to_owned())),
            }
        }
        Ok(Self {
            socket: socket.ok_or(OptionError::NoSocket)?,
            features,
            vm,
            poke,
        })
    }
}

/// A list of QEMU's feature names. QEMU itself splits arguments at commas, so they are separated by
/// `+` or `:`; each may be followed by `=on` or `=off`, as in `-cpu`.
fn parse_features(list: &str) -> Result<Option<Facilities>, OptionError> {
    let mut ap = false;
    let mut facilities = Facilities::empty();
    for word in list.split(['+', ':', ',']).filter(|word| !word.is_empty()) {
        let (name, on) = match word.split_once('=') {
            None | Some((_, "on")) => (word.split('=').next().unwrap_or(word), true),
            Some((name, "off")) => (name, false),
            Some(_) => return Err(OptionError::UnknownFeature(word.to_owned())),
        };
        match name {
            "ap" => ap = on,
            "apft" => facilities.set(Facilities::APFT, on),
            "apqci" => facilities.set(Facilities::APQCI, on),
            "apqi" => facilities.set(Facilities::APQI, on),
            _ => return Err(OptionError::UnknownFeature(name.to_owned())),
        }
    }
    match (ap, facilities) {
        (true, facilities) => Ok(Some(facilities)),
        (false, none) if none.is_empty() => Ok(None),
        (false, some) if some.contains(Facilities::APFT) => Err(OptionError::NeedsAp("apft")),
        (false, some) if some.contains(Facilities::APQCI) => Err(OptionError::NeedsAp("apqci")),
        (false, _) => Err(OptionError::NeedsAp("apqi")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, OptionError> {
        Options::parse(args.iter().copied())
    }

    #[test]
    fn socket_features_and_identity() {
        let options = parse(&[
            "socket=/run/x.sock",
            "cpu-features=ap+apqci",
            "vm=guest-1",
            "poke=7",
        ])
        .unwrap();
        assert_eq!(options.poke, Some(7));
        assert_eq!(options.socket, PathBuf::from("/run/x.sock"));
        assert_eq!(options.features, Some(Facilities::APQCI));
        assert_eq!(options.vm, Some("guest-1".parse().unwrap()));
        let options = parse(&["socket=a=b"]).unwrap();
        assert_eq!(options.socket, PathBuf::from("a=b"));
        assert_eq!(options.features, Some(DEFAULT_FEATURES));
    }

    #[test]
    fn features_depend_on_ap() {
        assert_eq!(parse_features("ap"), Ok(Some(Facilities::empty())));
        assert_eq!(parse_features("ap:apft:apqci"), Ok(Some(DEFAULT_FEATURES)));
        assert_eq!(
            parse_features("ap=on+apft=off+apqci"),
            Ok(Some(Facilities::APQCI))
        );
        assert_eq!(parse_features(""), Ok(None));
        assert_eq!(parse_features("ap=off"), Ok(None));
        assert_eq!(parse_features("apft"), Err(OptionError::NeedsAp("apft")));
        assert_eq!(parse_features("apqci"), Err(OptionError::NeedsAp("apqci")));
        assert_eq!(parse_features("ap+apqi"), Ok(Some(Facilities::APQI)));
        assert_eq!(parse_features("apqi"), Err(OptionError::NeedsAp("apqi")));
        assert_eq!(parse_features("ap+apqi=off"), Ok(Some(Facilities::empty())));
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(parse(&[]), Err(OptionError::NoSocket));
        assert_eq!(
            parse(&["socket="]),
            Err(OptionError::Unknown("socket=".to_owned()))
        );
        assert_eq!(
            parse(&["socket=a", "x=1"]),
            Err(OptionError::Unknown("x=1".to_owned()))
        );
        assert_eq!(
            parse(&["socket=a", "poke=x"]),
            Err(OptionError::Unknown("poke=x".to_owned()))
        );
        let unknown = OptionError::UnknownFeature("msa".to_owned());
        assert_eq!(parse(&["socket=a", "cpu-features=ap+msa"]), Err(unknown));
        assert!(matches!(
            parse(&["socket=a", "vm=a b"]),
            Err(OptionError::Vm(_))
        ));
    }
}
