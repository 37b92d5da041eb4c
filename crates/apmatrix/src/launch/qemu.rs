//! QEMU: which one, is it new enough, how it is started.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::image::find_program;

/// The program's name.
const PROGRAM: &str = "qemu-system-s390x";
/// What the user is told when a QEMU does not fit.
pub const ACCEPTED: &str = "QEMU for s390x >= 11.1 and < 12 (TCG plugin API 7)";

/// A QEMU release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl Version {
    /// Whether our plugin works with it: 11.1 is the first with plugin API 7 and refuses version 6,
    /// and a next major release may raise the API again.
    pub fn is_accepted(self) -> bool {
        self >= Self {
            major: 11,
            minor: 1,
        } && self.major < 12
    }

    /// Reads `11.1.3` or a package version such as `1:11.1.3+ds-1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_epoch, rest)| rest);
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self {
            major: next()?,
            minor: next()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A QEMU that was started once to see its version, and fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    program: PathBuf,
    arguments: Vec<OsString>,
    version: Version,
}

impl Qemu {
    /// The system's QEMU; the error says why it cannot be used.
    pub fn from_system() -> Result<Self> {
        let Some(program) = find_program(PROGRAM) else {
            bail!("there is no {PROGRAM} on the path; needed: {ACCEPTED}");
        };
        Self::probe(program, Vec::new())
    }

    /// A QEMU that the user names.
    pub fn from_program(program: &Path) -> Result<Self> {
        Self::probe(program.to_path_buf(), Vec::new())
    }

    /// A QEMU unpacked into a private root with all of its libraries.
    ///
    /// It is started by the root's own dynamic loader, so that the host's C library may be older.
    pub fn from_root(root: &Path, loader: &str, libraries: &str) -> Result<Self> {
        let program = root.join("usr/bin").join(PROGRAM);
        let arguments = vec![
            OsString::from("--library-path"),
            root.join(libraries).into_os_string(),
            program.into_os_string(),
            OsString::from("-L"),
            root.join("usr/share/qemu").into_os_string(),
        ];
        Self::probe(root.join(loader), arguments)
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A command that starts it; the caller adds the machine.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    fn probe(program: PathBuf, arguments: Vec<OsString>) -> Result<Self> {
        let mut qemu = Self {
            program,
            arguments,
            version: Version { major: 0, minor: 0 },
        };
        let shown = qemu.shown();
        let output = qemu
            .command()
            .arg("--help")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {shown}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("QEMU emulator version "))
            .and_then(Version::parse);
        let Some(version) = version else {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{shown} does not say which version of QEMU it is: {}",
                why.trim()
            );
        };
        if !version.is_accepted() {
            bail!(
                "{shown} is QEMU {version}; needed: {ACCEPTED}. Debian has it in trixie-backports \
                 and forky; `apmatrix guest image` fetches a private one that leaves the \
                 system's alone"
            );
        }
        if !text.contains("-plugin ") {
            bail!("{shown} is QEMU {version} built without TCG plugins; needed: {ACCEPTED}");
        }
        qemu.version = version;
        Ok(qemu)
    }

    fn shown(&self) -> String {
        // A private QEMU is an argument of its dynamic loader.
        self.arguments
            .get(2)
            .map_or(self.program.as_path(), Path::new)
            .display()
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let accepted = |text| Version::parse(text).unwrap().is_accepted();
        assert!(accepted("11.1.3 (Debian 1:11.1.3+ds-1)"));
        assert!(accepted("1:11.1.2+ds-3"));
        assert!(accepted("11.2.0"));
        assert!(!accepted("11.0.1"));
        assert!(!accepted("10.0.13"));
        assert!(!accepted("12.0.0"));
        assert_eq!(Version::parse("unknown"), None);
    }

    #[test]
    fn a_program_that_is_not_qemu_is_named() {
        let error = Qemu::from_program(Path::new("/bin/true"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/bin/true does not say which version"),
            "{error}"
        );
    }
}
