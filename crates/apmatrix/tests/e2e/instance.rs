//! A daemon with directories of its own, stopped and cleaned up at the end of the test.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::WaitOptions;

use crate::tier::cache;

pub(crate) const A: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
pub(crate) const B: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
pub(crate) const TYPE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough";

const MACHINE: &str = "machine.toml";
/// The user and group "nobody".
const NOBODY: u32 = 65534;

/// Who runs the daemon and the verbs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// Whoever runs the tests, which in CI is root.
    Same,
    /// Without any privilege; the tree is then in namespaces of the daemon's.
    Ordinary,
    /// Without any privilege but with fusermount3, which mounts where everybody is.
    WithFusermount,
}

/// A running daemon.
pub(crate) struct Instance {
    dir: PathBuf,
    state: PathBuf,
    user: User,
    daemon: Child,
}

impl Instance {
    /// Starts a daemon on the default machine.
    pub(crate) fn start() -> Self {
        Self::new(User::Same, None, None)
    }

    /// Starts a daemon of this user on the default machine.
    pub(crate) fn of(user: User) -> Self {
        Self::new(user, None, None)
    }

    /// Starts a daemon on this machine file.
    pub(crate) fn with_machine(text: &str) -> Self {
        Self::new(User::Same, Some(text), None)
    }

    /// Starts a daemon on the default machine that keeps its state in `dir`.
    pub(crate) fn with_state_dir(dir: &Path) -> Self {
        Self::new(User::Same, None, Some(dir))
    }

    fn new(user: User, machine: Option<&str>, state: Option<&Path>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("apmatrix-e2e-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        if user != User::Same {
            chown(&dir, Some(NOBODY), Some(NOBODY)).expect("the tests run as root");
        }
        if let Some(text) = machine {
            fs::write(dir.join(MACHINE), text).expect("the temporary directory is writable");
        }
        let state = state.map_or_else(|| dir.join("state"), Path::to_path_buf);
        let daemon = ready(serve(user, &dir, &state, &[]));
        Self {
            dir,
            state,
            user,
            daemon,
        }
    }

    /// A file of its state directory.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Gives it another machine file, for the next start.
    pub(crate) fn machine(&self, text: &str) {
        fs::write(self.dir.join(MACHINE), text).expect("the temporary directory is writable");
    }

    /// Takes its machine file away, for the next start.
    pub(crate) fn no_machine(&self) {
        fs::remove_file(self.dir.join(MACHINE)).expect("it had one");
    }

    /// Ends the daemon in an orderly way.
    pub(crate) fn stop(&mut self) {
        let pid = self.daemon.id().to_string();
        let killed = Command::new("kill").arg(&pid).status().expect("kill runs");
        assert!(killed.success());
        self.daemon.wait().expect("it was ours");
    }

