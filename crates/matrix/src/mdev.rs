//! Mediated devices and their identities.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arch::{AdapterMask, Apcb, Apid, Apqi, Apqn, ControlMask, QciBlock, UsageMask};
use uuid::Uuid;

/// Name of a mediated device. Prints lower case with hyphens, as its directory is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MdevUuid(pub Uuid);

/// A text that is not 36 characters of hex digits and hyphens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
pub struct UuidSyntaxError;

impl FromStr for MdevUuid {
    type Err = UuidSyntaxError;

    /// Exactly the hyphenated form of 36 characters, digits of either case. The nil UUID is accepted
    /// (spec 12).
    fn from_str(text: &str) -> Result<Self, UuidSyntaxError> {
        if text.len() != 36 {
            return Err(UuidSyntaxError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| UuidSyntaxError)
    }
}

impl fmt::Display for MdevUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl fmt::Debug for MdevUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Number of a mediated device, counted from 0 and never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Serial(pub u64);

/// IOMMU group and number of the VFIO device of an mdev: the lowest free number at creation, as the
/// kernel gives them out. Unlike a [`Serial`] it is used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Group(pub u32);

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identity of a virtual machine, as its VMM gave it. Opaque; one mdev per VM (spec 4.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub Arc<str>);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who uses a mediated device.
///
/// ```text
///             Open                    remove=1
///   Idle ------------> Open(vm) ------------------> Removing(vm)
///    ^ |                  | Close                       | Close
///    | |                  v             remove=1        v
///    | |               Closing ---------------------> Leaving
///    +-|-- resets ended --+                             | resets ended
///      | remove=1                                       v
///      +---------------------------------------------> (gone)
/// ```
/// Closing and Leaving are skipped when no reset takes time, which is the rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Usage {
    /// Nobody.
    Idle,
    /// A guest is attached.
    Open(VmId),
    /// Removal was asked while a guest is attached; its masks are clear, it was asked to let go, and
    /// the writer waits (spec 5.6).
    Removing(VmId),
    /// The VMM has let go; the resets of the queues have not ended (spec 5.2).
    Closing,
    /// Removal was asked and nobody has the device; the resets of the queues have not ended.
    Leaving,
}

/// A mediated device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mdev {
    /// Its number.
    pub serial: Serial,
    /// Its IOMMU group.
    pub group: Group,
    /// Highest numbers that may be assigned, as of creation (spec 3.2).
    pub limits: Limits,
    /// What is assigned: the content of `matrix` and `control_domains`.
    pub matrix: Apcb,
    /// The filtered view: what a guest gets, and the content of `guest_matrix` (spec 4.1).
    pub view: Apcb,
    /// Hardware that the host gained in the scan that is running, within `matrix`.
    pub pending: Apcb,
    /// Who uses it.
    pub usage: Usage,
    /// The view is to be filtered when a reset of one of its queues has ended.
    pub(crate) filter_again: bool,
}

/// Highest numbers of an mdev, the same for usage and control domains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Highest adapter.
    pub adapter: Apid,
    /// Highest domain.
    pub domain: Apqi,
}

impl Limits {
    /// The limits that a host configuration sets.
    #[must_use]
    pub const fn of(config: &QciBlock) -> Self {
        Self {
            adapter: config.max_adapter(),
            domain: config.max_domain(),
        }
    }
}

impl Mdev {
    pub(crate) const fn new(serial: Serial, group: Group, limits: Limits) -> Self {
        Self {
            serial,
            group,
            limits,
            matrix: Apcb::EMPTY,
            view: Apcb::EMPTY,
            pending: Apcb::EMPTY,
            usage: Usage::Idle,
            filter_again: false,
        }
    }

    /// The VM whose guest has this device's masks; none once removal was asked.
    #[must_use]
    pub const fn guest(&self) -> Option<&VmId> {
        match &self.usage {
            Usage::Open(vm) => Some(vm),
            Usage::Idle | Usage::Removing(_) | Usage::Closing | Usage::Leaving => None,
        }
    }

    /// Whether a scan has promised more adapters or usage domains: filtering then waits for its end
    /// (spec 4.3).
    pub(crate) fn awaits_queues(&self) -> bool {
        !self.pending.apm.is_empty() || !self.pending.aqm.is_empty()
    }

    /// The queues of `adapters` that the guest sees.
    pub(crate) fn visible_queues(&self, adapters: AdapterMask, domains: UsageMask) -> Vec<Apqn> {
        let part = Apcb {
            apm: self.view.apm & adapters,
            aqm: self.view.aqm & domains,
            adm: ControlMask::EMPTY,
        };
        part.queues().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_one_form() {
        let upper = "62177883-F1BB-47F0-914D-32A22E3A8804";
        let uuid: MdevUuid = upper.parse().unwrap();
        assert_eq!(uuid.to_string(), upper.to_lowercase());
        assert!(
            "00000000-0000-0000-0000-000000000000"
                .parse::<MdevUuid>()
                .is_ok()
        );
        for text in [
            "62177883f1bb47f0914d32a22e3a8804",
            "{2177883-f1bb-47f0-914d-32a22e3a880}",
            "6217788-3f1bb-47f0-914d-32a22e3a8804",
            "62177883-f1bb-47f0-914d-32a22e3a880g",
            "",
        ] {
            assert_eq!(text.parse::<MdevUuid>(), Err(UuidSyntaxError), "{text:?}");
        }
    }
}
