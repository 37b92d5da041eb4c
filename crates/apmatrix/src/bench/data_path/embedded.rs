//! Embedded guests over the channels of a daemon of its own.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use arch::{CrycbFormat, Errno, Facilities};
use device::{Client, ClientError, ClientOptions, OpenRequest};
use guest::Guest;

use super::gate::{Gate, Order};
use crate::bench::child::ChildDaemon;
use crate::bench::rsa::KnownCrt;

/// Requests that a guest has under way when it floods: as many as a queue takes.
const FLOOD: usize = 8;
/// How long the daemon may take to close a device.
const CLOSING: Duration = Duration::from_secs(10);

/// A daemon with so many adapters, each an accelerator, and domains; all are `vfio_ap`'s.
pub(super) fn daemon(adapters: u8, domains: u8) -> Result<ChildDaemon> {
    let list: Vec<u8> = (0..domains).collect();
    let mut text = format!("[domains]\nusage = {list:?}\ncontrol = {list:?}\n");
    for id in 0..adapters {
        write!(text, "[[adapter]]\nid = {id}\ntype = \"CEX8A\"\n")?;
    }
    let daemon = ChildDaemon::start(&text)?;
    daemon.write("bus/ap/aqmask", "0x0")?;
    Ok(daemon)
}

/// The mediated device with this number.
pub(super) fn uuid(number: usize) -> String {
    format!("{number:08x}-1f2e-4d3c-8b5a-000000000001")
}

/// What a guest with adapter interruptions asks for: it sleeps until a reply comes.
pub(super) fn request(number: usize) -> Result<OpenRequest> {
    Ok(OpenRequest {
        vm: format!("bench-{number}").parse()?,
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI | Facilities::APQI,
    })
}

/// A guest that computes one request again and again.
#[derive(Debug)]
pub(super) struct Worker<'k> {
    guest: Guest<Client>,
    known: &'k KnownCrt,
}

impl<'k> Worker<'k> {
    /// Opens the mediated device with this number. Whoever had it before may have closed it just now.
    pub(super) fn open(socket: &Path, number: usize, known: &'k KnownCrt) -> Result<Self> {
        let start = Instant::now();
        loop {
            match Guest::connect(socket, request(number)?, ClientOptions::default()) {
                Ok(guest) => return Ok(Self { guest, known }),
                Err(ClientError::Refused(Errno::EBUSY | Errno::EPERM))
                    if start.elapsed() < CLOSING => {}
                Err(error) => {
                    let what = format!("guest {number} cannot open its device");
                    return Err(anyhow::Error::new(error).context(what));
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// One request, and its answer is right.
    pub(super) fn once(&mut self) -> Result<()> {
        let ticket = self.guest.submit(self.known.request.clone());
        let answer = self.guest.wait(ticket, guest::linux::REPLY_TIME)?;
        ensure!(
            answer == self.known.expected,
            "an answer differs from OpenSSL's"
        );
        Ok(())
    }

    /// Keeps the queue full for as long as `gate` is open, and counts answers in `done`. What is under way when
    /// it closes is still answered, so that a guest that rests has nothing to do.
    pub(super) fn flood(&mut self, gate: &Gate, done: &AtomicU64) -> Result<()> {
        let mut tickets = VecDeque::new();
        loop {
            let works = gate.order() == Order::Work;
            while works && tickets.len() < FLOOD {
                tickets.push_back(self.guest.submit(self.known.request.clone()));
            }
            let Some(oldest) = tickets.pop_front() else {
                match gate.rest() {
                    Order::End => return Ok(()),
                    _ => continue,
                }
            };
            let answer = self.guest.wait(oldest, guest::linux::REPLY_TIME)?;
            ensure!(
                answer == self.known.expected,
                "an answer differs from OpenSSL's"
            );
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}
