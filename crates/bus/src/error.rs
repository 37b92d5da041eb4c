//! Why the bus refuses something.

use arch::{Apid, Apqi, Apqn, Errno};

use crate::device::Device;
use crate::driver::InUse;
use crate::reservation::MaskKind;

/// A refused administrator's wish, with the facts behind it. [`errno`](Self::errno) is what Linux
/// answers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BusError {
    /// No device of that name.
    #[error("there is no device {name:?} on the AP bus")]
    UnknownDevice {
        /// The name as written.
        name: String,
    },
    /// bind: the driver does not handle this kind of device.
    #[error("driver {driver} does not handle {device}")]
    WrongKind {
        /// The device.
        device: Device,
        /// The driver asked for.
        driver: &'static str,
    },
    /// bind: some driver has the device already.
    #[error("{device} is already bound to {driver}")]
    AlreadyBound {
        /// The device.
        device: Device,
        /// Who has it.
        driver: &'static str,
    },
    /// bind: the masks leave the queue to the other side (spec 2.4).
    #[error("apmask and aqmask keep queue {apqn} {}, driver {driver} is on the other side",
        if *.reserved { "for default drivers" } else { "from default drivers" })]
    WrongSide {
        /// The queue.
        apqn: Apqn,
        /// Whether the masks reserve it for default drivers.
        reserved: bool,
        /// The driver asked for.
        driver: &'static str,
    },
    /// bind: `driver_override` names another driver (spec 2.5).
    #[error("driver_override of queue {apqn} is {wanted:?}, not {driver}")]
    Overridden {
        /// The queue.
        apqn: Apqn,
        /// The name in `driver_override`.
        wanted: String,
        /// The driver asked for.
        driver: &'static str,
    },
    /// unbind: this driver does not have the device.
    #[error("{device} is not bound to {driver}")]
    NotBound {
        /// The device.
        device: Device,
        /// The driver whose `unbind` was written.
        driver: &'static str,
    },
    /// The card or queue device went away.
    #[error("there is no device {0}")]
    Gone(Device),
    /// A mask write would take queues that a plugged-in driver's user holds (spec 2.4).
    #[error("{} keeps {} queue(s) from {mask}, the first is {}", .in_use.holder, .in_use.queues, .in_use.first)]
    InUse {
        /// The mask that was written.
        mask: MaskKind,
        /// Who holds what.
        in_use: InUse,
    },
    /// A mask write while at least one queue has an override (spec 2.5).
    #[error("{mask} cannot change while {queues} queue(s) have a driver_override")]
    OverridesActive {
        /// The mask that was written.
        mask: MaskKind,
        /// How many queues have one.
        queues: usize,
    },
    /// An override write while a mask is not all ones (spec 2.5).
    #[error("driver_override of queue {apqn} cannot change while apmask or aqmask is not all ones")]
    MasksActive {
        /// The queue.
        apqn: Apqn,
    },
    /// A default domain that is out of range or not in aqmask (spec 2.2).
    #[error("domain {domain} cannot be the default: it must be 0..={max} and in aqmask", max = .max.0)]
    DefaultDomain {
        /// The domain asked for.
        domain: i64,
        /// Highest domain of the bus.
        max: Apqi,
    },
    /// A number outside the range of its attribute.
    #[error("{value} is outside {min}..={max}")]
    OutOfRange {
        /// The number.
        value: i64,
        /// Lowest that is accepted.
        min: i64,
        /// Highest that is accepted.
        max: i64,
    },
    /// A deconfigured or check-stopped device cannot go online (spec 2.6).
    #[error("{0} is deconfigured or check-stopped")]
    NotUsable(Device),
    /// A queue cannot go online while its card is offline (spec 2.7).
    #[error("card{0} is offline")]
    CardOffline(Apid),
}

impl BusError {
    /// What Linux answers to the write (spec 2.2 to 2.7, transcripts bind-wrong-driver,
    /// card-online-offline, override-clear-under-mask).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::UnknownDevice { .. }
            | Self::WrongKind { .. }
            | Self::WrongSide { .. }
            | Self::Overridden { .. }
            | Self::NotBound { .. }
            | Self::Gone(_)
            | Self::NotUsable(_) => Errno::ENODEV,
            Self::AlreadyBound { .. } | Self::InUse { .. } => Errno::EBUSY,
            Self::OverridesActive { .. }
            | Self::MasksActive { .. }
            | Self::DefaultDomain { .. }
            | Self::OutOfRange { .. }
            | Self::CardOffline(_) => Errno::EINVAL,
        }
    }
}
