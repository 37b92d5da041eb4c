//! QEMU's monitor (QMP), for tests that do to a machine what its operator does.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// QEMU's arguments for a monitor at `socket`.
pub(crate) fn arguments(socket: &Path) -> [OsString; 2] {
    let mut place = OsString::from("unix:");
    place.push(socket);
    place.push(",server=on,wait=off");
    ["-qmp".into(), place]
}

/// A connection to a monitor.
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor of a running QEMU.
    pub(crate) fn connect(socket: &PathBuf) -> Self {
        let stream = UnixStream::connect(socket).expect("QEMU listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a socket");
        let mut monitor = Self {
            stream: BufReader::new(stream),
        };
        monitor.receive();
        monitor.execute("qmp_capabilities");
        monitor
    }

    /// Executes a command without arguments; what it returns.
    pub(crate) fn execute(&mut self, command: &str) -> Value {
        let text = json!({ "execute": command }).to_string();
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes()).expect("QEMU reads");
        loop {
            let mut answer = self.receive();
            if let Some(error) = answer.get("error") {
                panic!("{command}: {error}");
            }
            // Everything else is an event.
            if let Some(result) = answer.get_mut("return") {
                return result.take();
            }
        }
    }

    /// How the machine is: `running`, `paused`, `guest-panicked` and so on.
    pub(crate) fn status(&mut self) -> String {
        let status = self.execute("query-status");
        status["status"].as_str().expect("a status").to_owned()
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("QEMU answers");
        serde_json::from_str(&line).expect("JSON")
    }
}
