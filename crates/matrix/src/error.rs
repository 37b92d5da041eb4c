//! Why the host refuses something.

use arch::{Apid, Apqn, Errno};
use bus::BusError;

use crate::command::MemberKind;
use crate::mdev::{MdevUuid, VmId};
use crate::platform::MaskConflict;

/// A refused command. [`errno`](Self::errno) is what Linux answers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostError {
    /// The AP bus refused.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// `vfio_ap` refused.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The firmware refused to configure an adapter.
    #[error("the firmware did not configure or deconfigure adapter {apid}: {errno}")]
    Firmware {
        /// The adapter.
        apid: Apid,
        /// Its answer.
        errno: Errno,
    },
}

impl HostError {
    /// What Linux answers to the write or call.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Bus(error) => error.errno(),
            Self::Matrix(error) => error.errno(),
            Self::Firmware { errno, .. } => *errno,
        }
    }

    /// The lines that Linux writes to its log with this refusal.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        match self {
            Self::Matrix(MatrixError::Shared { queues, .. }) => queues
                .iter()
                .map(|(apqn, owner)| {
                    format!(
                        "Userspace may not assign queue {apqn} to mdev: already assigned to {owner}"
                    )
                })
                .collect(),
            Self::Bus(BusError::InUse { in_use, .. }) => vec![format!(
                "Can not reserve queue {} for host driver: in use by mdev",
                in_use.first
            )],
            Self::Bus(_) | Self::Matrix(_) | Self::Firmware { .. } => Vec::new(),
        }
    }
}

/// A refusal of `vfio_ap`, with the facts behind it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MatrixError {
    /// No mdev with this UUID.
    #[error("there is no mdev {0}")]
    UnknownMdev(MdevUuid),
    /// create: the UUID is taken.
    #[error("mdev {0} exists already")]
    Exists(MdevUuid),
    /// create: all instances are in use.
    #[error("no instance is left, {0} mdevs exist")]
    NoInstances(usize),
    /// A number above the mdev's limit (spec 3.2).
    #[error("{kind} {number} is above {max}, the highest of mdev {mdev}")]
    AboveMaximum {
        /// The mdev.
        mdev: MdevUuid,
        /// What was to be assigned.
        kind: MemberKind,
        /// The number.
        number: u64,
        /// The highest number.
        max: u8,
    },
    /// A queue of the product is reserved for default drivers (spec 3.3 step 4).
    #[error("queue {apqn} is reserved for the host's drivers by apmask and aqmask")]
    Reserved {
        /// The mdev.
        mdev: MdevUuid,
        /// The lowest such queue.
        apqn: Apqn,
    },
    /// Queues of the product are another mdev's (spec 3.3 step 5).
    #[error("{} queue(s) belong to another mdev, {}", .queues.len(), first_owner(.queues))]
    Shared {
        /// The mdev.
        mdev: MdevUuid,
        /// The queues and their owners, ascending.
        queues: Vec<(Apqn, MdevUuid)>,
    },
    /// open: no VM identity.
    #[error("mdev {0} cannot be opened without a virtual machine")]
    NoVm(MdevUuid),
    /// open: somebody has it.
    #[error("mdev {mdev} is in use by VM {vm}")]
    AlreadyOpen {
        /// The mdev.
        mdev: MdevUuid,
        /// Who has it.
        vm: VmId,
    },
    /// open: the queues are still being reset after a close.
    #[error("mdev {0} was closed, and its queues are still being reset")]
    StillResetting(MdevUuid),
    /// open: the VM has another mdev (spec 4.2).
    #[error("VM {vm} already has mdev {holder}")]
    VmTaken {
        /// The VM.
        vm: VmId,
        /// Its mdev.
        holder: MdevUuid,
    },
    /// open: the last line of defence found a queue in two guests.
    #[error("mdev {mdev} cannot be opened: {conflict}")]
    GuestConflict {
        /// The mdev.
        mdev: MdevUuid,
        /// What the platform found.
        conflict: MaskConflict,
    },
    /// The mdev is being removed.
    #[error("mdev {0} is being removed")]
    BeingRemoved(MdevUuid),
    /// close or reset of an mdev that nobody has open.
    #[error("mdev {0} is not open")]
    NotOpen(MdevUuid),
}

fn first_owner(queues: &[(Apqn, MdevUuid)]) -> String {
    queues
        .first()
        .map_or_else(String::new, |(apqn, owner)| format!("{apqn} to {owner}"))
}

impl MatrixError {
    /// What Linux answers (spec 3.2, 3.3, 3.6, 4.2, 5.1).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::UnknownMdev(_) | Self::AboveMaximum { .. } => Errno::ENODEV,
            Self::Exists(_) => Errno::EEXIST,
            Self::NoInstances(_) => Errno::EUSERS,
            Self::Reserved { .. } => Errno::EADDRNOTAVAIL,
            Self::Shared { .. } | Self::GuestConflict { .. } => Errno::EADDRINUSE,
            Self::NoVm(_) | Self::NotOpen(_) => Errno::EINVAL,
            Self::AlreadyOpen { .. } | Self::StillResetting(_) => Errno::EBUSY,
            Self::VmTaken { .. } => Errno::EPERM,
            Self::BeingRemoved(_) => Errno::EAGAIN,
        }
    }
}
