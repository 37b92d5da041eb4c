//! How kata and kubevirt find vfio-ap devices on a host: the same calls, as a script.

use crate::instance::{A, B, Instance, User};
use crate::tier::Tier;

const SCRIPT: &str = include_str!("scripts/vfio-discovery.sh");

fn discover(instance: &Instance) {
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4, 0x47]);
    instance.mdev(B, &[], &[]);
    let script = instance.file("vfio-discovery.sh", SCRIPT);
    let output = instance.verb(&["run", "--", "sh", &script, "0"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let device = "type='VFIO AP Passthrough Device'";
    let expected = format!(
        "kubevirt type: matrix vfio_ap-passthrough 'VFIO AP Passthrough Device' 65534 create=yes\n\
         kubevirt device: {A} parent=matrix {device} group=0\n\
         kubevirt device: {B} parent=matrix {device} group=1\n\
         kata device: /sys/devices/vfio_ap/matrix/{A}\n\
         kata queue: 05.0004\n\
         kata queue: 05.0047\n"
    );
    assert_eq!(said, expected);

    // A group ends with its device.
    instance.set(&format!("devices/vfio_ap/matrix/{A}/remove"), "1");
    let output = instance.verb(&["run", "--", "sh", &script, "0"]);
    assert!(!output.status.success(), "{output:?}");
    let output = instance.verb(&["run", "--", "sh", "-c", "echo /dev/vfio/*"]);
    assert_eq!(output.stdout, b"/dev/vfio/1 /dev/vfio/vfio\n");
}

#[test]
fn kata_and_kubevirt_find_the_devices() {
    if Tier::Mount.is_there() {
        discover(&Instance::start());
    }
}

/// A container's agent need not be root of the host.
#[test]
fn kata_and_kubevirt_find_the_devices_as_an_ordinary_user() {
    if Tier::Mount.is_there() {
        discover(&Instance::of(User::Ordinary));
    }
}
