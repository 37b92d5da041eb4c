//! Where the tree differs from Linux on purpose, and errnos that no recording decides
//! (`docs/deviations.md`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use arch::Errno;
use bus::Action;
use common::{Fake, boot};
use matrix::{BootConfig, Command, Effect, VmId};
use sysfs::Session;

const HOST: &str = "card 5 14 A; card 6 14 A; dom 4; dom 71";
const M: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

fn write(session: &mut Session<Fake>, path: &str, text: &str) -> Result<(), Errno> {
    session
        .write(path, text.as_bytes())
        .map(|_| ())
        .map_err(|error| error.errno())
}

fn file(name: &str) -> String {
    format!("devices/vfio_ap/matrix/{M}/{name}")
}

fn with_mdev(config: &BootConfig) -> Session<Fake> {
    let mut session = Session::boot(config, Fake::new(HOST));
    for (path, text) in [
        ("bus/ap/apmask", "-5,-6"),
        (CREATE, M),
        (&file("assign_adapter"), "5"),
        (&file("assign_adapter"), "6"),
        (&file("assign_domain"), "4"),
        (&file("assign_domain"), "71"),
    ] {
        write(&mut session, path, text).unwrap();
    }
    session
}

#[test]
fn k2_unassign_filters_again_only_when_asked() {
    for (refilter_on_unassign, expected) in [(false, "06.0004\n"), (true, "05.0004\n06.0004\n")] {
        let mut session = with_mdev(&BootConfig {
            refilter_on_unassign,
            ..BootConfig::default()
        });
        write(&mut session, "bus/ap/drivers/vfio_ap/unbind", "05.0047").unwrap();
        write(&mut session, &file("unassign_domain"), "71").unwrap();
        let view = session.read(&file("guest_matrix")).unwrap();
        assert_eq!(view, expected.as_bytes());
    }
}

#[test]
fn other_buses_have_nothing_to_probe() {
    let mut session = with_mdev(&BootConfig::default());
    let upper = M.to_uppercase();
    for (bus, known, other) in [("bus/mdev", M, "matrix"), ("bus/matrix", "matrix", M)] {
        let autoprobe = format!("{bus}/drivers_autoprobe");
        assert_eq!(write(&mut session, &autoprobe, "0"), Ok(()));
        assert_eq!(session.read(&autoprobe).unwrap(), b"1\n");
        let probe = format!("{bus}/drivers_probe");
        for unknown in ["nobody", other, &upper] {
            assert_eq!(write(&mut session, &probe, unknown), Err(Errno::ENODEV));
        }
        assert_eq!(write(&mut session, &probe, known), Ok(()));
    }
    assert_eq!(
        write(&mut session, "bus/ap/drivers_probe", "07.0004"),
        Err(Errno::ENODEV)
    );
}

#[test]
fn an_mdev_keeps_its_driver() {
    let mut session = with_mdev(&BootConfig::default());
    let driver = "bus/mdev/drivers/vfio_ap_mdev";
    for (name, known, unknown) in [
        ("bind", Errno::ENODEV, Errno::ENODEV),
        ("unbind", Errno::EOPNOTSUPP, Errno::ENODEV),
    ] {
        let path = format!("{driver}/{name}");
        assert_eq!(write(&mut session, &path, M), Err(known));
        assert_eq!(write(&mut session, &path, "nobody"), Err(unknown));
    }
}

#[test]
fn synthetic_uevents_have_one_form() {
    let mut session = boot(HOST);
    let uevent = "devices/ap/card05/uevent";
    for good in ["add", "remove\n", "bind\0", "unbind"] {
        assert_eq!(write(&mut session, uevent, good), Ok(()), "{good:?}");
    }
    for good in ["", "\n", " A=1", " A=1 b2=c3\n"] {
        let text = format!("change {M}{good}");
        assert_eq!(write(&mut session, uevent, &text), Ok(()), "{text:?}");
    }
    for bad in [
        "\n", "ADD", "add\n\n", " add", "add ", "add 1", "ad", "adds",
    ] {
        assert_eq!(
            write(&mut session, uevent, bad),
            Err(Errno::EINVAL),
            "{bad:?}"
        );
    }
    for bad in [
        " ", "  A=1", " A", " A=", " =1", " A=1 ", " A=1=2", " A=b-c", "x",
    ] {
        let text = format!("change {M}{bad}");
        assert_eq!(
            write(&mut session, uevent, &text),
            Err(Errno::EINVAL),
            "{text:?}"
        );
    }
}

#[test]
fn errnos_that_no_recording_decides() {
    let mut session = with_mdev(&BootConfig::default());
    for path in ["bus/ap/uevent", "devices/ap/card05/uevent", &file("uevent")] {
        assert_eq!(write(&mut session, path, "dance"), Err(Errno::EINVAL));
        assert_eq!(write(&mut session, path, "change\n"), Ok(()));
    }
    session
        .apply(Command::Open {
            mdev: M.parse().unwrap(),
            vm: Some(VmId("vm".into())),
        })
        .unwrap();
    assert_eq!(write(&mut session, &file("remove"), "1"), Ok(()));
    assert_eq!(
        write(&mut session, &file("remove"), "1"),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn complete_bindings_are_announced_after_the_scan_has_bound_all() {
    let mut session = boot(HOST);
    let more = format!("{HOST}; card 7 14 A");
    session.platform.hardware.replace(&more).unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    let events: Vec<_> = effects
        .list
        .iter()
        .filter_map(|effect| match effect {
            Effect::Uevent(event) => Some(event),
            _ => None,
        })
        .collect();
    let is_complete = |event: &&&bus::Uevent| {
        let complete = ("BINDINGS", String::from("complete"));
        event.properties.contains(&complete)
    };
    assert_eq!(events.iter().filter(is_complete).count(), 1);
    let place = events.iter().position(|event| is_complete(&event));
    let last_bind = events
        .iter()
        .rposition(|event| event.action == Action::Bind);
    assert!(last_bind.is_some() && place > last_bind, "{events:?}");
}
