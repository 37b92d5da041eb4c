//! One mediated device: what it has, and what its guest does not get and why.

use serde::Serialize;

use super::facts::{Facts, Matrix, View};
use super::filter;
use super::remedy::{self, Remedy};

/// What is known of a mediated device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct MdevReport {
    /// The device.
    pub(crate) uuid: String,
    /// Queues that are assigned.
    pub(crate) queues: Vec<String>,
    /// Of those, the ones that its guest gets; absent when the files do not say.
    pub(crate) guest_queues: Option<Vec<String>>,
    /// Control domains that are assigned.
    pub(crate) control_domains: Vec<String>,
    /// Whether a running guest uses a queue of it; absent when the files do not say.
    pub(crate) in_use: Option<bool>,
    /// All this, and what the guest does not get, in sentences.
    pub(crate) findings: Vec<String>,
    /// What would change it.
    pub(crate) remedies: Vec<Remedy>,
}

/// Explains a mediated device; `None` when there is none with this UUID.
pub(crate) fn explain_mdev(facts: &Facts, uuid: &str) -> Option<MdevReport> {
    let mdev = facts.mdevs.iter().find(|mdev| mdev.uuid == uuid)?;
    let queues = mdev.queues();
    let names = |queues: &[arch::Apqn]| queues.iter().map(ToString::to_string).collect::<Vec<_>>();
    let guest_queues = mdev
        .view
        .filter(|view| view.cut_after.is_none())
        .map(|view| {
            let visible: Vec<_> = queues
                .iter()
                .copied()
                .filter(|apqn| view.has(*apqn) == Some(true))
                .collect();
            names(&visible)
        });
    let mut report = MdevReport {
        uuid: uuid.to_owned(),
        queues: names(&queues),
        guest_queues,
        control_domains: mdev
            .control_domains
            .iter()
            .map(|domain| format!("{domain:04x}"))
            .collect(),
        in_use: in_use(facts, mdev),
        findings: Vec::new(),
        remedies: Vec::new(),
    };
    assigned(mdev, &mut report);
    match mdev.view {
        Some(view) => hidden(facts, mdev, view, &mut report),
        None => report.findings.push(
            "What its guest gets cannot be read: this kernel has no guest_matrix.".to_owned(),
        ),
    }
    control_domains(facts, mdev, &mut report);
    cards(facts, mdev, &mut report);
    Some(report)
}

/// Whether one of its queues is in use; without a queue of `vfio_ap` nothing shows it.
fn in_use(facts: &Facts, mdev: &Matrix) -> Option<bool> {
    let statuses: Vec<&str> = mdev
        .queues()
        .iter()
        .filter_map(|apqn| facts.queues.get(apqn)?.status.as_deref())
        .collect();
    (!statuses.is_empty()).then(|| statuses.contains(&"in use"))
}

fn assigned(mdev: &Matrix, report: &mut MdevReport) {
    let findings = &mut report.findings;
    findings.push(match (mdev.adapters.len(), mdev.domains.len()) {
        (0, 0) => "It has neither adapters nor usage domains, so no queue.".to_owned(),
        (_, 0) => "It has adapters and no usage domain, so no queue.".to_owned(),
        (0, _) => "It has usage domains and no adapter, so no queue.".to_owned(),
        (adapters, domains) => format!(
            "It has {} queue(s): {adapters} adapter(s) by {domains} usage domain(s).",
            adapters * domains
        ),
    });
    match report.in_use {
        Some(true) => findings.push("A running guest uses it.".to_owned()),
        Some(false) => findings.push("No running guest uses a queue of it.".to_owned()),
        None => {}
    }
}

/// Adapters and domains that do not reach the guest.
fn hidden(facts: &Facts, mdev: &Matrix, view: View, report: &mut MdevReport) {
    let mut is_complete = view.cut_after.is_none();
    for apqi in mdev
        .domains
        .iter()
        .filter(|apqi| !view.domains.contains(*apqi))
    {
        is_complete = false;
        let reason = filter::domain(facts, apqi);
        let what = format!("Its guest does not get usage domain {apqi:04x}: {reason}.");
        tell(report, what, reason.remedy(&mdev.uuid));
    }
    for apid in mdev.adapters.iter() {
        if view.has_adapter(apid) != Some(false) {
            continue;
        }
        is_complete = false;
        for reason in filter::adapter(facts, mdev, apid) {
            let what = format!("Its guest does not get adapter {apid:02x}: {reason}.");
            tell(report, what, reason.remedy(&mdev.uuid));
        }
    }
    if let Some(last) = view.cut_after {
        report.findings.push(format!(
            "guest_matrix is longer than a page and ends at adapter {last:02x}: what comes after it cannot be read."
        ));
    }
    if is_complete {
        report
            .findings
            .push("Its guest gets everything that is assigned.".to_owned());
    }
}

fn control_domains(facts: &Facts, mdev: &Matrix, report: &mut MdevReport) {
    let Some(host) = facts.control_domains else {
        return;
    };
    for domain in mdev
        .control_domains
        .iter()
        .filter(|domain| !host.contains(*domain))
    {
        report.findings.push(format!(
            "Its guest does not get control domain {domain:04x}: the partition does not have it."
        ));
    }
}

/// Cards in a bad state. Their queues stay in the guest's view.
fn cards(facts: &Facts, mdev: &Matrix, report: &mut MdevReport) {
    for (apid, card) in facts
        .cards
        .iter()
        .filter(|(apid, _)| mdev.adapters.contains(**apid))
    {
        if card.is_deconfigured {
            let what =
                format!("Adapter {apid:02x} is deconfigured: its queues answer response code 03.");
            report.findings.push(what);
        }
        if card.is_check_stopped {
            let what =
                format!("Adapter {apid:02x} is check-stopped: its queues answer response code 04.");
            report.findings.push(what);
        }
        report.remedies.extend(remedy::repair(*apid, *card));
    }
}

fn tell(report: &mut MdevReport, what: String, remedy: Option<Remedy>) {
    report.findings.push(what);
    if let Some(remedy) = remedy.filter(|remedy| !report.remedies.contains(remedy)) {
        report.remedies.push(remedy);
    }
}

#[cfg(test)]
mod tests;
