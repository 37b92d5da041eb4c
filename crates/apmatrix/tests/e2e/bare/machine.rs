//! The machine itself: the runner, compiled, in QEMU.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::image;
use apmatrix::launch::find_plugin;

use super::SCRIPT;
use crate::instance::Instance;
use crate::tier::cache;

/// As much as [`super::LAST`] says.
const MEMORY: &str = "64M";
const TIME: Duration = Duration::from_secs(180);

/// Runs the file `script` and returns what the machine printed before it powered off.
pub(super) fn run(instance: &Instance, script: &Path, mdev: &str, features: &str) -> String {
    output(&mut start(instance, script, mdev, features))
}

fn start(instance: &Instance, script: &Path, mdev: &str, features: &str) -> Child {
    let image = image::ensure(&cache().join("image"), &mut |line| println!("{line}"));
    let mut command = image.expect("it was fetched").qemu.command();
    command.args([
        "-M",
        "s390-ccw-virtio",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "qemu",
    ]);
    command.args(["-m", MEMORY, "-nodefaults", "-display", "none"]);
    command.args(["-chardev", "stdio,id=console,signal=off"]);
    command.args(["-device", "sclpconsole,chardev=console"]);
    command.args(["-run-with", "exit-with-parent=on"]);
    command.args(["-action", "panic=exit-failure"]);
    let loader = format!(
        "loader,file={},addr={SCRIPT:#x},force-raw=on",
        script.display()
    );
    command.args(["-device", &loader]);
    command.arg("-kernel").arg(runner(instance));
    let program = Path::new(env!("CARGO_BIN_EXE_apmatrix"));
    let plugin = program.with_file_name("libapmatrix_qemu.so");
    let plugin = find_plugin(Some(&plugin)).expect("cargo build makes it");
    let socket = instance.run_dir().join(format!("mdev/{mdev}.sock"));
    command.arg("-plugin").arg(format!(
        "file={},socket={},cpu-features={features}",
        plugin.display(),
        socket.display()
    ));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("QEMU starts")
}

/// The runner, compiled.
fn runner(instance: &Instance) -> PathBuf {
    let source = instance.run_dir().join("runner.c");
    fs::write(&source, include_str!("runner.c")).expect("the run directory is writable");
    let program = instance.run_dir().join("runner");
    let dir = cache().join("image");
    image::compile_bare(&dir, &source, &program, &mut |line| println!("{line}"))
        .expect("the runner is correct C");
    program
}

/// What the machine prints until it powers off.
fn output(qemu: &mut Child) -> String {
    let mut stdout = qemu.stdout.take().expect("piped");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout
            .read_to_string(&mut text)
            .expect("the runner prints ASCII");
        text
    });
    let deadline = Instant::now() + TIME;
    let status = loop {
        if let Some(status) = qemu.try_wait().expect("it is ours") {
            break Some(status);
        }
        if Instant::now() > deadline {
            qemu.kill().expect("it is ours");
            qemu.wait().expect("it is ours");
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let text = reader.join().expect("the reader ends with QEMU");
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?} after {text}"
    );
    text
}
