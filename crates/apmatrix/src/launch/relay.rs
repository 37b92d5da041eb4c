//! Console input from a pipe or file: `echo 'lszcrypt; poweroff' | apmatrix guest run`.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};

use super::{Guest, READY};

/// Ctrl-D: the end of input, said to a terminal.
const END_OF_INPUT: u8 = 4;

/// Copies the guest's console to standard output until QEMU ends, and standard input to the guest
/// from the moment that its shell reads.
pub(crate) fn relay(guest: &mut Guest) -> Result<()> {
    let child = guest.child();
    let mut console = child.stdout.take().context("QEMU has no standard output")?;
    let input = child.stdin.take().context("QEMU has no standard input")?;
    let (ready, wait) = channel();
    // Not joined: it may be waiting for input that never comes when the guest has ended.
    thread::Builder::new()
        .name("guest-input".to_owned())
        .spawn(move || copy_input(&mut io::stdin(), input, &wait))
        .context("cannot start a thread for the guest's input")?;
    copy_console(&mut console, &mut io::stdout(), ready)
        .context("cannot copy the guest's console to standard output")
}

fn copy_input(from: &mut impl Read, mut to: impl Write, ready: &Receiver<()>) {
    if ready.recv().is_err() {
        return;
    }
    let mut buffer = [0; 1024];
    let mut copied = false;
    // Errors mean that one of the ends has gone.
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to
            .write_all(&buffer[..count])
            .and_then(|()| to.flush())
            .is_err()
        {
            return;
        }
        copied = true;
    }
    // As with any shell, the end of a script ends the guest. /dev/null is no script: a guest in the
    // background stays.
    if copied {
        drop(to.write_all(&[END_OF_INPUT]));
    }
}

fn copy_console(from: &mut impl Read, to: &mut impl Write, ready: Sender<()>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut recent = Vec::new();
    let mut ready = Some(ready);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let text = &buffer[..count];
        to.write_all(text)?;
        to.flush()?;
        if ready.is_none() {
            continue;
        }
        recent.extend_from_slice(text);
        if recent
            .windows(READY.len())
            .any(|window| window == READY.as_bytes())
            && let Some(ready) = ready.take()
        {
            // Nobody listens when the thread has ended already; then there is no input either.
            ready.send(()).ok();
        }
        recent.drain(..recent.len().saturating_sub(READY.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_found_across_two_reads() {
        let (ready, wait) = channel();
        let (one, two) = READY.split_at(7);
        let start = format!("boot\n{one}");
        let mut from = start.as_bytes().chain(two.as_bytes());
        let mut shown = Vec::new();
        copy_console(&mut from, &mut shown, ready).unwrap();
        assert_eq!(shown, format!("boot\n{READY}").into_bytes());
        assert!(wait.try_recv().is_ok());
    }

    #[test]
    fn a_script_ends_the_shell_and_no_input_does_not() {
        let (ready, wait) = channel();
        ready.send(()).unwrap();
        ready.send(()).unwrap();
        let mut typed = Vec::new();
        copy_input(&mut "ls\n".as_bytes(), &mut typed, &wait);
        assert_eq!(typed, b"ls\n\x04");
        typed.clear();
        copy_input(&mut io::empty(), &mut typed, &wait);
        assert_eq!(typed, b"");
    }
}