    /// Kills the daemon as the kernel would, without any chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill().expect("it runs");
        self.daemon.wait().expect("it was ours");
    }

    /// Stops the daemon for a time: it lives and does nothing. When this returns, every thread of it has
    /// stopped, which takes longer than to send the signal.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let daemon = rustix::process::Pid::from_child(&self.daemon);
        let stopped = rustix::process::waitpid(Some(daemon), WaitOptions::UNTRACED);
        let (_, status) = stopped.expect("it is ours").expect("it was waited for");
        assert!(status.stopped(), "{status:?}");
    }

    /// Lets a frozen daemon go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.daemon.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Starts the daemon again in the same directories.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Starts the daemon again and kills it after so short a time that it may not be ready yet.
    pub(crate) fn restart_and_kill(&self, after: std::time::Duration) {
        let mut daemon = serve(self.user, &self.dir, &self.state, &[])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(after);
        daemon.kill().expect("it is ours");
        daemon.wait().expect("it was ours");
    }

    /// Starts the daemon again with further options.
    pub(crate) fn restart_with(&mut self, options: &[&str]) {
        self.daemon = ready(serve(self.user, &self.dir, &self.state, options));
    }

    /// Starts the daemon again, which must fail; what it says.
    pub(crate) fn refused(&self, options: &[&str]) -> String {
        failure(&mut serve(self.user, &self.dir, &self.state, options))
    }

    /// Starts a second daemon with the same state in another run directory, which must fail; what it
    /// says.
    pub(crate) fn serve_elsewhere(&self, options: &[&str]) -> String {
        let dir = self.dir.join("elsewhere");
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        failure(&mut serve(self.user, &dir, &self.state, options))
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// The instance's own directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run directory.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A path in the mounted tree, as the test's own process sees it.
    pub(crate) fn sys(&self, path: &str) -> PathBuf {
        self.dir.join("run/sys").join(path)
    }

    /// Whether something is at a path in the tree.
    pub(crate) fn exists(&self, path: &str) -> bool {
        match self.user {
            User::Same => self.sys(path).exists(),
            User::Ordinary | User::WithFusermount => {
                self.inside("test -e \"$1\"", path, "").status.success()
            }
        }
    }

    /// Runs a line of shell where the tree is at /sys: `$1` is a path in it, `$2` a text.
    fn inside(&self, line: &str, path: &str, text: &str) -> Output {
        self.verb(&[
            "run",
            "--",
            "sh",
            "-c",
            line,
            "sh",
            &format!("/sys/{path}"),
            text,
        ])
    }

    /// Whether the daemon lives in namespaces of its own.
    pub(crate) fn has_own_namespace(&self) -> bool {
        let record =
            fs::read(self.dir.join("run/daemon.json")).expect("the daemon announced itself");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        record["own_namespace"].as_bool().expect("a boolean")
    }

    /// A file of the test's, readable by the instance's user; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        path.to_str().expect("a plain path").to_owned()
    }

    /// What an attribute reads.
    pub(crate) fn read(&self, path: &str) -> String {
        match self.user {
            User::Same => {
                fs::read_to_string(self.sys(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
            }
            User::Ordinary | User::WithFusermount => {
                let output = self.inside("cat \"$1\"", path, "");
                assert!(output.status.success(), "{path}: {output:?}");
                String::from_utf8(output.stdout).expect("text")
            }
        }
    }

    /// One open, one write(2), close: the errno answered, 0 for success.
    pub(crate) fn write(&self, path: &str, text: &str) -> i32 {
        let answer = fs::OpenOptions::new()
            .write(true)
            .open(self.sys(path))
            .and_then(|mut file| file.write(text.as_bytes()));
        match answer {
            Ok(length) => {
                assert_eq!(length, text.len(), "{path} took only a part of {text:?}");
                0
            }
            Err(error) => error.raw_os_error().expect("an error of the system"),
        }
    }

    /// Writes and expects success.
    pub(crate) fn set(&self, path: &str, text: &str) {
        match self.user {
            User::Same => assert_eq!(self.write(path, text), 0, "{path} <- {text:?}"),
            User::Ordinary | User::WithFusermount => {
                let output = self.inside("printf %s \"$2\" > \"$1\"", path, text);
                assert!(output.status.success(), "{path} <- {text:?}: {output:?}");
            }
        }
    }

    /// Creates a mediated device with these adapters and domains.
    pub(crate) fn mdev(&self, uuid: &str, adapters: &[u8], domains: &[u8]) {
        self.set(&format!("{TYPE}/create"), uuid);
        for adapter in adapters {
            self.set(
                &format!("devices/vfio_ap/matrix/{uuid}/assign_adapter"),
                &adapter.to_string(),
            );
        }
        for domain in domains {
            self.set(
                &format!("devices/vfio_ap/matrix/{uuid}/assign_domain"),
                &domain.to_string(),
            );
        }
    }

    /// The program with these arguments, for this instance.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = program(self.user, &self.dir);
        command
            .env("APMATRIX_RUN_DIR", self.run_dir())
            .args(arguments);
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("the program starts")
    }

    /// Requests of all queues that reached a card, from the hardware console.
    pub(crate) fn requests(&self) -> u64 {
        let output = self.verb(&["hmc", "show", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let view: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = view["requests"].as_array().expect("a list");
        rows.iter()
            .map(|row| row["count"].as_u64().expect("a number"))
            .sum()
    }
}

/// The program as `user` starts it.
fn program(user: User, dir: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_apmatrix"));
    match user {
        User::Same => Command::new(built),
        User::Ordinary | User::WithFusermount => {
            // The build may be in a folder that others cannot read.
            let copy = dir.join("apmatrix");
            if !copy.exists() {
                fs::copy(built, &copy).expect("the temporary directory is writable");
            }
            let mut command = Command::new("setpriv");
            let id = NOBODY.to_string();
            command
                .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
                .arg(copy);
            command.env("HOME", dir).current_dir(dir);
            if user == User::WithFusermount {
                let path = std::env::var("PATH").unwrap_or_default();
                let fuse = cache().join("fuse3/bin");
                command.env("PATH", format!("{}:{path}", fuse.display()));
            }
            command
        }
    }
}

fn serve(user: User, dir: &Path, state: &Path, options: &[&str]) -> Command {
    let mut command = program(user, dir);
    command
        .env("APMATRIX_LOG", "error")
        .args(["serve", "--run-dir"])
        .arg(dir.join("run"));
    command.arg("--state-dir").arg(state).args(options);
    if dir.join(MACHINE).exists() {
        command.arg("--machine").arg(dir.join(MACHINE));
    }
    command
}

fn ready(mut serve: Command) -> Child {
    let mut daemon = serve
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = daemon.stdout.take().expect("stdout is piped");
    let mut ready = String::new();
    BufReader::new(stdout)
        .read_line(&mut ready)
        .expect("stdout is readable");
    assert!(ready.contains("ready"), "the daemon said {ready:?}");
    daemon
}

fn failure(serve: &mut Command) -> String {
    let output = serve.output().expect("the program starts");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

impl Drop for Instance {
    fn drop(&mut self) {
        // An orderly end, as a service manager asks for it; it unmounts the tree.
        let pid = i32::try_from(self.daemon.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        drop(self.daemon.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}
