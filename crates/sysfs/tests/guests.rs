//! What guests get and when (spec sections 4, 5 and 7; rows T55 to T71 of its test table that concern
//! the host). Writes go through the tree, the VMM's side through commands.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

mod common;

use arch::{Apcb, Apqn, Errno, ResponseCode};
use common::{Fake, boot};
use matrix::{Command, Effect, Effects, HostError, MatrixError, MdevUuid, Outcome, VmId};
use sysfs::Session;

const F0: &str = "card 4 12 A; card 5 12 A; card 6 12 A; dom 4; dom 5; dom 6; dom 71; \
                  cdom 4; cdom 5; cdom 6; cdom 16; cdom 71; na 63; nd 84";
const M: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const N: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

fn uuid(text: &str) -> MdevUuid {
    text.parse().unwrap()
}

fn vm(name: &str) -> Option<VmId> {
    Some(VmId(name.into()))
}

fn write(session: &mut Session<Fake>, path: &str, text: &str) -> Result<Effects, Errno> {
    session
        .write(path, text.as_bytes())
        .map(|(_, effects)| effects)
        .map_err(|e| e.errno())
}

fn mdev(session: &mut Session<Fake>, name: &str, file: &str, text: &str) -> Result<Effects, Errno> {
    write(
        session,
        &format!("devices/vfio_ap/matrix/{name}/{file}"),
        text,
    )
}

fn read(session: &mut Session<Fake>, path: &str) -> String {
    String::from_utf8(session.read(path).unwrap()).unwrap()
}

fn guest_matrix(session: &mut Session<Fake>) -> String {
    read(session, &format!("devices/vfio_ap/matrix/{M}/guest_matrix"))
}

fn status(session: &mut Session<Fake>, queue: &str) -> String {
    let card = &queue[..2];
    read(session, &format!("devices/ap/card{card}/{queue}/status"))
}

/// Fixture F1 with M and N; M has adapter 5, domain 4, control domain 0x10.
fn fixture() -> Session<Fake> {
    let mut session = boot(F0);
    write(&mut session, "bus/ap/apmask", "-5,-6").unwrap();
    write(&mut session, CREATE, M).unwrap();
    write(&mut session, CREATE, N).unwrap();
    for (file, text) in [
        ("assign_adapter", "5"),
        ("assign_domain", "4"),
        ("assign_control_domain", "0x10"),
    ] {
        mdev(&mut session, M, file, text).unwrap();
    }
    session
}

/// T56: the fixture with M open for VM1.
fn opened() -> Session<Fake> {
    let mut session = fixture();
    let effects = session
        .apply(Command::Open {
            mdev: uuid(M),
            vm: vm("vm1"),
        })
        .unwrap();
    assert_eq!(effects.list, [Effect::ConfigChanged(uuid(M))]);
    session.platform.hardware.zeroized.clear();
    session
}

/// The masks of M's guest: adapters, usage domains, control domains.
fn masks(session: &Session<Fake>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let apcb = session
        .platform
        .guests
        .get(&uuid(M))
        .copied()
        .unwrap_or(Apcb::EMPTY);
    let numbers = |mask: arch::Mask256| mask.iter().collect();
    (
        numbers(apcb.apm.0),
        numbers(apcb.aqm.0),
        numbers(apcb.adm.0),
    )
}

fn signals(effects: &Effects) -> usize {
    let signal = Effect::ConfigChanged(uuid(M));
    effects
        .list
        .iter()
        .filter(|effect| **effect == signal)
        .count()
}

fn zeroized(session: &mut Session<Fake>) -> Vec<Apqn> {
    std::mem::take(&mut session.platform.hardware.zeroized)
}

#[test]
fn t55_open_without_a_vm() {
    let refused = fixture()
        .apply(Command::Open {
            mdev: uuid(M),
            vm: None,
        })
        .unwrap_err();
    assert_eq!(refused.errno(), Errno::EINVAL);
}

#[test]
fn t56_open_gives_the_view_and_resets_nothing() {
    let mut session = opened();
    assert_eq!(masks(&session), (vec![5], vec![4], vec![16]));
    assert_eq!(status(&mut session, "05.0004"), "in use\n");
    assert_eq!(status(&mut session, "05.0005"), "unassigned\n");
    assert_eq!(zeroized(&mut session), []);
}

