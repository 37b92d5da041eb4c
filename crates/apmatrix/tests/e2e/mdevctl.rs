//! Unmodified mdevctl under `apmatrix run`, as root and as an ordinary user.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;

use apmatrix::image::command_in;
use arch::{ApInstructions, Apqn, CrycbFormat, Errno, Facilities, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};

use crate::instance::{A, B, Instance, User};
use crate::tier::{Tier, cache};

fn definition(attributes: &[(&str, &str)]) -> String {
    let attributes: Vec<String> = attributes
        .iter()
        .map(|(name, value)| format!("{{\"{name}\":\"{value}\"}}"))
        .collect();
    format!(
        "{{\"mdev_type\":\"vfio_ap-passthrough\",\"start\":\"manual\",\"attrs\":[{}]}}",
        attributes.join(",")
    )
}

/// One of the two mdevctls, as `run` is to start it.
struct Mdevctl(Vec<OsString>);

impl Mdevctl {
    /// The host release's.
    fn old() -> Self {
        Self(vec![cache().join("mdevctl/usr/bin/mdevctl").into()])
    }

    /// The newer one, started by its own root's loader. It is not installed: from 1.3 on it finds its
    /// directories below `$MDEVCTL_ENV_ROOT`, where all but its own are links to the real ones.
    fn new(instance: &Instance) -> Self {
        let root = instance.dir().join("mdevctl-root");
        let scripts = root.join("usr/lib/mdevctl/scripts.d");
        for dir in ["callouts", "notifiers"] {
            fs::create_dir_all(scripts.join(dir)).expect("the temporary directory is writable");
        }
        for dir in ["sys", "etc"] {
            symlink(format!("/{dir}"), root.join(dir)).expect("as above");
        }
        let packages = cache().join("roots/mdevctl");
        let command = command_in(&packages, "usr/bin/mdevctl").expect("a known architecture");
        let mut variable = OsString::from("MDEVCTL_ENV_ROOT=");
        variable.push(root);
        let mut words = vec!["env".into(), variable, command.get_program().to_owned()];
        words.extend(command.get_args().map(OsStr::to_owned));
        Self(words)
    }

    fn run(&self, instance: &Instance, arguments: &[&str]) -> Output {
        let mut words: Vec<OsString> = vec!["run".into(), "--".into()];
        words.extend(self.0.iter().cloned());
        words.extend(arguments.iter().map(OsString::from));
        let mut command = instance.command(&words);
        command.output().expect("the program starts")
    }

