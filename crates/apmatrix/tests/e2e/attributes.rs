//! Attributes on the real mount: errno of raw writes, modes, names that come and go, many writers.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use arch::Errno;

use crate::instance::{A, B, Instance, TYPE};
use crate::tier::Tier;

/// Writes in order on one instance, each with the errno that Linux answers (0 is success).
fn answers(instance: &Instance, writes: &[(&str, &str, Option<Errno>)]) {
    for (path, text, errno) in writes {
        let expected = errno.map_or(0, Errno::raw);
        assert_eq!(instance.write(path, text), expected, "{path} <- {text:?}");
    }
}

#[test]
fn each_errno_of_an_assignment_comes_from_write() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let create = format!("{TYPE}/create");
    let of = |uuid: &str, name: &str| format!("devices/vfio_ap/matrix/{uuid}/{name}");
    let (adapter, domain) = (of(A, "assign_adapter"), of(A, "assign_domain"));
    let (other_adapter, other_domain) = (of(B, "assign_adapter"), of(B, "assign_domain"));
    answers(
        &instance,
        &[
            ("bus/ap/apmask", "-5,-6\n", None),
            (&create, A, None),
            (&create, A, Some(Errno::EEXIST)),
            (&create, "foo\n", Some(Errno::EINVAL)),
            (&create, B, None),
            (&adapter, "64\n", Some(Errno::ENODEV)),
            (&adapter, "abc", Some(Errno::EINVAL)),
            (&adapter, " 5", Some(Errno::EINVAL)),
            (&adapter, "18446744073709551616", Some(Errno::ERANGE)),
            (&adapter, "5\n", None),
            (&domain, "4\n", None),
            (&adapter, "4", Some(Errno::EADDRNOTAVAIL)),
            (&other_adapter, "5", None),
            (&other_domain, "4", Some(Errno::EADDRINUSE)),
            ("bus/ap/apmask", "+5", Some(Errno::EBUSY)),
            ("bus/ap/apmask", "0xzz", Some(Errno::EINVAL)),
            ("bus/ap/drivers/vfio_ap/bind", "05.0004", Some(Errno::EBUSY)),
        ],
    );
    assert_eq!(instance.read(&of(A, "matrix")), "05.0004\n");
    assert_eq!(instance.read(&of(B, "matrix")), "05.\n");
    let log = instance.verb(&["log"]);
    let log = String::from_utf8(log.stdout).expect("text");
    assert!(
        log.contains("EADDRINUSE") && log.contains("05.0004") && log.contains(A),
        "{log}"
    );
}

#[test]
fn the_manners_of_sysfs() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let mode = |path: &str| {
        fs::metadata(instance.sys(path))
            .expect("it exists")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("bus/ap/apmask"), mode("bus/ap/bindings")),
        (0o644, 0o444)
    );
    assert_eq!(mode(&format!("{TYPE}/create")), 0o200);
    // The wrong direction is refused at open, for root too.
    let denied = fs::read(instance.sys(&format!("{TYPE}/create"))).unwrap_err();
    assert_eq!(denied.raw_os_error(), Some(Errno::EACCES.raw()));
    assert_eq!(instance.write("bus/ap/bindings", "x"), Errno::EACCES.raw());
    // A new name cannot be made; what is there can be opened with O_CREAT and O_TRUNC.
    assert_eq!(
        fs::write(instance.sys("bus/ap/new"), "x")
            .unwrap_err()
            .kind(),
        ErrorKind::PermissionDenied
    );
    fs::write(instance.sys("bus/ap/config_time"), "60\n").expect("as every tool writes");
    assert_eq!(instance.read("bus/ap/config_time"), "60\n");
    assert!(fs::create_dir(instance.sys("bus/ap/dir")).is_err());
    assert!(fs::remove_file(instance.sys("bus/ap/apmask")).is_err());
    let renamed = fs::rename(instance.sys("bus/ap/apmask"), instance.sys("bus/ap/aqmask"));
    assert_eq!(
        renamed.unwrap_err().raw_os_error(),
        Some(Errno::EPERM.raw())
    );
    let apmask = instance.sys("bus/ap/apmask");
    let changed = fs::set_permissions(&apmask, fs::Permissions::from_mode(0o600));
    let owned = std::os::unix::fs::chown(&apmask, Some(1), None);
    for refused in [changed, owned] {
        let errno = refused.unwrap_err().raw_os_error();
        assert_eq!(errno, Some(Errno::EPERM.raw()));
    }
    // Attributes show a page and read what they have; a reader goes on with what it began.
    assert_eq!(
        fs::metadata(instance.sys("bus/ap/apmask"))
            .expect("it exists")
            .len(),
        4096
    );
    let mut file = fs::File::open(instance.sys("bus/ap/apmask")).expect("it exists");
    let mut start = [0; 4];
    file.read_exact(&mut start).expect("it has 67 bytes");
    instance.set("bus/ap/apmask", "0x0");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("text");
    assert_eq!((&start[..], rest.len()), (&b"0xff"[..], 63));
    assert!(rest.starts_with("ff"));
    file.seek(SeekFrom::Start(0)).expect("it can seek");
    rest.clear();
    file.read_to_string(&mut rest).expect("text");
    assert!(rest.starts_with("0x0000"), "{rest}");
    // Every write(2) is a store of its own, wherever the file position stands.
    use std::io::Write;
    let mut file = OpenOptions::new()
        .write(true)
        .open(instance.sys("bus/ap/apmask"))
        .expect("rw");
    assert_eq!(file.write(b"+1").expect("a store"), 2);
    assert_eq!(file.write(b"+2").expect("a store"), 2);
    assert!(instance.read("bus/ap/apmask").starts_with("0x6000"));
}

