//! The asking end of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Request, Response};

/// A daemon that does not answer within this time is taken for stopped.
const DEADLINE: Duration = Duration::from_secs(10);

/// Asks the daemon behind `socket`.
///
/// # Errors
/// When there is no daemon or it does not answer.
pub fn ask(socket: &Path, request: &Request) -> Result<Response> {
    open(socket, request).map(|(response, _)| response)
}

/// As [`ask`]; also what comes behind the response.
pub(crate) fn open(socket: &Path, request: &Request) -> Result<(Response, BufReader<UnixStream>)> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("no apmatrix daemon answers at {}", socket.display()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .context("the daemon takes no request")?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream);
    reader
        .read_line(&mut answer)
        .context("the daemon does not answer")?;
    let response =
        serde_json::from_str(&answer).context("the daemon's answer is not understood")?;
    Ok((response, reader))
}
