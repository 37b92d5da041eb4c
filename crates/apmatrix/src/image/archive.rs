//! Where Debian packages come from on this host: mirror and keyring, taken from the host's own apt.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::process::{find_program, run};

/// Names a mirror where apt's configuration names none (an Ubuntu host, say).
pub(crate) const MIRROR_VARIABLE: &str = "APMATRIX_DEBIAN_MIRROR";

const TOOLS: [&str; 4] = ["apt-get", "apt-cache", "apt-config", "dpkg-deb"];
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];
/// Suites that only Debian's main archive has; anything else in a source list is somebody else's.
const SUITES: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// Debian's package archive as this host sees it.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    /// URI in front of `dists/`, as apt's configuration has it.
    pub(crate) mirror: String,
    /// File with the keys that may sign the archive.
    pub(crate) keyring: PathBuf,
}

impl Archive {
    /// Looks at the host's apt; the error says everything that is missing at once.
    pub(crate) fn from_host() -> Result<Self> {
        let mut missing: Vec<String> = TOOLS
            .iter()
            .filter(|tool| find_program(tool).is_none())
            .map(|tool| format!("the program {tool}"))
            .collect();
        let keyring = KEYRINGS
            .iter()
            .map(PathBuf::from)
            .find(|file| file.is_file());
        if keyring.is_none() {
            missing.push(format!(
                "Debian's archive keyring ({}, package debian-archive-keyring)",
                KEYRINGS[0]
            ));
        }
        let mirror = if missing.is_empty() { mirror() } else { None };
        if missing.is_empty() && mirror.is_none() {
            missing.push(format!(
                "a Debian mirror in apt's sources (or its URI in {MIRROR_VARIABLE})"
            ));
        }
        match (keyring, mirror) {
            (Some(keyring), Some(mirror)) if missing.is_empty() => Ok(Self { mirror, keyring }),
            _ => bail!(
                "the guest image is made from Debian packages; missing here: {}.\n\
                 On Debian or Ubuntu: apt-get install apt dpkg debian-archive-keyring.\n\
                 Elsewhere use the Containerfile of the apmatrix source, which has all of it:\n  \
                 podman build -t apmatrix . && podman run --rm -it -v $HOME/.cache:/cache apmatrix \
                 apmatrix guest image\n\
                 or bring your own kernel and initramfs (--kernel, --initrd).",
                missing.join("; ")
            ),
        }
    }
}

/// The codename of the host's Debian release, if it is one.
pub(crate) fn host_codename() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(key)?
                .strip_prefix('=')
                .map(|v| v.trim_matches('"').to_owned())
        })
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME"))?
}

fn mirror() -> Option<String> {
    if let Ok(uri) = std::env::var(MIRROR_VARIABLE)
        && !uri.is_empty()
    {
        return Some(uri);
    }
    from_targets().or_else(|| from_files(Path::new("/etc/apt")))
}

/// What apt itself makes of its sources; empty before the host's first `apt-get update`.
fn from_targets() -> Option<String> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME) $(LABEL)",
    ]);
    let output = run(&mut command, "ask apt for its sources").ok()?;
    output.stdout.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (uri, codename, label) = (words.next()?, words.next()?, words.next()?);
        (label == "Debian" && is_main_suite(codename)).then(|| uri.to_owned())
    })
}

fn from_files(etc: &Path) -> Option<String> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(parts) = std::fs::read_dir(etc.join("sources.list.d")) {
        let mut parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => from_lines(&text),
            "sources" => from_stanzas(&text),
            _ => None,
        }
    })
}

/// One-line format: `deb [options] URI SUITE COMPONENT...`.
fn from_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        (is_main_suite(suite) && words.any(|component| component == "main")).then(|| uri.to_owned())
    })
}

/// Paragraph format (`.sources` files): `URIs:` and `Suites:` fields.
fn from_stanzas(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let types = field("Types")?;
        let off = field("Enabled").is_some_and(|value| value.trim() == "no");
        let ours = field("Suites")?.split_whitespace().any(is_main_suite);
        let uri = field("URIs")?.split_whitespace().next()?;
        (types.split_whitespace().any(|t| t == "deb") && ours && !off).then(|| uri.to_owned())
    })
}

fn is_main_suite(suite: &str) -> bool {
    let base = suite
        .strip_suffix("-updates")
        .or_else(|| suite.strip_suffix("-backports"));
    SUITES.contains(&base.unwrap_or(suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources() {
        let text = "# deb file:/commented trixie main\n\
                    deb [arch=amd64 signed-by=/k] file:/tools nodistro main\n\
                    deb file:/security trixie-security main\n\
                    deb [signed-by=/k] file:/debian trixie main contrib\n";
        assert_eq!(from_lines(text).as_deref(), Some("file:/debian"));
        assert_eq!(from_lines("deb file:/ubuntu noble main\n"), None);
    }

    #[test]
    fn stanza_sources() {
        let text = "Types: deb\nURIs: file:/off\nSuites: trixie\nEnabled: no\n\n\
                    Types: deb-src\nURIs: file:/src\nSuites: trixie\n\n\
                    Types: deb\n# note\nURIs: file:/debian\nSuites: trixie trixie-updates\n\
                    Components: main\n";
        assert_eq!(from_stanzas(text).as_deref(), Some("file:/debian"));
    }
}