#[test]
fn t57_one_mdev_per_vm_and_one_vm_per_mdev() {
    let mut session = opened();
    let refused = session
        .apply(Command::Open {
            mdev: uuid(N),
            vm: vm("vm1"),
        })
        .unwrap_err();
    assert_eq!(refused.errno(), Errno::EPERM);
    let refused = session
        .apply(Command::Open {
            mdev: uuid(M),
            vm: vm("vm2"),
        })
        .unwrap_err();
    assert_eq!(refused.errno(), Errno::EBUSY);
    session
        .apply(Command::Open {
            mdev: uuid(N),
            vm: vm("vm2"),
        })
        .unwrap();
    session.apply(Command::Close(uuid(N))).unwrap();
    session.apply(Command::Close(uuid(M))).unwrap();
    session
        .apply(Command::Open {
            mdev: uuid(N),
            vm: vm("vm1"),
        })
        .unwrap();
}

#[test]
fn t61_t62_t63_assign_and_unassign_while_open() {
    let mut session = opened();
    let effects = mdev(&mut session, M, "assign_adapter", "6").unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![5, 6]));
    let effects = mdev(&mut session, M, "assign_adapter", "5").unwrap();
    assert_eq!(signals(&effects), 0, "assigned already");
    assert_eq!(zeroized(&mut session), []);
    let effects = mdev(&mut session, M, "unassign_adapter", "5").unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![6]));
    assert_eq!(zeroized(&mut session), [Apqn::new(5, 4)]);
    assert_eq!(status(&mut session, "05.0004"), "unassigned\n");
    let effects = mdev(&mut session, M, "unassign_control_domain", "16").unwrap();
    assert_eq!((signals(&effects), masks(&session).2), (1, vec![]));
}

#[test]
fn t64_unbind_hides_the_adapter() {
    let mut session = opened();
    let effects = write(&mut session, "bus/ap/drivers/vfio_ap/unbind", "05.0004\n").unwrap();
    assert_eq!(signals(&effects), 1);
    assert_eq!(masks(&session), (vec![], vec![4], vec![16]));
    assert_eq!(guest_matrix(&mut session), ".0004\n");
    let queue = Apqn::new(5, 4);
    assert_eq!(
        zeroized(&mut session),
        [queue, queue],
        "by vfio_ap, then by the bus"
    );
    let effects = write(&mut session, "bus/ap/drivers/vfio_ap/bind", "05.0004\n").unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![5]));
}

#[test]
fn t65_reset_reports_a_deconfigured_queue() {
    let mut session = opened();
    let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
    assert_eq!(effects.outcome, Outcome::Done);
    assert_eq!(zeroized(&mut session), [Apqn::new(5, 4)]);
    session
        .platform
        .hardware
        .replace(&format!("{F0}; decfg 5"))
        .unwrap();
    let effects = session.apply(Command::ResetDevice(uuid(M))).unwrap();
    let expected = Outcome::ResetFailed {
        apqn: Apqn::new(5, 4),
        code: ResponseCode::DECONFIGURED,
    };
    assert_eq!(effects.outcome, expected);
    // 03 is passable: the next filtering keeps the adapter.
    mdev(&mut session, M, "assign_domain", "5").unwrap();
    assert_eq!(masks(&session).0, [5]);
}

#[test]
fn a_queue_whose_reset_failed_hides_its_adapter_until_a_good_reset() {
    let mut session = opened();
    let queue = Apqn::new(5, 4);
    session
        .platform
        .hardware
        .force_zapq(queue, ResponseCode::NOT_AVAILABLE);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    assert_eq!(masks(&session).0, [5], "a reset does not filter");
    mdev(&mut session, M, "assign_domain", "5").unwrap();
    assert_eq!(masks(&session), (vec![], vec![4, 5], vec![16]));
    session
        .platform
        .hardware
        .force_zapq(queue, ResponseCode::NORMAL);
    session.apply(Command::ResetDevice(uuid(M))).unwrap();
    mdev(&mut session, M, "assign_domain", "6").unwrap();
    assert_eq!(masks(&session).0, [5]);
}

#[test]
fn t67_close_clears_and_resets_and_keeps_the_view() {
    let mut session = opened();
    let effects = session.apply(Command::Close(uuid(M))).unwrap();
    assert_eq!(signals(&effects), 0);
    assert!(!session.platform.guests.contains_key(&uuid(M)));
    assert_eq!(zeroized(&mut session), [Apqn::new(5, 4)]);
    assert_eq!(guest_matrix(&mut session), "05.0004\n");
    assert_eq!(status(&mut session, "05.0004"), "assigned\n");
    assert_eq!(
        session.apply(Command::Close(uuid(M))).unwrap_err().errno(),
        Errno::EINVAL
    );
}

