//! What a transcript consists of, and its text form.

use std::fmt;

use arch::Errno;

/// One isolated case: a machine that has just booted, and a session with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// Hardware of the partition before boot, in the SPEC language of the README.
    pub host: String,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One action and the recorded answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Line of the action in its file, from 1.
    pub line: usize,
    /// What was done.
    pub action: Action,
    /// What Linux answered.
    pub expected: Answer,
}

/// Something done to the machine. Paths are relative to the root of sysfs; the UUID variables are
/// already replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `host`: the hardware becomes this, then the bus is rescanned.
    Host(String),
    /// `w`: open for writing, one write, close.
    Write(String, Vec<u8>),
    /// `r`: open for reading, read to the end.
    Read(String),
    /// `ls`: names in a directory.
    List(String),
    /// `lsl`: target of a symbolic link.
    ReadLink(String),
    /// `mode`: permission bits.
    Mode(String),
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The write took all bytes, or the hardware changed.
    Ok,
    /// The write took only so many bytes.
    Short(usize),
    /// The call after a successful open failed.
    Failed(Errno),
    /// The open failed.
    OpenFailed(Errno),
    /// Content of a file.
    Content(Vec<u8>),
    /// Names, each with `/` behind a directory and `@` behind a symbolic link.
    Names(Vec<String>),
    /// Target of a link.
    Target(String),
    /// Permission bits.
    Mode(u16),
}

/// The UUIDs behind `$A`, `$B` and `$C`.
pub const UUIDS: [(&str, &str); 3] = [
    ("$A", "62177883-f1bb-47f0-914d-32a22e3a8804"),
    ("$B", "cef03c3c-903d-4ecc-9a83-40694cb8aee4"),
    ("$C", "83c32df7-d052-4b21-9a0f-1d2c3e4f5a6b"),
];

/// Replaces the UUID variables, which are plain text wherever they stand.
#[must_use]
pub fn expand(text: &str) -> String {
    UUIDS.iter().fold(String::from(text), |text, (name, uuid)| {
        text.replace(name, uuid)
    })
}

/// The opposite of [`expand`], for output that people compare with a transcript.
#[must_use]
pub fn abbreviate(text: &str) -> String {
    UUIDS.iter().fold(String::from(text), |text, (name, uuid)| {
        text.replace(uuid, name)
    })
}

/// The bytes as a transcript writes them, quotes included.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Host(spec) => format!("host {spec}"),
            Self::Write(path, bytes) => format!("w {path} {}", quote(bytes)),
            Self::Read(path) => format!("r {path}"),
            Self::List(path) => format!("ls {path}"),
            Self::ReadLink(path) => format!("lsl {path}"),
            Self::Mode(path) => format!("mode {path}"),
        };
        f.write_str(&abbreviate(&text))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Ok => String::from("ok"),
            Self::Short(taken) => format!("short {taken}"),
            Self::Failed(errno) => String::from(errno.name()),
            Self::OpenFailed(errno) => format!("open {}", errno.name()),
            Self::Content(bytes) => quote(bytes),
            Self::Names(names) => names.join(" "),
            Self::Target(target) => target.clone(),
            Self::Mode(mode) => format!("{mode:04o}"),
        };
        f.write_str(&abbreviate(&text))
    }
}
