//! One queue: its device, its driver, whose side the masks put it on, who holds it, whether a guest
//! gets it, and what would free or assign it.

use arch::{Apqn, Mask256};
use serde::Serialize;

use super::facts::{Facts, Matrix, Queue};
use super::filter::{self, VFIO_AP};
use super::remedy::{self, Remedy};

/// What is known of a queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct QueueReport {
    /// The queue.
    pub(crate) queue: String,
    /// Whether it has a device.
    pub(crate) exists: bool,
    /// The driver it is bound to.
    pub(crate) driver: Option<String>,
    /// Whether it is reserved for the host's drivers.
    pub(crate) reserved: bool,
    /// The mediated device that has it.
    pub(crate) mdev: Option<String>,
    /// Whether that device's guest gets it; absent when the files do not say.
    pub(crate) in_guest_matrix: Option<bool>,
    /// Whether a running guest uses it; absent when the files do not say.
    pub(crate) in_use: Option<bool>,
    /// All this in sentences.
    pub(crate) findings: Vec<String>,
    /// What would change it.
    pub(crate) remedies: Vec<Remedy>,
}

/// Explains a queue.
pub(crate) fn explain_queue(facts: &Facts, apqn: Apqn) -> QueueReport {
    let device = facts.queues.get(&apqn);
    let holder = facts.holder(apqn);
    let case = Case {
        facts,
        apqn,
        device,
        holder,
        is_reserved: is_reserved(facts, apqn, device),
    };
    let view = holder.and_then(|mdev| mdev.view.as_ref());
    let status = device.and_then(|queue| queue.status.as_deref());
    let mut report = QueueReport {
        queue: apqn.to_string(),
        exists: device.is_some(),
        driver: device.and_then(|queue| queue.driver.clone()),
        reserved: case.is_reserved,
        mdev: holder.map(|mdev| mdev.uuid.clone()),
        in_guest_matrix: match holder {
            None => Some(false),
            Some(_) => view.and_then(|view| view.has(apqn)),
        },
        in_use: match (status, case.driver()) {
            (Some(status), _) => Some(status == "in use"),
            (None, Some(VFIO_AP)) => None,
            (None, _) => Some(false),
        },
        findings: Vec::new(),
        remedies: Vec::new(),
    };
    case.device(&mut report);
    case.side(&mut report);
    match holder {
        Some(mdev) => case.held(mdev, &mut report),
        None => case.free(&mut report),
    }
    report
}

/// The test that `vfio_ap` makes at an assignment: with an override the driver counts, else the masks.
fn is_reserved(facts: &Facts, apqn: Apqn, device: Option<&Queue>) -> bool {
    match device {
        Some(queue) if queue.driver_override.is_some() => queue
            .driver
            .as_deref()
            .is_some_and(|driver| driver != VFIO_AP),
        _ => facts.apmask.contains(apqn.apid.0) && facts.aqmask.contains(apqn.apqi.0),
    }
}

struct Case<'f> {
    facts: &'f Facts,
    apqn: Apqn,
    device: Option<&'f Queue>,
    holder: Option<&'f Matrix>,
    is_reserved: bool,
}