#[test]
fn t68_removal_waits_for_the_guest() {
    let mut session = opened();
    let effects = mdev(&mut session, M, "remove", "1").unwrap();
    assert_eq!(effects.outcome, Outcome::Pending(uuid(M)));
    let asked = [
        Effect::ConfigChanged(uuid(M)),
        Effect::ReleaseRequest(uuid(M)),
    ];
    assert_eq!(effects.list, asked);
    assert_eq!(masks(&session), (vec![], vec![], vec![]), "at once");
    assert_eq!(
        mdev(&mut session, M, "remove", "1").unwrap_err(),
        Errno::EAGAIN
    );
    let effects = session
        .apply(Command::RepeatReleaseRequest(uuid(M)))
        .unwrap();
    assert_eq!(effects.list, asked);
    // K16: nothing brings the masks back meanwhile.
    let effects = mdev(&mut session, M, "assign_adapter", "6").unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (0, vec![]));
    let again = session
        .apply(Command::Open {
            mdev: uuid(M),
            vm: vm("vm3"),
        })
        .unwrap_err();
    assert_eq!(again, HostError::Matrix(MatrixError::BeingRemoved(uuid(M))));
    let effects = session.apply(Command::Close(uuid(M))).unwrap();
    assert!(effects.list.contains(&Effect::Removed(uuid(M))));
    assert_eq!(zeroized(&mut session), [Apqn::new(5, 4), Apqn::new(6, 4)]);
    assert_eq!(
        session
            .read(&format!("devices/vfio_ap/matrix/{M}/matrix"))
            .unwrap_err()
            .errno(),
        Errno::ENOENT
    );
    session
        .apply(Command::Open {
            mdev: uuid(N),
            vm: vm("vm1"),
        })
        .unwrap();
}

#[test]
fn t69_t70_the_adapter_goes_and_comes_back() {
    let mut session = opened();
    let without = F0.replace("card 5 12 A; ", "");
    session.platform.hardware.replace(&without).unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![]));
    assert_eq!(guest_matrix(&mut session), ".0004\n");
    assert!(session.list("devices/ap/card05").is_err());
    session.platform.hardware.replace(F0).unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![5]));
    assert_eq!(guest_matrix(&mut session), "05.0004\n");
}

#[test]
fn several_adapters_that_come_back_are_one_signal() {
    let mut session = opened();
    mdev(&mut session, M, "assign_domain", "71").unwrap();
    mdev(&mut session, M, "assign_adapter", "6").unwrap();
    session
        .platform
        .hardware
        .replace(&F0.replace("card 5 12 A; card 6 12 A; ", ""))
        .unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![]));
    session.platform.hardware.replace(F0).unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![5, 6]));
}

#[test]
fn t71_a_control_domain_that_the_host_loses_leaves_the_guest() {
    // K5: Linux leaves it in the guest's ADM.
    let mut session = opened();
    session
        .platform
        .hardware
        .replace(&F0.replace("cdom 16; ", ""))
        .unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!((signals(&effects), masks(&session).2), (1, vec![]));
    let control = read(
        &mut session,
        &format!("devices/vfio_ap/matrix/{M}/control_domains"),
    );
    assert_eq!(control, "0010\n", "still assigned");
    session.platform.hardware.replace(F0).unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!(signals(&effects), 1);
    // K13: the control domain is all that comes back; no adapter is taken for one that fell out.
    assert_eq!(masks(&session), (vec![5], vec![4], vec![16]));
    assert_eq!(zeroized(&mut session), []);
}

#[test]
fn a_device_without_guest_follows_the_host_too() {
    // K6: Linux looks for the VM of every device.
    let mut session = fixture();
    let before = session.platform.guests.clone();
    for (host, view) in [
        (F0.replace("card 5 12 A; ", ""), ".0004\n"),
        (F0.replace(" dom 4;", ""), "05.\n"),
        (F0.replace("cdom 16; ", ""), "05.0004\n"),
        (String::from(F0), "05.0004\n"),
    ] {
        session.platform.hardware.replace(&host).unwrap();
        let effects = session.apply(Command::HardwareChanged).unwrap();
        assert_eq!(
            (signals(&effects), guest_matrix(&mut session)),
            (0, view.into())
        );
    }
    assert_eq!(session.platform.guests, before);
}

#[test]
fn a_refused_second_device_leaves_the_first_as_it_is() {
    // K7: in Linux the refused one takes the VM's interrupt hook.
    let mut session = opened();
    let (host, guests) = (session.host.clone(), session.platform.guests.clone());
    let second = Command::Open {
        mdev: uuid(N),
        vm: vm("vm1"),
    };
    assert_eq!(session.apply(second).unwrap_err().errno(), Errno::EPERM);
    assert!(session.host == host && session.platform.guests == guests);
    let effects = mdev(&mut session, M, "assign_adapter", "6").unwrap();
    assert_eq!((signals(&effects), masks(&session).0), (1, vec![5, 6]));
    assert_eq!(status(&mut session, "06.0004"), "in use\n");
}