    fn succeed(&self, instance: &Instance, arguments: &[&str]) -> String {
        let output = self.run(instance, arguments);
        assert!(output.status.success(), "mdevctl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn session(instance: &Instance, mdevctl: &Mdevctl) {
    let succeed = |instance: &Instance, arguments: &[&str]| mdevctl.succeed(instance, arguments);
    let types = succeed(instance, &["types"]);
    for word in [
        "vfio_ap-passthrough",
        "65536",
        "vfio-ap",
        "VFIO AP Passthrough Device",
    ] {
        assert!(types.contains(word), "{types}");
    }
    instance.set("bus/ap/apmask", "-5,-6");
    let json = instance.file(
        "device.json",
        &definition(&[
            ("assign_adapter", "5"),
            ("assign_adapter", "0x06"),
            ("assign_domain", "4"),
            ("assign_domain", "0x47"),
            ("assign_control_domain", "4"),
        ]),
    );
    succeed(
        instance,
        &[
            "define",
            "--parent",
            "matrix",
            "--uuid",
            A,
            "--jsonfile",
            &json,
        ],
    );
    succeed(instance, &["start", "--uuid", A]);
    let dir = format!("devices/vfio_ap/matrix/{A}");
    assert_eq!(
        instance.read(&format!("{dir}/matrix")),
        "05.0004\n05.0047\n06.0004\n06.0047\n"
    );
    assert_eq!(instance.read(&format!("{dir}/control_domains")), "0004\n");
    let listed = succeed(instance, &["list", "--dumpjson"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        listed[0]["matrix"][0][A]["mdev_type"], "vfio_ap-passthrough",
        "{listed}"
    );
    succeed(instance, &["stop", "--uuid", A]);
    assert!(!instance.exists(&dir));

    succeed(
        instance,
        &[
            "modify",
            "--uuid",
            A,
            "--addattr=assign_domain",
            "--value=5",
        ],
    );
    let defined = succeed(instance, &["list", "--defined", "--verbose"]);
    assert!(
        defined.contains(A) && defined.contains("\"assign_domain\":\"5\""),
        "{defined}"
    );
    succeed(instance, &["start", "--uuid", A]);
    assert!(
        instance
            .read(&format!("{dir}/matrix"))
            .contains("06.0005\n")
    );

    // Adapter 4 is the host's: the start must fail and leave nothing behind.
    let json = instance.file(
        "refused.json",
        &definition(&[("assign_domain", "4"), ("assign_adapter", "4")]),
    );
    succeed(
        instance,
        &[
            "define",
            "--parent",
            "matrix",
            "--uuid",
            B,
            "--jsonfile",
            &json,
        ],
    );
    let refused = mdevctl.run(instance, &["start", "--uuid", B]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(!instance.exists(&format!("devices/vfio_ap/matrix/{B}")));

    succeed(instance, &["stop", "--uuid", A]);
    for uuid in [A, B] {
        succeed(instance, &["undefine", "--uuid", uuid]);
    }
    assert_eq!(succeed(instance, &["list", "--defined"]).trim(), "");
    let matrix_dir = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough";
    assert_eq!(
        instance.read(&format!("{matrix_dir}/available_instances")),
        "65536\n"
    );

    let modprobe = instance.verb(&["run", "--", "modprobe", "vfio_ap"]);
    assert!(modprobe.status.success(), "{modprobe:?}");
}

#[test]
fn as_root() {
    if Tier::Mdevctl.is_there() {
        session(&Instance::start(), &Mdevctl::old());
    }
}

#[test]
fn version_1_4_as_root() {
    if Tier::NewMdevctl.is_there() {
        let instance = Instance::start();
        let mdevctl = Mdevctl::new(&instance);
        let version = mdevctl.succeed(&instance, &["--version"]);
        assert!(version.contains("1.4."), "{version}");
        session(&instance, &mdevctl);
        change_of_a_running_device(&instance, &mdevctl);
    }
}

/// `modify --live` hands the whole new matrix over in one write to `ap_config`, by the driver's callout
/// script; without that script mdevctl must refuse and leave the device alone.
fn change_of_a_running_device(instance: &Instance, mdevctl: &Mdevctl) {
    instance.mdev(A, &[5], &[4]);
    let json = instance.file("live.json", &definition(&[("assign_adapter", "6")]));
    let output = mdevctl.run(
        instance,
        &["modify", "--uuid", A, "--live", "--jsonfile", &json],
    );
    assert!(!output.status.success(), "{output:?}");
    let matrix = format!("devices/vfio_ap/matrix/{A}/matrix");
    assert_eq!(instance.read(&matrix), "05.0004\n");
}

/// IPL takes everything that is not hardware or a file; what is defined to start by itself comes back
/// as on a mainframe, where a unit runs this command at boot.
#[test]
fn ipl_and_autostart() {
    if !Tier::Mdevctl.is_there() {
        return;
    }
    let mut instance = Instance::with_machine(
        "[limits]\nadapter = 63\ndomain = 84\n[domains]\nusage = [4, 5]\ncontrol = [4]\n\
         [masks]\napmask = \"+0-255,-5\"\n\
         [[adapter]]\nid = 5\ntype = \"CEX8A\"\n[[adapter]]\nid = 6\ntype = \"CEX8A\"\n",
    );
    let masks = instance.read("bus/ap/apmask");
    assert!(masks.starts_with("0xfbff"), "{masks}");
    let attributes = [("assign_adapter", "5"), ("assign_domain", "4")];
    let text = definition(&attributes).replace("manual", "auto");
    let json = instance.file("auto.json", &text);
    let define = [
        "define",
        "--parent",
        "matrix",
        "--uuid",
        A,
        "--jsonfile",
        &json,
    ];
    Mdevctl::old().succeed(&instance, &define);
    Mdevctl::old().succeed(&instance, &["start-parent-mdevs", "matrix"]);
    instance.mdev(B, &[6], &[]);
    for (path, text) in [
        ("bus/ap/apmask", "-6"),
        ("bus/ap/config_time", "99"),
        ("bus/ap/drivers_autoprobe", "0"),
        ("bus/ap/drivers/vfio_ap/unbind", "05.0005"),
    ] {
        instance.set(path, text);
    }
    let added = instance.verb(&["hmc", "add-adapter", "7"]);
    assert!(added.status.success(), "{added:?}");

    let connect = |mdev: &str| {
        let open = OpenRequest {
            vm: mdev.parse().expect("an identity"),
            crycb_format: CrycbFormat::Format2,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let socket = instance.run_dir().join(format!("mdev/{mdev}.sock"));
        Client::connect(&socket, open, ClientOptions::default()).expect("it opens")
    };
    let (mut guest, other) = (connect(A), connect(B));
    let queue = Apqn::new(5, 4);
    assert_eq!(guest.tapq(queue, false).0.code, ResponseCode::NORMAL);
    assert_eq!(
        instance.read("devices/ap/card05/05.0004/status"),
        "in use\n"
    );

    // A removal that waits for a guest is waiting while the partition boots.
    let remove = format!("devices/vfio_ap/matrix/{B}/remove");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| instance.write(&remove, "1"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!waiting.is_finished());
        let ipl = instance.verb(&["hmc", "ipl"]);
        assert!(ipl.status.success(), "{ipl:?}");
        assert_eq!(waiting.join().expect("a writer"), Errno::ENODEV.raw());
    });
    drop(other);
    let code = guest.tapq(queue, false).0.code;
    assert_eq!(code, ResponseCode::RESET_IN_PROGRESS);
    assert!(!instance.run_dir().join(format!("mdev/{A}.sock")).exists());
    for uuid in [A, B] {
        assert!(!instance.exists(&format!("devices/vfio_ap/matrix/{uuid}")));
    }
    for (path, text) in [
        ("bus/ap/apmask", masks.as_str()),
        ("bus/ap/config_time", "30\n"),
        ("bus/ap/drivers_autoprobe", "1\n"),
        ("bus/ap/scans", "1\n"),
        ("devices/ap/card05/05.0005/status", "unassigned\n"),
        // The hardware is as it was left.
        ("devices/ap/card07/07.0004/config", "1\n"),
    ] {
        assert_eq!(instance.read(path), text, "{path}");
    }
    let driver = fs::read_link(instance.sys("devices/ap/card06/06.0004/driver"));
    assert!(driver.expect("bound").ends_with("cex4queue"));

    Mdevctl::old().succeed(&instance, &["start-parent-mdevs", "matrix"]);
    let guest_matrix = format!("devices/vfio_ap/matrix/{A}/guest_matrix");
    assert_eq!(instance.read(&guest_matrix), "05.0004\n");
    assert!(!instance.exists(&format!("devices/vfio_ap/matrix/{B}")));
    // The boot is kept like everything else.
    instance.kill();
    instance.restart();
    assert_eq!(instance.read(&guest_matrix), "05.0004\n");
    assert_eq!(instance.read("bus/ap/apmask"), masks);
    assert!(instance.exists("devices/ap/card07"));
}

/// The daemon and the tools belong to an ordinary user; the tree is in a user namespace.
#[test]
fn as_an_ordinary_user() {
    if Tier::Mdevctl.is_there() {
        let instance = Instance::of(User::Ordinary);
        assert!(instance.has_own_namespace());
        session(&instance, &Mdevctl::old());
    }
}

/// The same with fusermount3, which mounts the tree where the user's other programs see it.
#[test]
fn as_an_ordinary_user_with_fusermount3() {
    if Tier::Mdevctl.is_there() && Tier::Fusermount.is_there() {
        let instance = Instance::of(User::WithFusermount);
        assert!(!instance.has_own_namespace());
        session(&instance, &Mdevctl::old());
    }
}