impl Case<'_> {
    fn driver(&self) -> Option<&str> {
        self.device?.driver.as_deref()
    }

    /// Whether there is a device, its driver, and its card's state.
    fn device(&self, report: &mut QueueReport) {
        let (apid, apqi) = (self.apqn.apid.0, self.apqn.apqi.0);
        let findings = &mut report.findings;
        if self.device.is_none() {
            let (adapter, domain) = (self.facts.has_adapter(apid), self.facts.has_domain(apqi));
            if !adapter {
                findings.push(format!(
                    "There is no such queue: the partition has no adapter {apid:02x}."
                ));
                report.remedies.push(remedy::plug_adapter(apid));
            }
            if !domain {
                findings.push(format!(
                    "There is no such queue: the partition has no usage domain {apqi:04x}."
                ));
                report.remedies.push(remedy::add_domain(apqi));
            }
            if adapter && domain {
                findings.push(
                    "The partition has the adapter and the domain, but the AP bus has no device for the queue: it \
                     was not scanned since, or the queue does not answer, or the card is older than CEX4."
                        .to_owned(),
                );
                report
                    .remedies
                    .push(Remedy::new("look for it again", vec![remedy::scan()]));
            }
            return;
        }
        findings.push(match self.driver() {
            Some(VFIO_AP) => "It is bound to vfio_ap.".to_owned(),
            Some(driver) => format!("It is bound to {driver}, a driver of the host."),
            None => "It is bound to no driver. No driver takes an existing queue by itself, except after a change of \
                     a mask."
                .to_owned(),
        });
        if let Some(card) = self.facts.cards.get(&apid) {
            if card.is_deconfigured {
                findings.push(format!(
                    "Adapter {apid:02x} is deconfigured: the queue answers response code 03."
                ));
            }
            if card.is_check_stopped {
                findings.push(format!(
                    "Adapter {apid:02x} is check-stopped: the queue answers response code 04."
                ));
            }
            report.remedies.extend(remedy::repair(apid, *card));
        }
    }

    /// Whose side the masks, or an override, put it on.
    fn side(&self, report: &mut QueueReport) {
        let (apid, apqi) = (self.apqn.apid, self.apqn.apqi);
        let (ap, aq) = (
            self.facts.apmask.contains(apid.0),
            self.facts.aqmask.contains(apqi.0),
        );
        report.findings.push(match self.wanted() {
            Some(wanted) => format!("driver_override lets only {wanted} have it; the masks do not count."),
            None => match (ap, aq) {
                (true, true) => format!(
                    "It is reserved for the host's drivers: adapter {apid} is in apmask and domain {apqi} in aqmask."
                ),
                (false, true) => format!("It is left to vfio_ap: adapter {apid} is not in apmask."),
                (true, false) => format!("It is left to vfio_ap: domain {apqi} is not in aqmask."),
                (false, false) => format!(
                    "It is left to vfio_ap: adapter {apid} is not in apmask and domain {apqi} not in aqmask."
                ),
            },
        });
    }

    fn wanted(&self) -> Option<&str> {
        self.device?.driver_override.as_deref()
    }

    /// A mediated device has it.
    fn held(&self, mdev: &Matrix, report: &mut QueueReport) {
        let (apid, apqi, uuid) = (self.apqn.apid, self.apqn.apqi, mdev.uuid.as_str());
        report
            .findings
            .push(format!("It is assigned to mediated device {uuid}."));
        match (report.in_guest_matrix, report.in_use) {
            (Some(false), _) => self.hidden(mdev, report),
            (None, _) => report.findings.push(
                "What the device's guest gets of it cannot be read (guest_matrix is missing or cut off).".to_owned(),
            ),
            (_, Some(true)) => report.findings.push("A running guest uses it.".to_owned()),
            (_, Some(false)) => report.findings.push(
                "The device's guest would get it; no guest has the device open now.".to_owned(),
            ),
            (_, None) => report.findings.push("The device's guest gets it.".to_owned()),
        }
        let others = |same: &dyn Fn(&Apqn) -> bool| {
            let others: Vec<String> = mdev
                .queues()
                .iter()
                .filter(|other| **other != self.apqn && same(other))
                .map(ToString::to_string)
                .collect();
            match others.len() {
                0 => "nothing else goes with it".to_owned(),
                1..=8 => format!("{} goes with it", others.join(" ")),
                many => format!("{many} other queues go with it"),
            }
        };
        report.remedies.push(Remedy::new(
            format!(
                "free it by its adapter ({})",
                others(&|other| other.apid == apid)
            ),
            vec![remedy::change_mdev("unassign", uuid, "adapter", apid.0)],
        ));
        report.remedies.push(Remedy::new(
            format!(
                "free it by its domain ({})",
                others(&|other| other.apqi == apqi)
            ),
            vec![remedy::change_mdev("unassign", uuid, "domain", apqi.0)],
        ));
        report.remedies.push(Remedy::new(
            "free it with the whole device (waits until its guest lets go)",
            vec![format!("apmatrix mdev remove {uuid}")],
        ));
        self.give_to_host(report);
    }

    /// Why the guest of the device that has it does not get it.
    fn hidden(&self, mdev: &Matrix, report: &mut QueueReport) {
        let (apid, apqi) = (self.apqn.apid.0, self.apqn.apqi.0);
        let view = mdev.view.unwrap_or_default();
        let mut reasons = Vec::new();
        if !view.domains.contains(apqi) {
            reasons.push(filter::domain(self.facts, apqi));
        }
        if view.has_adapter(apid) == Some(false) {
            reasons.extend(filter::adapter(self.facts, mdev, apid));
        }
        for reason in reasons {
            report
                .findings
                .push(format!("The device's guest does not get it: {reason}."));
            report.remedies.extend(reason.remedy(&mdev.uuid));
        }
        report.remedies.dedup();
    }

    /// What gives it to the host's drivers once no mediated device has it.
    fn give_to_host(&self, report: &mut QueueReport) {
        if self.is_reserved || self.device.is_none() {
            return;
        }
        let (apid, apqi) = (self.apqn.apid.0, self.apqn.apqi.0);
        let mut commands = Vec::new();
        if self.wanted().is_some() {
            commands.push(remedy::set_override(self.apqn, ""));
            commands.extend(
                self.driver()
                    .map(|driver| remedy::unbind(self.apqn, driver)),
            );
            commands.push(remedy::probe(self.apqn));
        } else {
            if !self.facts.apmask.contains(apid) {
                commands.push(remedy::change_mask("apmask", &format!("+{apid:#x}")));
            }
            if !self.facts.aqmask.contains(apqi) {
                commands.push(remedy::change_mask("aqmask", &format!("+{apqi:#x}")));
            }
        }
        let goal = match self.holder {
            Some(_) => "give it back to the host's drivers, after it is free",
            None => "give it back to the host's drivers",
        };
        report.remedies.push(Remedy::new(goal, commands));
    }

    /// No mediated device has it.
    fn free(&self, report: &mut QueueReport) {
        let (apid, apqi) = (self.apqn.apid.0, self.apqn.apqi.0);
        report
            .findings
            .push("No mediated device has it.".to_owned());
        if !self.facts.has_vfio_ap {
            report.remedies.push(Remedy::new(
                "have mediated devices",
                vec!["modprobe vfio_ap".to_owned()],
            ));
            return;
        }
        if self.is_reserved {
            self.take_from_host(report);
        } else if self.device.is_some() && self.driver() != Some(VFIO_AP) {
            let mut commands: Vec<String> = Vec::new();
            commands.extend(
                self.driver()
                    .map(|driver| remedy::unbind(self.apqn, driver)),
            );
            commands.push(remedy::bind(self.apqn, VFIO_AP));
            report
                .remedies
                .push(Remedy::new("give it to vfio_ap", commands));
        }
        report.remedies.push(Remedy::new(
            if self.is_reserved {
                "assign it, after that, to a mediated device UUID"
            } else {
                "assign it to a mediated device UUID (apmatrix mdev create prints a new one)"
            },
            vec![
                remedy::change_mdev("assign", "UUID", "adapter", apid),
                remedy::change_mdev("assign", "UUID", "domain", apqi),
            ],
        ));
        self.give_to_host(report);
    }

    /// What takes it from the host's drivers.
    fn take_from_host(&self, report: &mut QueueReport) {
        let (apid, apqi) = (self.apqn.apid.0, self.apqn.apqi.0);
        if let Some(driver) = self.driver().filter(|_| self.wanted().is_some()) {
            let commands = vec![
                remedy::set_override(self.apqn, VFIO_AP),
                remedy::unbind(self.apqn, driver),
                remedy::probe(self.apqn),
            ];
            report
                .remedies
                .push(Remedy::new("give it to vfio_ap", commands));
            return;
        }
        let count = |same: &dyn Fn(&Apqn) -> bool| {
            self.facts.queues.keys().filter(|apqn| same(apqn)).count()
        };
        report.remedies.push(Remedy::new(
            format!(
                "take it from the host's drivers with all {} queues of adapter {apid:02x}",
                count(&|other| other.apid.0 == apid)
            ),
            vec![remedy::change_mask("apmask", &format!("-{apid:#x}"))],
        ));
        report.remedies.push(Remedy::new(
            format!(
                "take it from the host's drivers with all {} queues of domain {apqi:04x}",
                count(&|other| other.apqi.0 == apqi)
            ),
            vec![remedy::change_mask("aqmask", &format!("-{apqi:#x}"))],
        ));
        let masks_are_full =
            self.facts.apmask == Mask256::FULL && self.facts.aqmask == Mask256::FULL;
        if let Some(queue) = self
            .device
            .filter(|queue| queue.knows_override && masks_are_full)
        {
            let mut commands = vec![remedy::set_override(self.apqn, VFIO_AP)];
            commands.extend(
                queue
                    .driver
                    .as_deref()
                    .map(|driver| remedy::unbind(self.apqn, driver)),
            );
            commands.push(remedy::probe(self.apqn));
            report.remedies.push(Remedy::new(
                "take this queue alone (the masks cannot change as long as a queue has an override)",
                commands,
            ));
        }
    }
}

#[cfg(test)]
mod tests;
