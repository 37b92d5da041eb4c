//! Driving a guest by its console: wait for a text, run a shell command, see how it ended.

use std::io::{self, Read, Write as _};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Guest, Launch, READY};

/// The guest's terminal cuts longer lines.
const LONGEST_LINE: usize = 4000;
/// How much of the console an error repeats.
const ERROR_TEXT: usize = 2000;

/// What a shell command in the guest printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Standard output and error, lines ended by a line feed.
    pub output: String,
    /// Its exit code.
    pub code: i32,
}

impl Reply {
    /// The output of a command that has to succeed.
    pub fn success(self) -> Result<String> {
        ensure!(
            self.code == 0,
            "the command failed with {} and said: {}",
            self.code,
            self.output
        );
        Ok(self.output)
    }
}

enum Event {
    Console(Vec<u8>),
    Message(Vec<u8>),
}

/// A guest whose console is read and written by this program.
#[derive(Debug)]
pub struct GuestConsole {
    guest: Guest,
    input: ChildStdin,
    events: Receiver<Event>,
    /// Console output that no call has consumed yet.
    pending: String,
    /// QEMU's own messages.
    messages: String,
    commands: u64,
}

impl GuestConsole {
    /// Starts a guest and waits up to `timeout` for its shell.
    pub fn boot(launch: &Launch, timeout: Duration) -> Result<Self> {
        let mut console = Self::spawn(launch)?;
        console.wait_ready(timeout)?;
        Ok(console)
    }

    /// Starts a guest without waiting for it.
    pub fn spawn(launch: &Launch) -> Result<Self> {
        let launch = Launch {
            terminal: false,
            ..launch.clone()
        };
        let mut guest = launch.spawn(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let child = guest.child();
        let (sender, events) = channel();
        let input = child.stdin.take().context("QEMU has no standard input")?;
        let output = child.stdout.take().context("QEMU has no standard output")?;
        let errors = child.stderr.take().context("QEMU has no standard error")?;
        forward("guest-console", output, sender.clone(), Event::Console)?;
        forward("qemu-messages", errors, sender, Event::Message)?;
        let (pending, messages) = (String::new(), String::new());
        Ok(Self {
            guest,
            input,
            events,
            pending,
            messages,
            commands: 0,
        })
    }

    /// Waits for the shell, also after a reboot.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        self.wait_for(READY, timeout)?;
        // The shell's greeting ends up in the reply to this.
        self.run(":", timeout).map(drop)
    }

    /// Waits for `marker` and returns what came before it. Both count as read afterwards.
    pub fn wait_for(&mut self, marker: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.pending.find(marker) {
                let before = self.pending[..at].to_owned();
                self.pending.drain(..at + marker.len());
                return Ok(before);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = timeout.as_secs_f32();
                    return Err(self.failure(&format!("no {marker:?} within {seconds} s")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // Both pipes are closed, so this does not wait long.
                    let status = self.guest.child().wait().context("cannot wait for QEMU")?;
                    let what = format!("QEMU ended ({status}) before {marker:?}");
                    return Err(self.failure(&what));
                }
            }
        }
    }

    /// Runs a shell command in the guest.
    pub fn run(&mut self, command: &str, timeout: Duration) -> Result<Reply> {
        self.commands += 1;
        let end = format!(":apmatrix-{}\n", self.commands);
        self.send(&format!(
            "{command}; echo \"RC=$?:apmatrix-{}\"",
            self.commands
        ))?;
        let text = self
            .wait_for(&end, timeout)
            .with_context(|| format!("the guest's command `{command}` did not end"))?;
        // The prompt of the command before is still in front.
        let text = text.strip_prefix(PROMPT).unwrap_or(&text);
        let code = text
            .rsplit_once("RC=")
            .and_then(|(out, code)| Some((out, code.parse().ok()?)));
        let Some((output, code)) = code else {
            bail!("the guest's console is garbled after `{command}`: {text}");
        };
        Ok(Reply {
            output: output.to_owned(),
            code,
        })
    }

    /// Types one line.
    pub fn send(&mut self, line: &str) -> Result<()> {
        ensure!(
            line.len() < LONGEST_LINE,
            "a line of {} bytes for the console",
            line.len()
        );
        self.input
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.input.flush())
            .context("cannot write to the guest's console")
    }

    /// Powers the guest off and returns QEMU's exit status.
    pub fn power_off(mut self, timeout: Duration) -> Result<ExitStatus> {
        self.send("poweroff")?;
        self.wait_end(timeout)
    }

    /// Waits until QEMU ends by itself.
    pub fn wait_end(mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.take(event),
                // Both pipes are closed: QEMU has ended or is about to.
                Err(RecvTimeoutError::Disconnected) => return self.guest.wait(),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = timeout.as_secs_f32();
                    return Err(self.failure(&format!("the guest did not end within {seconds} s")));
                }
            }
        }
    }

    /// QEMU's process id, for tests that stop or kill it.
    pub fn process_id(&mut self) -> u32 {
        self.guest.child().id()
    }

    fn take(&mut self, event: Event) {
        match event {
            // The console ends lines with carriage return and line feed.
            Event::Console(bytes) => {
                self.pending
                    .push_str(&String::from_utf8_lossy(&bytes).replace('\r', ""));
            }
            Event::Message(bytes) => self.messages.push_str(&String::from_utf8_lossy(&bytes)),
        }
    }

    fn failure(&mut self, what: &str) -> anyhow::Error {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        let tail = |text: &str| {
            let from = text.len().saturating_sub(ERROR_TEXT);
            let from = (from..text.len())
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            text[from..].to_owned()
        };
        anyhow!(
            "{what}\n--- guest's console ---\n{}\n--- QEMU's messages ---\n{}",
            tail(&self.pending),
            tail(&self.messages)
        )
    }
}

/// What the guest's shell prints before it reads a command.
const PROMPT: &str = "guest# ";

fn forward(
    name: &str,
    mut from: impl Read + Send + 'static,
    to: Sender<Event>,
    event: fn(Vec<u8>) -> Event,
) -> io::Result<()> {
    let copy = move || {
        let mut buffer = [0; 4096];
        // A read error means the same as the end: QEMU has gone.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.send(event(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(copy)
        .map(drop)
}
