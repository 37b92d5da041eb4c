//! What happened since the snapshot: the accepted commands.
//!
//! A host is a pure state machine, so the same commands on the same snapshot give the same host. What
//! only a guest's coming and going causes is not kept: guests do not outlive the daemon.

use arch::{Apid, Mask256, MaskEdit};
use bus::{Driver, MaskKind};
use matrix::{Command, Host, MemberKind};
use serde::{Deserialize, Serialize};

use super::text::{Mask, Masks, Queue, Text, Uuid};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// The hardware became this SPEC, and the host looked at it.
    Hardware(String),
    /// The partition was booted anew.
    Ipl,
    Rescan,
    Apmask(Mask),
    Aqmask(Mask),
    ApDomain(i64),
    ConfigTime(i64),
    PollThread(bool),
    PollTimeout(u64),
    Autoprobe(bool),
    Probe(String),
    Bind(DriverName, String),
    Unbind(DriverName, String),
    Override(Queue, Option<String>),
    CardOnline(u8, bool),
    QueueOnline(Queue, bool),
    ConfigureAdapter(u8, bool),
    ClearCardRequests(u8),
    ClearQueueRequests(Queue),
    ResetQueue(Queue),
    Create(Uuid),
    Remove(Uuid),
    Assign(Uuid, Member, u64),
    Unassign(Uuid, Member, u64),
    ApConfig(Uuid, Masks),
    /// The guest's view was filtered again, because a reset ended.
    Filter(Uuid),
}

/// A driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriverName {
    Cex4card,
    Cex4queue,
    VfioAp,
}

/// What an assignment file assigns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Member {
    Adapter,
    Domain,
    ControlDomain,
}

impl From<Driver> for DriverName {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Cex4Card => Self::Cex4card,
            Driver::Cex4Queue => Self::Cex4queue,
            Driver::Plugged => Self::VfioAp,
        }
    }
}

impl From<DriverName> for Driver {
    fn from(name: DriverName) -> Self {
        match name {
            DriverName::Cex4card => Self::Cex4Card,
            DriverName::Cex4queue => Self::Cex4Queue,
            DriverName::VfioAp => Self::Plugged,
        }
    }
}

impl From<MemberKind> for Member {
    fn from(kind: MemberKind) -> Self {
        match kind {
            MemberKind::Adapter => Self::Adapter,
            MemberKind::UsageDomain => Self::Domain,
            MemberKind::ControlDomain => Self::ControlDomain,
        }
    }
}

impl From<Member> for MemberKind {
    fn from(member: Member) -> Self {
        match member {
            Member::Adapter => Self::Adapter,
            Member::Domain => Self::UsageDomain,
            Member::ControlDomain => Self::ControlDomain,
        }
    }
}

/// What is done with an entry at a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The hardware becomes this SPEC, and the host looks.
    Hardware(String),
    /// The partition boots anew.
    Ipl,
    /// The host applies a command.
    Command(Command),
}

