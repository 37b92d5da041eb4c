//! Running the host's programs (apt, dpkg-deb, the cross compiler) with errors worth reading.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many lines of a failed program's error output are repeated to the user.
const ERROR_LINES: usize = 12;

/// What a program printed when it succeeded.
#[derive(Debug)]
pub(crate) struct Output {
    /// Standard output, as text.
    pub(crate) stdout: String,
}

/// Runs `command` to its end with no input. `what` completes the sentence "cannot ...".
pub(crate) fn run(command: &mut Command, what: &str) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot {what}: cannot start {program}"))?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(Output { stdout });
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n  ");
    bail!(
        "cannot {what}: {program} ended with {}\n  {tail}",
        done.status
    );
}

/// The full path of `program` as a shell would find it.
pub(crate) fn find_program(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = program.as_ref();
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_last_error_lines() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo reason >&2; exit 3"]);
        let error = run(&mut command, "do it").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot do it: sh ended with exit status: 3"),
            "{error}"
        );
        assert!(error.ends_with("first\n  reason"), "{error}");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
