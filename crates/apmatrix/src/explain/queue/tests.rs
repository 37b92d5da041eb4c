use super::super::fake::{A, B, Fake, queue};
use super::*;

const QUEUE: Apqn = Apqn::new(5, 4);

fn commands(report: &QueueReport) -> String {
    let lines = report.remedies.iter().flat_map(|remedy| &remedy.commands);
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn said(report: &QueueReport) -> String {
    report.findings.join("\n")
}

#[test]
fn a_queue_of_the_host_names_masks_and_override() {
    let fake = Fake::new(&[]);
    let report = explain_queue(&fake.facts(), QUEUE);
    assert_eq!(report.driver.as_deref(), Some("cex4queue"));
    assert!(report.exists && report.reserved && report.mdev.is_none());
    assert_eq!(
        (report.in_guest_matrix, report.in_use),
        (Some(false), Some(false))
    );
    assert!(said(&report).contains("adapter 05 is in apmask and domain 0004 in aqmask"));
    let lines = commands(&report);
    for line in [
        "apmatrix mask apmask -0x5    # or: echo -0x5 > /sys/bus/ap/apmask",
        "apmatrix mask aqmask -0x4",
        "echo vfio_ap > /sys/devices/ap/card05/05.0004/driver_override",
        "echo 05.0004 > /sys/bus/ap/drivers/cex4queue/unbind",
        "echo 05.0004 > /sys/bus/ap/drivers_probe",
        "apmatrix assign UUID domain 0x4",
    ] {
        assert!(lines.contains(line), "{line}: {lines}");
    }
}

#[test]
fn no_override_is_offered_where_it_would_be_refused() {
    let other_is_free = Fake::new(&[6]);
    let report = explain_queue(&other_is_free.facts(), QUEUE);
    assert!(!commands(&report).contains("driver_override"));
    let old_kernel = Fake::new(&[]);
    old_kernel.remove(&format!("{}/driver_override", queue(QUEUE)));
    let report = explain_queue(&old_kernel.facts(), QUEUE);
    assert!(!commands(&report).contains("driver_override"));
}

#[test]
fn a_queue_in_use_names_its_device_and_what_goes_with_it() {
    let fake = Fake::new(&[5, 6]);
    fake.mdev(A, &[5, 6], &[4, 0x47], "05.0004 05.0047 06.0004 06.0047");
    fake.mdev(B, &[6], &[], "06.");
    fake.file(&format!("{}/status", queue(QUEUE)), "in use");
    let report = explain_queue(&fake.facts(), QUEUE);
    assert_eq!(report.mdev.as_deref(), Some(A));
    assert_eq!(
        (report.in_guest_matrix, report.in_use),
        (Some(true), Some(true))
    );
    assert!(said(&report).contains("A running guest uses it."));
    let goals: Vec<&str> = report
        .remedies
        .iter()
        .map(|remedy| remedy.goal.as_str())
        .collect();
    assert!(goals[0].contains("05.0047 goes with it"), "{goals:?}");
    assert!(goals[1].contains("06.0004 goes with it"), "{goals:?}");
    let lines = commands(&report);
    assert!(lines.contains(&format!("apmatrix unassign {A} adapter 0x5")));
    assert!(lines.contains(&format!(
        "echo 0x4 > /sys/devices/vfio_ap/matrix/{A}/unassign_domain"
    )));
    assert!(lines.contains("apmatrix mask apmask +0x5"), "{lines}");
    assert!(!lines.contains("aqmask"), "{lines}");
}

#[test]
fn an_assigned_queue_that_is_hidden_by_another() {
    let fake = Fake::new(&[5, 6]);
    fake.mdev(A, &[5, 6], &[4, 0x47], "06.0004 06.0047");
    fake.driver(Apqn::new(5, 0x47), "");
    fake.file(&format!("{}/status", queue(QUEUE)), "assigned");
    let report = explain_queue(&fake.facts(), QUEUE);
    assert_eq!(report.in_guest_matrix, Some(false));
    assert!(said(&report).contains("queue 05.0047 has no driver"));
    assert!(commands(&report).contains("echo 05.0047 > /sys/bus/ap/drivers/vfio_ap/bind"));
}

#[test]
fn queues_that_do_not_exist() {
    let fake = Fake::new(&[5]);
    let report = explain_queue(&fake.facts(), Apqn::new(9, 0x20));
    assert!(!report.exists);
    assert!(said(&report).contains("no adapter 09") && said(&report).contains("domain 0020"));
    let lines = commands(&report);
    assert!(lines.contains("apmatrix hmc add-adapter 0x9"), "{lines}");
    assert!(lines.contains("apmatrix hmc add-domain 0x20"), "{lines}");

    fake.remove(&queue(QUEUE));
    let report = explain_queue(&fake.facts(), QUEUE);
    assert!(said(&report).contains("the AP bus has no device"));
    assert!(commands(&report).contains("echo 1 > /sys/bus/ap/scans"));
}

#[test]
fn a_free_queue_without_a_driver_and_a_broken_card() {
    let fake = Fake::new(&[5]);
    fake.driver(QUEUE, "");
    fake.remove(&format!("{}/status", queue(QUEUE)));
    fake.file("devices/ap/card05/config", "0");
    fake.file("devices/ap/card05/chkstop", "1");
    let report = explain_queue(&fake.facts(), QUEUE);
    assert!(said(&report).contains("bound to no driver"));
    assert!(said(&report).contains("response code 03"));
    assert!(said(&report).contains("response code 04"));
    let lines = commands(&report);
    assert!(lines.contains("echo 05.0004 > /sys/bus/ap/drivers/vfio_ap/bind"));
    assert!(lines.contains("apmatrix hmc configure 0x5"));
    assert!(lines.contains("apmatrix hmc recover 0x5"));
}

#[test]
fn an_override_counts_instead_of_the_masks() {
    let fake = Fake::new(&[]);
    fake.file(&format!("{}/driver_override", queue(QUEUE)), "vfio_ap");
    fake.driver(QUEUE, "vfio_ap");
    let report = explain_queue(&fake.facts(), QUEUE);
    assert!(!report.reserved);
    assert!(said(&report).contains("driver_override lets only vfio_ap"));
    let lines = commands(&report);
    assert!(
        lines.contains("echo > /sys/devices/ap/card05/05.0004/driver_override"),
        "{lines}"
    );
    fake.file(&format!("{}/driver_override", queue(QUEUE)), "cex4queue");
    fake.driver(QUEUE, "cex4queue");
    assert!(explain_queue(&fake.facts(), QUEUE).reserved);
}

#[test]
fn a_host_without_vfio_ap() {
    let fake = Fake::new(&[]);
    fake.remove("devices/vfio_ap");
    let report = explain_queue(&fake.facts(), QUEUE);
    assert!(commands(&report).contains("modprobe vfio_ap"));
}