impl Entry {
    /// The entry of a command that was accepted, when it led to `after`. None for what is not kept:
    /// what changes nothing, and what guests do.
    pub(crate) fn of(command: &Command, after: &Host) -> Option<Self> {
        let bus = after.bus();
        Some(match command {
            Command::Nothing
            | Command::Open { .. }
            | Command::Close(_)
            | Command::ResetDevice(_)
            | Command::RepeatReleaseRequest(_)
            // What comes of it is kept by itself.
            | Command::TimePassed(_)
            // Comes with what happened to the hardware.
            | Command::HardwareChanged => return None,
            Command::Rescan => Self::Rescan,
            Command::EditMask { mask, .. } => match mask {
                MaskKind::Adapters => Self::Apmask(Mask(bus.apmask().0)),
                MaskKind::Domains => Self::Aqmask(Mask(bus.aqmask().0)),
            },
            Command::SetDefaultDomain(domain) => Self::ApDomain(*domain),
            Command::SetConfigTime(seconds) => Self::ConfigTime(*seconds),
            Command::SetPollThread(run) => Self::PollThread(*run),
            Command::SetPollTimeout(nanoseconds) => Self::PollTimeout(*nanoseconds),
            Command::SetAutoprobe(autoprobe) => Self::Autoprobe(*autoprobe),
            Command::ProbeDevice(device) => Self::Probe(device.clone()),
            Command::Bind { driver, device } => Self::Bind((*driver).into(), device.clone()),
            Command::Unbind { driver, device } => Self::Unbind((*driver).into(), device.clone()),
            Command::SetOverride { apqn, driver } => Self::Override(Text(*apqn), driver.clone()),
            Command::SetCardOnline(apid, online) => Self::CardOnline(apid.0, *online),
            Command::SetQueueOnline(apqn, online) => Self::QueueOnline(Text(*apqn), *online),
            Command::ConfigureAdapter(apid, config) => Self::ConfigureAdapter(apid.0, *config),
            Command::ClearCardRequests(apid) => Self::ClearCardRequests(apid.0),
            Command::ClearQueueRequests(apqn) => Self::ClearQueueRequests(Text(*apqn)),
            Command::ResetQueue(apqn) => Self::ResetQueue(Text(*apqn)),
            Command::CreateMdev(mdev) => Self::Create(Text(*mdev)),
            Command::RemoveMdev(mdev) => Self::Remove(Text(*mdev)),
            Command::Assign { mdev, kind, number } => {
                Self::Assign(Text(*mdev), (*kind).into(), *number)
            }
            Command::Unassign { mdev, kind, number } => {
                Self::Unassign(Text(*mdev), (*kind).into(), *number)
            }
            Command::Filter(mdev) => Self::Filter(Text(*mdev)),
            Command::Configure { mdev, masks } => {
                Self::ApConfig(Text(*mdev), Masks::from(&**masks))
            }
        })
    }

    /// What is to be done at a restart.
    pub(super) fn step(self) -> Step {
        let edit = |mask, value: Mask256| Command::EditMask {
            mask,
            edit: MaskEdit::absolute(value),
        };
        Step::Command(match self {
            Self::Hardware(spec) => return Step::Hardware(spec),
            Self::Ipl => return Step::Ipl,
            Self::Rescan => Command::Rescan,
            Self::Apmask(Mask(mask)) => edit(MaskKind::Adapters, mask),
            Self::Aqmask(Mask(mask)) => edit(MaskKind::Domains, mask),
            Self::ApDomain(domain) => Command::SetDefaultDomain(domain),
            Self::ConfigTime(seconds) => Command::SetConfigTime(seconds),
            Self::PollThread(run) => Command::SetPollThread(run),
            Self::PollTimeout(nanoseconds) => Command::SetPollTimeout(nanoseconds),
            Self::Autoprobe(autoprobe) => Command::SetAutoprobe(autoprobe),
            Self::Probe(device) => Command::ProbeDevice(device),
            Self::Bind(driver, device) => Command::Bind {
                driver: driver.into(),
                device,
            },
            Self::Unbind(driver, device) => Command::Unbind {
                driver: driver.into(),
                device,
            },
            Self::Override(Text(apqn), driver) => Command::SetOverride { apqn, driver },
            Self::CardOnline(apid, online) => Command::SetCardOnline(Apid(apid), online),
            Self::QueueOnline(Text(apqn), online) => Command::SetQueueOnline(apqn, online),
            Self::ConfigureAdapter(apid, config) => Command::ConfigureAdapter(Apid(apid), config),
            Self::ClearCardRequests(apid) => Command::ClearCardRequests(Apid(apid)),
            Self::ClearQueueRequests(Text(apqn)) => Command::ClearQueueRequests(apqn),
            Self::ResetQueue(Text(apqn)) => Command::ResetQueue(apqn),
            Self::Create(Text(mdev)) => Command::CreateMdev(mdev),
            Self::Remove(Text(mdev)) => Command::RemoveMdev(mdev),
            Self::Assign(Text(mdev), member, number) => Command::Assign {
                mdev,
                kind: member.into(),
                number,
            },
            Self::Unassign(Text(mdev), member, number) => Command::Unassign {
                mdev,
                kind: member.into(),
                number,
            },
            Self::Filter(Text(mdev)) => Command::Filter(mdev),
            Self::ApConfig(Text(mdev), masks) => Command::Configure {
                mdev,
                masks: Box::new(masks.into()),
            },
        })
    }
}
