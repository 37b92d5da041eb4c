//! Why an adapter or a domain of a mediated device does not reach its guest.
//!
//! The rule (`vfio_ap` since Linux 6.0): a domain reaches the guest when the partition has it; an
//! adapter does when the partition has it and each of its queues, over the domains that reach the
//! guest, is bound to `vfio_ap`. One missing queue hides the whole adapter.

use std::fmt;

use arch::Apqn;

use super::facts::{Facts, Matrix};
use super::remedy::{self, Remedy};

/// One reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The host cannot ask for its configuration.
    NoQci,
    /// The partition lacks the adapter.
    NoAdapter(u8),
    /// The partition lacks the usage domain.
    NoDomain(u8),
    /// A queue has no device.
    NoDevice(Apqn),
    /// A queue has no driver.
    Unbound(Apqn),
    /// A queue has a driver that is not `vfio_ap`.
    Foreign(Apqn, String),
    /// No file shows a reason.
    Unseen,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQci => f.write_str("the host has no PQAP(QCI), and without it no guest gets anything"),
            Self::NoAdapter(apid) => write!(f, "the partition has no adapter {apid:02x}"),
            Self::NoDomain(apqi) => write!(f, "the partition has no usage domain {apqi:04x}"),
            Self::NoDevice(apqn) => {
                write!(f, "queue {apqn} has no device, and it hides its whole adapter")
            }
            Self::Unbound(apqn) => {
                write!(f, "queue {apqn} has no driver, and it hides its whole adapter")
            }
            Self::Foreign(apqn, driver) => {
                write!(f, "queue {apqn} is bound to {driver}, and it hides its whole adapter")
            }
            Self::Unseen => f.write_str(
                "nothing that can be seen keeps it away: either the last reset of one of its queues \
                 failed, or what hid it was taken away since, which alone does not bring it back",
            ),
        }
    }
}

impl Reason {
    /// What would end this reason.
    pub(super) fn remedy(&self, uuid: &str) -> Option<Remedy> {
        Some(match self {
            Self::NoQci => return None,
            Self::NoAdapter(apid) => remedy::plug_adapter(*apid),
            Self::NoDomain(apqi) => remedy::add_domain(*apqi),
            Self::NoDevice(apqn) => {
                Remedy::new(format!("look for queue {apqn} again"), vec![remedy::scan()])
            }
            Self::Unbound(apqn) => Remedy::new(
                format!("give queue {apqn} to vfio_ap"),
                vec![remedy::bind(*apqn, VFIO_AP)],
            ),
            Self::Foreign(apqn, driver) => Remedy::new(
                format!("give queue {apqn} to vfio_ap"),
                vec![remedy::unbind(*apqn, driver), remedy::bind(*apqn, VFIO_AP)],
            ),
            Self::Unseen => Remedy::new(
                "have the guest's view worked out again",
                vec![remedy::filter_again(uuid)],
            ),
        })
    }
}

/// The name of the driver.
pub(super) const VFIO_AP: &str = "vfio_ap";

/// Why the guest does not get adapter `apid` of the device. To be asked only when it does not.
pub(super) fn adapter(facts: &Facts, mdev: &Matrix, apid: u8) -> Vec<Reason> {
    if facts.adapters.is_none() {
        return vec![Reason::NoQci];
    }
    if !facts.has_adapter(apid) {
        return vec![Reason::NoAdapter(apid)];
    }
    let domains = mdev.domains.iter().filter(|apqi| facts.has_domain(*apqi));
    let reasons: Vec<Reason> = domains
        .filter_map(|apqi| queue(facts, Apqn::new(apid, apqi)))
        .collect();
    if reasons.is_empty() {
        vec![Reason::Unseen]
    } else {
        reasons
    }
}

/// Why the guest does not get usage domain `apqi` of the device. To be asked only when it does not.
pub(super) fn domain(facts: &Facts, apqi: u8) -> Reason {
    if facts.domains.is_none() {
        Reason::NoQci
    } else if facts.has_domain(apqi) {
        Reason::Unseen
    } else {
        Reason::NoDomain(apqi)
    }
}

/// What keeps a queue that the partition has from being passed on.
fn queue(facts: &Facts, apqn: Apqn) -> Option<Reason> {
    let Some(queue) = facts.queues.get(&apqn) else {
        return Some(Reason::NoDevice(apqn));
    };
    match queue.driver.as_deref() {
        Some(VFIO_AP) => None,
        Some(other) => Some(Reason::Foreign(apqn, other.to_owned())),
        None => Some(Reason::Unbound(apqn)),
    }
}
