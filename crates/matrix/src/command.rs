//! Everything that can happen to a host.

use std::fmt;
use std::time::Duration;

use arch::{Apcb, Apid, Apqn, MaskEdit};
use bus::{Driver, MaskKind};

use crate::mdev::{MdevUuid, VmId};

/// Something that happens to the host: a sysfs write that parsed, or an event from below.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A write that is accepted and does nothing.
    Nothing,
    /// A write to `scans`, or the rescan timer.
    Rescan,
    /// The hardware announced a configuration change.
    HardwareChanged,
    /// A write to apmask or aqmask.
    EditMask {
        /// Which mask.
        mask: MaskKind,
        /// The change.
        edit: MaskEdit,
    },
    /// A write to `ap_domain`.
    SetDefaultDomain(i64),
    /// A write to `config_time`, in seconds.
    SetConfigTime(i64),
    /// A write to `poll_thread`.
    SetPollThread(bool),
    /// A write to `poll_timeout`, in nanoseconds.
    SetPollTimeout(u64),
    /// A write to `drivers_autoprobe`.
    SetAutoprobe(bool),
    /// A write to `drivers_probe`: a device name.
    ProbeDevice(String),
    /// A write to a driver's `bind`.
    Bind {
        /// The driver.
        driver: Driver,
        /// Device name as written.
        device: String,
    },
    /// A write to a driver's `unbind`.
    Unbind {
        /// The driver.
        driver: Driver,
        /// Device name as written.
        device: String,
    },
    /// A write to a queue's `driver_override`; `None` clears it.
    SetOverride {
        /// The queue.
        apqn: Apqn,
        /// Name of the only driver that may take it.
        driver: Option<String>,
    },
    /// A write to a card's `online`.
    SetCardOnline(Apid, bool),
    /// A write to a queue's `online`.
    SetQueueOnline(Apqn, bool),
    /// A write to a card's `config`.
    ConfigureAdapter(Apid, bool),
    /// A write to a card's `request_count`.
    ClearCardRequests(Apid),
    /// A write to a queue's `request_count`.
    ClearQueueRequests(Apqn),
    /// A write to a queue's `reset`.
    ResetQueue(Apqn),
    /// A write to `create`.
    CreateMdev(MdevUuid),
    /// A non-zero number written to `remove`.
    RemoveMdev(MdevUuid),
    /// A write to an assign file.
    Assign {
        /// The mdev.
        mdev: MdevUuid,
        /// Which file.
        kind: MemberKind,
        /// The number as written.
        number: u64,
    },
    /// A write to an unassign file.
    Unassign {
        /// The mdev.
        mdev: MdevUuid,
        /// Which file.
        kind: MemberKind,
        /// The number as written.
        number: u64,
    },
    /// A write to `ap_config`: replaces all three masks.
    Configure {
        /// The mdev.
        mdev: MdevUuid,
        /// The new assignment.
        masks: Box<Apcb>,
    },
    /// A VMM opened the mdev (spec 5.1). Without a VM identity it is refused.
    Open {
        /// The mdev.
        mdev: MdevUuid,
        /// The VM.
        vm: Option<VmId>,
    },
    /// The VMM closed the mdev, or died (spec 5.2).
    Close(MdevUuid),
    /// The RESET request of the device (spec 5.3).
    ResetDevice(MdevUuid),
    /// Ten seconds passed and the guest has not let go of an mdev that is being removed (spec 5.6).
    RepeatReleaseRequest(MdevUuid),
    /// This much time has passed since the last command: queues in reset whose time has come are
    /// looked at (spec 7). Needed only while [`Host::next_look`](crate::Host::next_look) is some time.
    TimePassed(Duration),
    /// Filters the view of an mdev again; what [`Effect::Filtered`](crate::Effect::Filtered) tells of
    /// is done again by it.
    Filter(MdevUuid),
}

/// What an assignment file assigns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberKind {
    /// Adapters.
    Adapter,
    /// Usage domains.
    UsageDomain,
    /// Control domains.
    ControlDomain,
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adapter => "adapter",
            Self::UsageDomain => "usage domain",
            Self::ControlDomain => "control domain",
        })
    }
}