#[test]
fn a_queue_that_was_unassigned_while_hidden_has_no_owner() {
    // K14: Linux keeps a pointer to the device, here 05.0004's to M.
    let mut session = opened();
    mdev(&mut session, M, "assign_domain", "71").unwrap();
    write(&mut session, "bus/ap/drivers/vfio_ap/unbind", "05.0047").unwrap();
    assert_eq!(guest_matrix(&mut session), ".0004\n.0047\n", "hidden");
    mdev(&mut session, M, "unassign_adapter", "5").unwrap();
    assert_eq!(status(&mut session, "05.0004"), "unassigned\n");
    session.apply(Command::Close(uuid(M))).unwrap();
    mdev(&mut session, M, "remove", "1").unwrap();
    let open = Command::Open {
        mdev: uuid(N),
        vm: vm("vm2"),
    };
    session.apply(open).unwrap();
    mdev(&mut session, N, "assign_adapter", "5").unwrap();
    mdev(&mut session, N, "assign_domain", "4").unwrap();
    assert_eq!(status(&mut session, "05.0004"), "in use\n");
    write(&mut session, "bus/ap/drivers/vfio_ap/unbind", "05.0004").unwrap();
    assert!(session.platform.guests[&uuid(N)].apm.is_empty());
}

#[test]
fn a_changed_card_takes_its_queues_out_and_back() {
    let mut session = opened();
    session
        .platform
        .hardware
        .replace(&F0.replace("card 5 12", "card 5 13"))
        .unwrap();
    let effects = session.apply(Command::HardwareChanged).unwrap();
    assert_eq!(
        signals(&effects),
        2,
        "gone with the old card, back with the new one"
    );
    assert_eq!(masks(&session).0, [5]);
}

#[test]
fn ap_config_updates_the_guest_for_each_part() {
    let mut session = opened();
    let config = format!("0x02,0x04,0x{}", "0".repeat(64));
    let effects = mdev(&mut session, M, "ap_config", &config).unwrap();
    assert_eq!(
        signals(&effects),
        3,
        "adapters left, domains left, the rest came"
    );
    assert_eq!(masks(&session), (vec![6], vec![5], vec![]));
    assert_eq!(zeroized(&mut session), [Apqn::new(5, 4)]);
    let effects = mdev(&mut session, M, "ap_config", &config).unwrap();
    assert_eq!(signals(&effects), 0);
}

#[test]
fn deconfiguring_through_the_tree_follows_at_once() {
    let mut session = opened();
    let config = "devices/ap/card05/config";
    write(&mut session, config, "0\n").unwrap();
    assert_eq!(read(&mut session, config), "0\n");
    assert_eq!(
        read(&mut session, "devices/ap/card05/05.0004/config"),
        "0\n"
    );
    assert_eq!(masks(&session).0, [5], "the guest sees response code 03");
    assert_eq!(write(&mut session, config, "2").unwrap_err(), Errno::EINVAL);
    write(&mut session, config, "1").unwrap();
    assert_eq!(read(&mut session, config), "1\n");
}

#[test]
fn the_last_defence_refuses_an_open() {
    let mut session = fixture();
    let mut foreign = Apcb::EMPTY;
    foreign.apm.insert(arch::Apid(5));
    foreign.aqm.insert(arch::Apqi(4));
    session.platform.guests.insert(uuid(N), foreign);
    let before = session.host.clone();
    let refused = session
        .apply(Command::Open {
            mdev: uuid(M),
            vm: vm("vm1"),
        })
        .unwrap_err();
    assert_eq!(refused.errno(), Errno::EADDRINUSE);
    assert!(session.host == before);
}

#[test]
fn refusals_name_the_queue_and_its_owner() {
    let mut session = fixture();
    mdev(&mut session, N, "assign_domain", "4").unwrap();
    mdev(&mut session, N, "assign_adapter", "6").unwrap();
    let assign = format!("devices/vfio_ap/matrix/{N}/assign_adapter");
    let error = session.write(&assign, b"5").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("1 queue(s) belong to another mdev, 05.0004 to {M}")
    );
    let sysfs::FileError::Host(error) = error else {
        panic!("{error}")
    };
    assert_eq!(
        error.log_lines(),
        [format!(
            "Userspace may not assign queue 05.0004 to mdev: already assigned to {M}"
        )]
    );
    let error = session.write(&assign, b"4").unwrap_err();
    assert_eq!(
        error.to_string(),
        "queue 04.0004 is reserved for the host's drivers by apmask and aqmask"
    );
    let error = session.write("bus/ap/apmask", b"+5").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("mdev {M} keeps 1 queue(s) from apmask, the first is 05.0004")
    );
}
