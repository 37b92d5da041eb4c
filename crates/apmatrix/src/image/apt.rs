//! A private apt: own lists, own cache, own empty package database, the host's mirror and keys.
//!
//! Nothing of the host is changed and no root is needed: packages are downloaded (apt checks the
//! archive's signature and every package's checksum) and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::process::run;

/// Settings of the host that say how to reach the network, and whether its clock can be trusted.
const INHERITED: [&str; 8] = [
    "Acquire::http",
    "Acquire::https",
    "Acquire::ftp",
    "Acquire::Retries",
    "Acquire::Force",
    "Acquire::Check-",
    "Acquire::Min-ValidTime",
    "Acquire::Max-ValidTime",
];

/// One package as apt would install it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) size: u64,
}

/// A private apt for one architecture and one set of suites.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Writes the configuration under `dir` and fetches the package lists of `suites`.
    pub(crate) fn new(
        dir: PathBuf,
        arch: &str,
        archive: &Archive,
        suites: &[&str],
    ) -> Result<Self> {
        for sub in [
            "etc/parts",
            "etc/preferences.d",
            "lists/partial",
            "cache/archives/partial",
        ] {
            let path = dir.join(sub);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| {
                let Archive { mirror, keyring } = archive;
                format!(
                    "deb [signed-by={}] {mirror} {suite} main\n",
                    keyring.display()
                )
            })
            .collect();
        let apt = Self { dir };
        apt.write("status", "")?;
        apt.write("etc/sources.list", &sources)?;
        apt.write("apt.conf", &apt.configuration(arch))?;
        // Without "any" apt calls a failed download a warning and goes on with what it has.
        let mut update = apt.command("apt-get");
        update.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        run(
            &mut update,
            &format!("fetch the package lists of Debian {}", suites.join(" and ")),
        )?;
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn configuration(&self, arch: &str) -> String {
        let dir = self.dir.display();
        // The host's own parts are left out: their hooks are about the host's packages.
        let mut text = format!(
            "Dir::Etc \"{dir}/etc\";\n\
             Dir::Etc::parts \"{dir}/etc/parts\";\n\
             Dir::Etc::sourceparts \"{dir}/etc/parts\";\n\
             Dir::Etc::netrc \"/etc/apt/auth.conf\";\n\
             Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
             Dir::State \"{dir}\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             APT::Architecture \"{arch}\";\n\
             APT::Architectures {{ \"{arch}\"; }};\n\
             APT::Install-Recommends \"0\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        );
        if let Ok(host) = run(
            Command::new("apt-config").arg("dump"),
            "read apt's configuration",
        ) {
            for line in host.stdout.lines() {
                if INHERITED.iter().any(|prefix| line.starts_with(prefix)) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .arg("-q");
        command
    }

    /// The version that would be installed, given `release` as in `apt-get -t`.
    pub(crate) fn candidate(&self, package: &str, release: Option<&str>) -> Result<Option<String>> {
        let mut command = self.command("apt-cache");
        command
            .args(release.map(|r| format!("-t={r}")))
            .args(["policy", package]);
        let output = run(&mut command, &format!("look up package {package}"))?;
        let line = output
            .stdout
            .lines()
            .find_map(|l| l.trim().strip_prefix("Candidate: "));
        Ok(line
            .filter(|version| *version != "(none)")
            .map(str::to_owned))
    }

    /// The names of all packages that begin with `prefix`, in no order.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        command.args(["pkgnames", prefix]);
        let output = run(&mut command, &format!("look up packages {prefix}*"))?;
        Ok(output.stdout.lines().map(str::to_owned).collect())
    }

    /// `packages` and everything they need, except what `skip` says is not wanted.
    pub(crate) fn resolve(
        &self,
        packages: &[&str],
        release: Option<&str>,
        skip: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Package>> {
        let mut command = self.command("apt-get");
        command.args(release.map(|r| format!("-t={r}")));
        command
            .args(["--print-uris", "-y", "install"])
            .args(packages);
        let what = format!("find the packages that {} needs", packages.join(", "));
        let output = run(&mut command, &what)?;
        let found = output.stdout.lines().filter_map(parse_uri_line);
        Ok(found.filter(|package| !skip(&package.name)).collect())
    }

    /// One package without what it needs.
    pub(crate) fn single(&self, name: &str) -> Result<Package> {
        let Some(version) = self.candidate(name, None)? else {
            bail!("Debian's archive has no package {name} here");
        };
        let mut command = self.command("apt-cache");
        command.args(["show", &format!("{name}={version}")]);
        let output = run(&mut command, &format!("look up package {name}"))?;
        let size = output
            .stdout
            .lines()
            .find_map(|l| l.strip_prefix("Size: ")?.parse().ok());
        Ok(Package {
            name: name.to_owned(),
            version,
            size: size.unwrap_or(0),
        })
    }

    /// Downloads `packages` and unpacks them into `root`.
    pub(crate) fn unpack(&self, packages: &[Package], root: &Path) -> Result<()> {
        let debs = self.dir.join("debs");
        if debs.exists() {
            fs::remove_dir_all(&debs).context("cannot clear the download directory")?;
        }
        fs::create_dir_all(&debs).context("cannot create the download directory")?;
        let mut download = self.command("apt-get");
        download.arg("download").current_dir(&debs);
        download.args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        run(&mut download, "download packages")?;
        merge_usr(root)?;
        let mut files: Vec<PathBuf> = fs::read_dir(&debs)
            .context("cannot list the downloaded packages")?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "deb"));
        files.sort();
        if files.len() != packages.len() {
            bail!(
                "apt downloaded {} packages of {}",
                files.len(),
                packages.len()
            );
        }
        for file in &files {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("-x").arg(file).arg(root);
            run(&mut unpack, &format!("unpack {}", file.display()))?;
        }
        fs::remove_dir_all(&debs).context("cannot clear the download directory")
    }
}

/// Debian's merged layout, so that a package with files in `/lib` and one in `/usr/lib` agree.
fn merge_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let real = root.join("usr").join(name);
        fs::create_dir_all(&real).with_context(|| format!("cannot create {}", real.display()))?;
        let link = root.join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("usr/{name}"), &link)
                .with_context(|| format!("cannot create {}", link.display()))?;
        }
    }
    Ok(())
}

/// A line of `--print-uris`: `'URI' NAME_VERSION_ARCH.deb SIZE HASH`.
fn parse_uri_line(line: &str) -> Option<Package> {
    let mut words = line
        .strip_prefix('\'')?
        .split_once("' ")?
        .1
        .split_whitespace();
    let mut file = words.next()?.split('_');
    let name = file.next()?.to_owned();
    // In file names apt escapes the colon of an epoch.
    let version = file.next()?.replace("%3a", ":");
    let size = words.next()?.parse().ok()?;
    Some(Package {
        name,
        version,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_lines() {
        let line = "'file:/pool/q.deb' qemu_1%3a11.1.3+ds-1~bpo13+1_amd64.deb 3194652 SHA256:00";
        let package = parse_uri_line(line).expect("a package");
        assert_eq!(package.name, "qemu");
        assert_eq!(package.version, "1:11.1.3+ds-1~bpo13+1");
        assert_eq!(package.size, 3_194_652);
        assert_eq!(parse_uri_line("Need to get 3 MB of archives."), None);
    }
}