#[test]
fn an_open_file_outlives_its_device_only_in_part() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.mdev(A, &[5, 6], &[]);
    let mdev = format!("devices/vfio_ap/matrix/{A}");
    let mut matrix = fs::File::open(instance.sys(&format!("{mdev}/matrix"))).expect("it exists");
    let mut start = [0; 3];
    matrix.read_exact(&mut start).expect("it has 8 bytes");
    instance.set(&format!("{mdev}/remove"), "1");
    let mut rest = [0; 5];
    matrix.read_exact(&mut rest).expect("what was begun");
    assert_eq!((&start, &rest), (b"05.", b"\n06.\n"));
    let end = matrix.read(&mut start).unwrap_err();
    assert_eq!(end.raw_os_error(), Some(Errno::ENODEV.raw()));
    matrix.seek(SeekFrom::Start(0)).expect("it can seek");
    let again = matrix.read(&mut start).unwrap_err();
    assert_eq!(again.raw_os_error(), Some(Errno::ENODEV.raw()));
}

#[test]
fn names_are_there_before_the_write_returns() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    let link = instance.sys(&format!("bus/mdev/devices/{A}"));
    for _ in 0..20 {
        // mdevctl looks before it creates: a negative answer must not stay.
        assert!(!link.exists());
        instance.mdev(A, &[], &[]);
        assert!(link.exists());
        let real = fs::canonicalize(&link).expect("the link resolves");
        assert!(
            real.ends_with(format!("devices/vfio_ap/matrix/{A}")),
            "{real:?}"
        );
        assert!(instance.run_dir().join(format!("mdev/{A}.sock")).exists());
        instance.set(&format!("devices/vfio_ap/matrix/{A}/remove"), "1");
        assert!(!link.exists());
        assert!(!instance.run_dir().join(format!("mdev/{A}.sock")).exists());
    }
}

/// Eight threads fight over the same queues: every one of them gets an errno that Linux could have
/// answered, and no queue ends up in two devices.
#[test]
fn eight_concurrent_writers() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    let uuid = |n: usize| format!("{n:08x}-0000-0000-0000-000000000000");
    let allowed = [0, Errno::EADDRINUSE.raw(), Errno::EADDRNOTAVAIL.raw()];
    thread::scope(|scope| {
        for writer in 0..8 {
            let (instance, uuid) = (&instance, uuid(writer));
            scope.spawn(move || {
                instance.mdev(&uuid, &[], &[]);
                for round in 0..50 {
                    let numbers = [4 + (round + writer) % 4, 4 + round % 3];
                    for (kind, number) in [("adapter", numbers[0]), ("domain", numbers[1])] {
                        let assign = format!("devices/vfio_ap/matrix/{uuid}/assign_{kind}");
                        let answer = instance.write(&assign, &number.to_string());
                        assert!(allowed.contains(&answer), "{kind} {number}: {answer}");
                    }
                    if round % 5 == 4 {
                        let unassign = format!("devices/vfio_ap/matrix/{uuid}/unassign_adapter");
                        assert_eq!(instance.write(&unassign, &numbers[0].to_string()), 0);
                    }
                }
            });
        }
    });
    let mut all = Vec::new();
    for writer in 0..8 {
        let matrix = instance.read(&format!("devices/vfio_ap/matrix/{}/matrix", uuid(writer)));
        all.extend(
            matrix
                .lines()
                .filter(|line| line.len() == 7)
                .map(ToOwned::to_owned),
        );
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "a queue is in two devices");
}

#[test]
fn a_killed_daemons_mount_is_cleaned_up() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::start();
    instance.kill();
    assert!(
        fs::read_dir(instance.sys("")).is_err(),
        "the mount is stale"
    );
    instance.restart();
    assert_eq!(instance.read("bus/ap/config_time"), "30\n");
}
