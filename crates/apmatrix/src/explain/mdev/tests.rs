use arch::Apqn;

use super::super::fake::{A, B, Fake, mask, queue};
use super::*;

fn report(fake: &Fake) -> MdevReport {
    explain_mdev(&fake.facts(), A).expect("it exists")
}

fn commands(report: &MdevReport) -> String {
    let lines = report.remedies.iter().flat_map(|remedy| &remedy.commands);
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_device_whose_guest_gets_everything() {
    let fake = Fake::new(&[5, 6]);
    fake.mdev(A, &[5], &[4, 0x47], "05.0004 05.0047");
    let report = report(&fake);
    assert_eq!(report.queues, ["05.0004", "05.0047"]);
    assert_eq!(report.guest_queues.as_ref(), Some(&report.queues));
    assert_eq!(report.control_domains, ["0004"]);
    assert_eq!(report.in_use, Some(false));
    assert!(report.remedies.is_empty(), "{report:?}");
    assert!(report.findings.join("\n").contains("gets everything"));
    assert_eq!(explain_mdev(&fake.facts(), B), None);
}

#[test]
fn every_reason_for_a_hidden_adapter() {
    let fake = Fake::new(&[5, 6]);
    fake.mdev(A, &[4, 5, 6, 9], &[4, 0x20, 0x47], ".0004 .0047");
    fake.driver(Apqn::new(5, 4), "");
    fake.remove(&queue(Apqn::new(6, 0x47)));
    let report = report(&fake);
    let said = report.findings.join("\n");
    for reason in [
        "usage domain 0020: the partition has no usage domain 0020",
        "adapter 04: queue 04.0004 is bound to cex4queue",
        "adapter 04: queue 04.0047 is bound to cex4queue",
        "adapter 05: queue 05.0004 has no driver",
        "adapter 06: queue 06.0047 has no device",
        "adapter 09: the partition has no adapter 09",
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let lines = commands(&report);
    assert!(lines.contains("echo 04.0047 > /sys/bus/ap/drivers/cex4queue/unbind"));
    assert!(lines.contains("echo 05.0004 > /sys/bus/ap/drivers/vfio_ap/bind"));
    assert_eq!(report.guest_queues, Some(Vec::new()));
}

#[test]
fn a_view_that_was_not_worked_out_again() {
    let fake = Fake::new(&[5, 6]);
    fake.mdev(A, &[5, 6], &[4], "06.0004");
    let report = report(&fake);
    assert!(
        report
            .findings
            .join("\n")
            .contains("does not get adapter 05: nothing that can be seen")
    );
    assert!(commands(&report).contains(&format!(
        "masks=$(cat /sys/devices/vfio_ap/matrix/{A}/ap_config)"
    )));
}

#[test]
fn cards_and_control_domains_that_the_partition_lacks() {
    let fake = Fake::new(&[5]);
    fake.mdev(A, &[5], &[4], "05.0004");
    fake.file("bus/ap/ap_control_domain_mask", &mask(&[7]));
    fake.file("devices/ap/card05/config", "0");
    fake.file(&format!("{}/status", queue(Apqn::new(5, 4))), "in use");
    let report = report(&fake);
    let said = report.findings.join("\n");
    assert!(said.contains("control domain 0004"), "{said}");
    assert!(said.contains("Adapter 05 is deconfigured"), "{said}");
    assert_eq!(report.in_use, Some(true));
}

#[test]
fn older_kernels_lack_files() {
    let fake = Fake::new(&[5]);
    fake.mdev(A, &[5], &[4], "05.0004");
    let dir = format!("devices/vfio_ap/matrix/{A}");
    fake.remove(&format!("{dir}/ap_config"));
    fake.remove(&format!("{dir}/guest_matrix"));
    fake.file(&format!("{dir}/matrix"), "05.0004");
    let report = report(&fake);
    assert_eq!(report.queues, ["05.0004"]);
    assert_eq!(report.guest_queues, None);
    assert!(report.findings.join("\n").contains("no guest_matrix"));
}

#[test]
fn a_host_without_qci_passes_nothing_on() {
    let fake = Fake::new(&[5]);
    fake.mdev(A, &[5], &[4], "");
    for name in [
        "ap_adapter_mask",
        "ap_usage_domain_mask",
        "ap_control_domain_mask",
    ] {
        fake.file(&format!("bus/ap/{name}"), "not supported");
    }
    assert!(report(&fake).findings.join("\n").contains("no PQAP(QCI)"));
}

#[test]
fn devices_without_queues_say_what_is_missing() {
    let fake = Fake::new(&[5]);
    for (adapters, domains, view, words) in [
        (&[][..], &[][..], "", "neither adapters nor usage domains"),
        (&[5], &[], "05.", "adapters and no usage domain"),
        (&[], &[4], ".0004", "usage domains and no adapter"),
    ] {
        fake.mdev(A, adapters, domains, view);
        let report = report(&fake);
        assert!(report.findings[0].contains(words), "{report:?}");
    }
}
