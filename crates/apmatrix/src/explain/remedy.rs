//! What would change things, as lines for a shell.

use arch::Apqn;
use serde::Serialize;

/// Something that can be done, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Remedy {
    /// What it is good for, to be read after "To".
    pub(crate) goal: String,
    /// The lines, in order. What stands behind `#` is another way to say the same.
    pub(crate) commands: Vec<String>,
}

impl Remedy {
    pub(super) fn new(goal: impl Into<String>, commands: Vec<String>) -> Self {
        Self {
            goal: goal.into(),
            commands,
        }
    }
}

/// A change of apmask or aqmask: `change` is such as `+5` or `-4`.
pub(super) fn change_mask(mask: &str, change: &str) -> String {
    format!("apmatrix mask {mask} {change}    # or: echo {change} > /sys/bus/ap/{mask}")
}

/// Taking an adapter or a domain (`kind`) from a mediated device, or giving it one (`verb`).
pub(super) fn change_mdev(verb: &str, uuid: &str, kind: &str, number: u8) -> String {
    let file = format!("/sys/devices/vfio_ap/matrix/{uuid}/{verb}_{kind}");
    let kind = kind.replace('_', "-");
    format!("apmatrix {verb} {uuid} {kind} {number:#x}    # or: echo {number:#x} > {file}")
}

/// Binding a queue to a driver.
pub(super) fn bind(apqn: Apqn, driver: &str) -> String {
    format!("echo {apqn} > /sys/bus/ap/drivers/{driver}/bind")
}

/// Taking a queue from its driver.
pub(super) fn unbind(apqn: Apqn, driver: &str) -> String {
    format!("echo {apqn} > /sys/bus/ap/drivers/{driver}/unbind")
}

/// Looking for a driver for a queue.
pub(super) fn probe(apqn: Apqn) -> String {
    format!("echo {apqn} > /sys/bus/ap/drivers_probe")
}

/// Naming the only driver that may have a queue; an empty name ends that.
pub(super) fn set_override(apqn: Apqn, driver: &str) -> String {
    let file = format!("/sys/devices/ap/card{}/{apqn}/driver_override", apqn.apid);
    if driver.is_empty() {
        format!("echo > {file}")
    } else {
        format!("echo {driver} > {file}")
    }
}

/// Having `vfio_ap` work out a guest's view again: writing back what `ap_config` reads does that and
/// nothing else.
pub(super) fn filter_again(uuid: &str) -> String {
    let file = format!("/sys/devices/vfio_ap/matrix/{uuid}/ap_config");
    format!("masks=$(cat {file}) && echo \"$masks\" > {file}")
}

/// A scan by hand.
pub(super) fn scan() -> String {
    "echo 1 > /sys/bus/ap/scans".to_owned()
}

/// Plugging an adapter in.
pub(super) fn plug_adapter(apid: u8) -> Remedy {
    Remedy::new(
        format!("have adapter {apid:02x} (on a mainframe: in the activation profile)"),
        vec![format!("apmatrix hmc add-adapter {apid:#x}")],
    )
}

/// Giving the partition a usage domain.
pub(super) fn add_domain(apqi: u8) -> Remedy {
    Remedy::new(
        format!("have usage domain {apqi:04x} (on a mainframe: in the activation profile)"),
        vec![format!("apmatrix hmc add-domain {apqi:#x}")],
    )
}

/// Ending a card's bad state.
pub(super) fn repair(apid: u8, card: super::facts::Card) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    if card.is_deconfigured {
        let file = format!("/sys/devices/ap/card{apid:02x}/config");
        remedies.push(Remedy::new(
            format!("configure adapter {apid:02x}"),
            vec![format!(
                "apmatrix hmc configure {apid:#x}    # or: echo 1 > {file}"
            )],
        ));
    }
    if card.is_check_stopped {
        remedies.push(Remedy::new(
            format!("end the check-stop of adapter {apid:02x} (on a mainframe: a service action)"),
            vec![format!("apmatrix hmc recover {apid:#x}")],
        ));
    }
    remedies
}
