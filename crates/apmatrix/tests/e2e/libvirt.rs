//! Unmodified libvirt: its node devices, and a domain with a vfio-ap device.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use apmatrix::image;

use crate::emulator::emulator;
use crate::instance::{A, Instance};
use crate::tier::{Tier, cache};

const ROOT: &str = include_str!("scripts/libvirt-root.sh");
const SESSION: &str = include_str!("scripts/libvirt-session.sh");
const BOOT: Duration = Duration::from_secs(180);
const PROMPT: &str = "guest# ";

/// What each step of the session printed.
#[derive(Default)]
struct Steps(Vec<(String, String)>);

impl Steps {
    fn of(&self, step: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name == step);
        let Some((_, said)) = found else {
            panic!("no step {step} in {:?}", self.0)
        };
        said.trim()
    }

    /// The names that a list printed.
    fn names(&self, step: &str) -> Vec<&str> {
        self.of(step).lines().map(str::trim).collect()
    }
}

/// Waits for the console's next prompt; what came before it.
fn until_prompt(console: &mut UnixStream) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(PROMPT.as_bytes()) {
        let length = console.read(&mut byte).expect("the guest goes on");
        assert_ne!(
            length,
            0,
            "the console ended: {:?}",
            String::from_utf8_lossy(&said)
        );
        said.extend(byte);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Asks the booting guest for its queues.
fn lszcrypt(console: &Path) -> String {
    let mut console = UnixStream::connect(console).expect("libvirt made the console");
    console.set_read_timeout(Some(BOOT)).expect("a time");
    until_prompt(&mut console);
    console.write_all(b"lszcrypt\n").expect("the guest reads");
    until_prompt(&mut console)
}

#[test]
fn node_devices_and_a_domain_with_a_vfio_ap_device() {
    if !Tier::Libvirt.is_there() || !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    let images = cache().join("image");
    let image = image::ensure(&images, &mut |line| println!("{line}")).expect("it was fetched");
    let emulator = emulator(&instance);
    let root = instance.dir().join("root");
    fs::create_dir(&root).expect("the temporary directory is writable");
    let packages = fs::canonicalize(cache().join("roots/libvirt")).expect("the tier has it");
    let programs = Path::new(env!("CARGO_BIN_EXE_apmatrix")).parent();
    let session = instance.file("session.sh", SESSION);
    let script = instance.file("root.sh", ROOT);
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let words = [
        "run".to_owned(),
        "--".to_owned(),
        "sh".to_owned(),
        script,
        text(&packages),
        text(&root),
        text(programs.expect("a folder")),
        text(&images),
        "--".to_owned(),
        "sh".to_owned(),
        session,
        text(&emulator),
        text(&image.kernel),
        text(&image.initrd),
        text(instance.dir()),
        A.to_owned(),
    ];
    let mut child = instance
        .command(&words)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut steps = Steps::default();
    let mut guest = String::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if let Some(name) = line.strip_prefix("== ") {
            steps.0.push((name.to_owned(), String::new()));
            if name == "guest" {
                guest = lszcrypt(&instance.dir().join("console"));
                instance.file("done", "");
            }
        } else if let Some((_, said)) = steps.0.last_mut() {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = child.wait().expect("it was ours");
    assert!(status.success(), "{status}: {:?}", steps.0);
    check(&steps, &guest);
    assert!(!instance.exists(&format!("devices/vfio_ap/matrix/{A}")));
}

fn check(steps: &Steps, guest: &str) {
    assert_eq!(
        steps.names("cards"),
        ["ap_card04", "ap_card05", "ap_card06"]
    );
    let queues = steps.names("queues");
    assert_eq!(queues.len(), 12, "{queues:?}");
    assert!(queues.contains(&"ap_05_0047"), "{queues:?}");
    assert_eq!(steps.names("matrix"), ["ap_matrix"]);
    for part in [
        "<type id='vfio_ap-passthrough'>",
        "<deviceAPI>vfio-ap</deviceAPI>",
        "<availableInstances>65536</availableInstances>",
    ] {
        assert!(steps.of("types").contains(part), "{}", steps.of("types"));
    }
    for part in [
        "<name>vfio_ap</name>",
        "<ap-adapter>0x05</ap-adapter>",
        "<ap-domain>0x0004</ap-domain>",
    ] {
        assert!(steps.of("queue").contains(part), "{}", steps.of("queue"));
    }
    let device = format!("mdev_{}_matrix", A.replace('-', "_"));
    assert_eq!(steps.names("defined"), [device.as_str()]);
    assert_eq!(steps.of("assigned"), "05.0004");
    assert_eq!(steps.names("active"), [device.as_str()]);
    for part in ["<iommuGroup number='0'/>", "<name>vfio_ap_mdev</name>"] {
        assert!(steps.of("device").contains(part), "{}", steps.of("device"));
    }
    assert_eq!(steps.of("state"), "running");
    assert_eq!(steps.of("in use"), "in use");
    assert!(
        guest.contains("05.0004") && guest.contains("CEX8A"),
        "{guest}"
    );
    assert!(!guest.contains("05.0005"), "{guest}");
}
