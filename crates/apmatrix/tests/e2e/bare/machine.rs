//! The machine itself: the runner, compiled, in QEMU.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use apmatrix::image;
use apmatrix::launch::find_plugin;

use super::SCRIPT;
use crate::instance::Instance;
use crate::monitor::{self, Monitor};
use crate::tier::cache;

/// As much as [`super::LAST`] says.
const MEMORY: &str = "64M";
const TIME: Duration = Duration::from_secs(180);

/// Runs the file `script` and returns what the machine printed before it powered off.
pub(super) fn run(instance: &Instance, script: &Path, mdev: &str, features: &str) -> String {
    output(&mut start(instance, script, mdev, features, &[]))
}

/// Runs the file `script` until it has printed `lines` lines, resets the machine by QEMU's monitor and
/// returns these lines and the first one that is printed then.
pub(super) fn run_and_reset(
    instance: &Instance,
    script: &Path,
    mdev: &str,
    features: &str,
    lines: usize,
) -> Vec<String> {
    let socket = instance.dir().join("monitor");
    let arguments = monitor::arguments(&socket);
    let mut qemu = start(instance, script, mdev, features, &arguments);
    let stdout = BufReader::new(qemu.stdout.take().expect("piped"));
    let (sender, printed) = channel();
    let reader = thread::spawn(move || {
        for line in stdout.lines() {
            let line = line.expect("the runner prints ASCII");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let next = || printed.recv_timeout(TIME).expect("a line");
    let mut text: Vec<String> = (0..lines).map(|_| next()).collect();
    Monitor::connect(&socket).execute("system_reset");
    text.push(next());
    qemu.kill().expect("it runs");
    qemu.wait().expect("it is ours");
    reader.join().expect("the reader ends with QEMU");
    text
}

fn start(
    instance: &Instance,
    script: &Path,
    mdev: &str,
    features: &str,
    arguments: &[OsString],
) -> Child {
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
        .args(arguments)
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
