//! `apmatrix-qemu` as libvirt and scripts use it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use apmatrix::image::{self, cpio::ExtraFile};
use apmatrix::launch::vectors::VectorFile;
use apmatrix::launch::{GuestConsole, Launch, Qemu};
use apmatrix::workload;

use crate::instance::{A, Instance};
use crate::tier::{Tier, cache};

const TIME: Duration = Duration::from_secs(180);

/// The emulator for this instance, as one file that libvirt could be given.
pub(crate) fn emulator(instance: &Instance) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_apmatrix")).with_file_name("apmatrix-qemu");
    let script = format!(
        "#!/bin/sh\nAPMATRIX_RUN_DIR='{}' APMATRIX_IMAGE_DIR='{}' exec '{}' \"$@\"\n",
        instance.run_dir().display(),
        cache().join("image").display(),
        program.display()
    );
    let path = PathBuf::from(instance.file("emulator", &script));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

#[test]
fn capability_probing_passes_through() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    let mut qemu = Command::new(emulator(&instance))
        .args([
            "-S",
            "-no-user-config",
            "-nodefaults",
            "-nographic",
            "-machine",
            "none,accel=tcg",
        ])
        .args(["-qmp", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = qemu.stdin.take().expect("piped");
    let probe = "{\"execute\":\"qmp_capabilities\"}\n\
                 {\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"vfio-ap\"}}\n\
                 {\"execute\":\"quit\"}\n";
    input.write_all(probe.as_bytes()).expect("it reads");
    let output = qemu.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success() && said.contains("sysfsdev"),
        "{said}"
    );
}

#[test]
fn a_passthrough_device_becomes_the_plugin() {
    if !Tier::Guest.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let image = image::ensure(&cache().join("image"), &mut |line| println!("{line}"));
    let mut launch = Launch::new(&image.expect("it was fetched"));
    launch.qemu = Qemu::from_program(&emulator(&instance)).expect("it says its version");
    launch.terminal = false;
    launch.cpus = 2;
    let mut vectors = VectorFile::new();
    workload::add_class(&mut vectors, 1024, 20).expect("OpenSSL makes keys");
    launch.extra_files = vec![ExtraFile {
        path: "extra/v".into(),
        bytes: vectors.to_bytes(),
        mode: 0o644,
    }];
    let device = format!("vfio-ap,id=hostdev0,sysfsdev=/sys/devices/vfio_ap/matrix/{A}");
    launch.extra_arguments = vec!["-device".into(), device.into()];
    let mut guest = GuestConsole::boot(&launch, TIME).expect("the guest boots");
    let said = guest
        .run("apclient run /extra/v --requesters 4", TIME)
        .expect("it answers");
    assert!(
        said.output.contains("total 40 passed 40 failed 0"),
        "{}",
        said.output
    );
    assert_eq!(instance.requests(), 40);
    assert!(
        guest
            .power_off(TIME)
            .expect("the guest powers off")
            .success()
    );
}
