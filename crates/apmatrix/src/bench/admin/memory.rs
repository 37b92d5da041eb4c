//! What an idle daemon weighs: a process of its own, as `apmatrix serve` starts it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::IDLE_MIB;
use super::files::{ADAPTERS, DOMAINS};
use crate::bench::scoreboard::Scoreboard;

pub(super) fn run(board: &mut Scoreboard<'_>) -> Result<()> {
    let name = format!("apmatrix-bench-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let measured = measure(&dir);
    drop(fs::remove_dir_all(&dir));
    let row = format!("idle, {ADAPTERS} adapters x {DOMAINS} domains, resident");
    board.judge(&row, measured?, "MiB", IDLE_MIB)
}

/// MiB of a daemon that has just said that it is ready.
fn measure(dir: &Path) -> Result<f64> {
    let machine = dir.join("machine.toml");
    fs::write(&machine, machine_file()?)?;
    let mut daemon = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg("--run-dir")
        .arg(dir.join("run"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--machine")
        .arg(&machine)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the daemon")?;
    let resident = resident_when_ready(&mut daemon);
    stop(&mut daemon)?;
    resident
}

fn resident_when_ready(daemon: &mut Child) -> Result<f64> {
    let stdout = daemon.stdout.take().context("its output is not piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line.starts_with("ready"), "the daemon said {line:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("the kernel does not say what is resident")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// An orderly end, so that nothing stays mounted.
fn stop(daemon: &mut Child) -> Result<()> {
    let pid = i32::try_from(daemon.id()).context("a process number is an int")?;
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    daemon.wait()?;
    Ok(())
}

fn machine_file() -> Result<String> {
    let domains: Vec<u8> = (0..DOMAINS).collect();
    let mut text = format!("[domains]\nusage = {domains:?}\ncontrol = {domains:?}\n");
    for id in 0..ADAPTERS {
        write!(text, "[[adapter]]\nid = {id}\ntype = \"CEX8A\"\n")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::admin::files::full_machine;
    use crate::daemon::Machinery;

    #[test]
    fn the_machine_file_says_the_full_machine() {
        let name = format!("apmatrix-bench-file-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, machine_file().unwrap()).unwrap();
        let machine = Machinery::load(Some(&file)).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(
            machine.partition.to_string(),
            full_machine().partition.to_string()
        );
    }
}
