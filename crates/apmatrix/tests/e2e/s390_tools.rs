//! s390-tools' own programs for s390x, unmodified, by QEMU's user emulation under `apmatrix run`.

use std::process::Output;

use crate::instance::{A, Instance};
use crate::tier::{Tier, cache};

/// Every mode of card, and a domain that is only controlled.
const MACHINE: &str = r#"
[limits]
adapter = 63
domain = 84
[domains]
usage = [4, 0x47]
control = [4, 5, 0x47]
[[adapter]]
id = 4
type = "CEX8A"
[[adapter]]
id = 5
type = "CEX8C"
[[adapter]]
id = 6
type = "CEX7P"
"#;

fn start(instance: &Instance, tool: &str, arguments: &[&str]) -> Output {
    let roots = cache().join("roots");
    let text = |path: &str| {
        let path = roots.join(path);
        path.to_str().expect("a plain path").to_owned()
    };
    let emulator = text("qemu-user/usr/bin/qemu-s390x");
    let (root, program) = (
        text("s390-tools"),
        text(&format!("s390-tools/usr/sbin/{tool}")),
    );
    let mut words = vec!["run", "--", &emulator, "-L", &root, &program];
    words.extend(arguments);
    instance.verb(&words)
}

/// The output of a tool that must succeed, without trailing blanks.
fn run(instance: &Instance, tool: &str, arguments: &[&str]) -> String {
    let output = start(instance, tool, arguments);
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// What a tool that must fail says.
fn fail(instance: &Instance, tool: &str, arguments: &[&str]) -> String {
    let output = start(instance, tool, arguments);
    assert!(!output.status.success(), "{tool} {arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// The rows of lszcrypt that begin with this card or queue.
fn row(instance: &Instance, device: &str) -> String {
    let said = run(instance, "lszcrypt", &["-V", device]);
    let row = said.lines().find(|line| line.starts_with(device));
    let Some(row) = row else {
        panic!("{device} in {said}")
    };
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn lszcrypt_shows_cards_queues_and_the_bus() {
    if !Tier::S390Tools.is_there() {
        return;
    }
    let instance = Instance::with_machine(MACHINE);
    assert_eq!(
        run(&instance, "lszcrypt", &[]),
        include_str!("golden/lszcrypt.txt").trim_end()
    );
    // Program 2.40 adds one to the depth, which newer kernels, and so we, report as it is.
    assert_eq!(
        run(&instance, "lszcrypt", &["-V"]),
        include_str!("golden/lszcrypt-V.txt").trim_end()
    );
    assert_eq!(
        run(&instance, "lszcrypt", &["-b"]),
        include_str!("golden/lszcrypt-b.txt").trim_end()
    );
    assert_eq!(
        run(&instance, "lszcrypt", &["-s"]),
        include_str!("golden/lszcrypt-s.txt").trim_end()
    );
    assert_eq!(
        run(&instance, "lszcrypt", &["-c", "5.0004"]),
        include_str!("golden/lszcrypt-c-queue.txt").trim_end()
    );
    for (card, golden) in [
        ("4", include_str!("golden/lszcrypt-c-accelerator.txt")),
        ("5", include_str!("golden/lszcrypt-c-cca.txt")),
        ("6", include_str!("golden/lszcrypt-c-ep11.txt")),
    ] {
        assert_eq!(run(&instance, "lszcrypt", &["-c", card]), golden.trim_end());
    }
    let domains = run(&instance, "lszcrypt", &["-d"]);
    assert!(
        domains.contains("\n    00  .  .  .  .  B  C  .")
            && domains.contains("\n    40  .  .  .  .  .  .  .  B  ."),
        "{domains}"
    );
}

/// A queue of `vfio_ap` is shown with -V only, and with the use that its mdev makes of it.
#[test]
fn lszcrypt_shows_who_has_a_queue() {
    if !Tier::S390Tools.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let plain = run(&instance, "lszcrypt", &[]);
    assert!(
        !plain.contains("05.0004") && plain.contains("04.0004"),
        "{plain}"
    );
    let row_of = |device| row(&instance, device);
    assert_eq!(
        row_of("05.0004"),
        "05.0004 CEX8A Accelerator assigned - - 14 09 SMC-A-N--- vfio_ap usable"
    );
    assert_eq!(
        row_of("05.0005"),
        "05.0005 CEX8A Accelerator unassigned - - 14 09 SMC-A-N--- vfio_ap usable"
    );
}

#[test]
fn chzcrypt_sets_cards_and_queues() {
    if !Tier::S390Tools.is_there() {
        return;
    }
    let instance = Instance::start();
    let read = |path: &str| instance.read(&format!("devices/ap/{path}"));
    run(&instance, "chzcrypt", &["-d", "5"]);
    assert_eq!(
        (read("card05/online"), read("card05/05.0004/online")),
        ("0\n".into(), "0\n".into())
    );
    assert!(row(&instance, "05.0004").contains(" offline "));
    run(&instance, "chzcrypt", &["-e", "5"]);
    run(&instance, "chzcrypt", &["-d", "5.0047"]);
    assert_eq!(
        (read("card05/online"), read("card05/05.0047/online")),
        ("1\n".into(), "0\n".into())
    );
    run(&instance, "chzcrypt", &["-e", "05.0047"]);
    assert_eq!(read("card05/05.0047/online"), "1\n");

    run(&instance, "chzcrypt", &["--config-off", "6"]);
    assert_eq!(read("card06/config"), "0\n");
    assert!(row(&instance, "06").contains(" deconfig "));
    let online = read("card06/online");
    let output = start(&instance, "chzcrypt", &["-e", "6"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("device 6 is deconfigured"),
        "{output:?}"
    );
    assert_eq!(read("card06/online"), online);
    run(&instance, "chzcrypt", &["--config-on", "6"]);
    assert_eq!(read("card06/config"), "1\n");
    fail(&instance, "chzcrypt", &["-e", "9"]);
}

#[test]
fn chzcrypt_sets_the_bus() {
    if !Tier::S390Tools.is_there() {
        return;
    }
    let instance = Instance::start();
    let read = |name: &str| instance.read(&format!("bus/ap/{name}"));
    // With interrupts the kernel accepts the poll thread and does not start it.
    let said = fail(&instance, "chzcrypt", &["-p"]);
    assert!(said.contains("unable to change poll thread"), "{said}");
    run(&instance, "chzcrypt", &["-n"]);
    assert_eq!(read("poll_thread"), "0\n");
    run(&instance, "chzcrypt", &["-c", "60"]);
    assert_eq!(read("config_time"), "60\n");
    fail(&instance, "chzcrypt", &["-c", "3"]);
    assert_eq!(read("config_time"), "60\n");
    run(&instance, "chzcrypt", &["-t", "100000"]);
    assert_eq!(read("poll_timeout"), "100000\n");
    run(&instance, "chzcrypt", &["-q", "71"]);
    assert_eq!(read("ap_domain"), "71\n");
}

/// The emulated host has no `zcrypt` class: no request can be made on it. The program says just that.
#[test]
fn zcryptctl_finds_no_node_support() {
    if Tier::S390Tools.is_there() {
        let said = fail(&Instance::start(), "zcryptctl", &["list"]);
        assert!(
            said.contains("Multiple zcrypt node support is not available"),
            "{said}"
        );
    }
}
