//! `apmatrix record`.

use std::fs::{OpenOptions, Permissions};
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Context;
use crate::admin::parse_uuid;
use crate::control::{self, Request, Response};

/// Record the AP traffic of a mediated device to a file, until Ctrl-C or until the device is gone
///
/// Each instruction of the guest with its outcome and messages. Operands, keys and results are replaced by
/// zeros unless --secrets is given. The guest never waits for the recorder: what comes too fast is counted.
/// The file is pcap-ng (link type USER0); apmatrix dissect and wireshark open it.
#[derive(Debug, clap::Args)]
pub(super) struct Record {
    /// The mediated device
    uuid: String,
    /// The file, readable by its owner alone; - is standard output [default: UUID.pcapng]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Record operands, keys and results too
    #[arg(long)]
    secrets: bool,
}

impl Record {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let mdev = parse_uuid(&self.uuid)?;
        let request = Request::Record {
            mdev: mdev.clone(),
            secrets: self.secrets,
        };
        // Before anything is begun, so that no signal is missed.
        let signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
        let (response, stream) = control::open(&context.run_dir.control_socket(), &request)?;
        match response {
            Response::Recording => {}
            Response::Refused(reason) => bail!("{reason}"),
            _ => bail!("the daemon answered nonsense"),
        }
        stream.get_ref().set_read_timeout(None)?;
        end_on_signal(signals, stream.get_ref())?;
        let file = self
            .out
            .clone()
            .unwrap_or_else(|| format!("{mdev}.pcapng").into());
        if file == Path::new("-") {
            copy(stream, context.out)?;
        } else {
            let mut out = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&file)
                .with_context(|| format!("cannot write {}", file.display()))?;
            // The mode above is that of a new file; an old one may be everybody's to read.
            if out.metadata()?.is_file() {
                out.set_permissions(Permissions::from_mode(0o600))?;
            }
            copy(stream, &mut out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks the daemon to finish the recording when a signal comes; a second one ends it here and now.
fn end_on_signal(mut signals: Signals, stream: &UnixStream) -> Result<()> {
    let stream = stream.try_clone()?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let ends = [Shutdown::Write, Shutdown::Both];
            for (_, end) in signals.forever().zip(ends) {
                stream.shutdown(end).ok();
            }
        })?;
    Ok(())
}

/// Copies what comes as it comes, so that the file can be read while it grows.
fn copy(mut stream: BufReader<UnixStream>, out: &mut dyn Write) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).context("the daemon went away")?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read])
            .context("cannot write the recording")?;
        out.flush()?;
    }
}
