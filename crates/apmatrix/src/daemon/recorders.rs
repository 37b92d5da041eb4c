//! Who records which mediated device. A recorder never makes a guest wait.
//!
//! A session hands each executed instruction to the recorders of its device: encoded, redacted unless the
//! recorder asked for secrets, and put into a queue of bounded length. What does not fit is counted. The
//! thread of the recorder's own connection takes packets out and writes them.
//!
//! What goes through rings does not pass a session, so the machine sends the guest of a recorded device
//! to its session as long as it is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use arc_swap::ArcSwap;
use arch::{Apqn, Instruction, Outcome};
use machine::{GuestId, Machine};
use matrix::MdevUuid;
use rustix::net::RecvFlags;
use zeroize::Zeroizing;

use super::Desk;
use crate::control::Response;
use crate::record::{Pieces, Secrets, Writer};

/// Packets that wait for a recorder at most: with the longest messages about 16 MiB.
const QUEUE: usize = 1024;
/// Recorders of all devices at most.
const MOST: usize = 16;
/// How often a recorder without traffic looks whether anybody still reads, and whether its device is
/// there.
const LOOK: Duration = Duration::from_millis(100);

/// A packet, when it was made, and how many were lost before it.
type Packet = (Duration, u64, Zeroizing<Vec<u8>>);

struct Tap {
    mdev: MdevUuid,
    secrets: Secrets,
    packets: SyncSender<Packet>,
    dropped: AtomicU64,
}

/// The recorders of all devices.
#[derive(Default)]
pub(crate) struct Recorders {
    taps: ArcSwap<Vec<Arc<Tap>>>,
    /// Whose guest has which device open.
    guests: Mutex<BTreeMap<MdevUuid, GuestId>>,
}

impl std::fmt::Debug for Recorders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorders({})", self.taps.load().len())
    }
}

impl Recorders {
    /// A guest has opened `mdev`.
    pub(super) fn enter(&self, mdev: MdevUuid, guest: GuestId, machine: &Machine) {
        // Under the lock, here and below, so that who comes last decides by what is so then.
        let mut guests = self.guests();
        guests.insert(mdev, guest);
        machine.divert(guest, self.records(mdev));
    }

    /// A guest has gone.
    pub(super) fn leave(&self, mdev: MdevUuid, guest: GuestId) {
        let mut guests = self.guests();
        if guests.get(&mdev) == Some(&guest) {
            guests.remove(&mdev);
        }
    }

    /// Sends the guest of `mdev` to its session, or lets it use rings again.
    fn divert(&self, mdev: MdevUuid, machine: &Machine) {
        if let Some(guest) = self.guests().get(&mdev) {
            machine.divert(*guest, self.records(mdev));
        }
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<MdevUuid, GuestId>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self, mdev: MdevUuid) -> bool {
        self.taps.load().iter().any(|tap| tap.mdev == mdev)
    }

    fn add(&self, mdev: MdevUuid, secrets: Secrets) -> Option<(Arc<Tap>, Receiver<Packet>)> {
        let (packets, receiver) = sync_channel(QUEUE);
        let tap = Arc::new(Tap {
            mdev,
            secrets,
            packets,
            dropped: AtomicU64::new(0),
        });
        let before = self.taps.rcu(|taps| {
            let mut taps = Vec::clone(taps);
            if taps.len() < MOST {
                taps.push(Arc::clone(&tap));
            }
            taps
        });
        (before.len() < MOST).then_some((tap, receiver))
    }

    fn remove(&self, tap: &Arc<Tap>) {
        self.taps.rcu(|taps| {
            let mut taps = Vec::clone(taps);
            taps.retain(|other| !Arc::ptr_eq(other, tap));
            taps
        });
    }
}

/// What a session does for recorders: hands them instructions, and remembers which queues are in the
/// middle of a reply, whose next part begins with no header.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    in_reply: BTreeSet<Apqn>,
}

impl Recorded {
    /// Executes an instruction by `execute` and hands it to the recorders of `mdev`.
    pub(super) fn run(
        &mut self,
        recorders: &Recorders,
        mdev: MdevUuid,
        (instruction, reply): (&Instruction<'_>, &mut [u8]),
        execute: impl FnOnce(&Instruction<'_>, &mut [u8]) -> Outcome,
    ) -> Outcome {
        let taps = recorders.taps.load();
        let is_recorded = taps.iter().any(|tap| tap.mdev == mdev);
        let start = is_recorded.then(Instant::now);
        let outcome = execute(instruction, reply);
        let continues = self.follow(instruction, &outcome);
        if let Some(start) = start {
            let pieces = Pieces {
                instruction,
                outcome: &outcome,
                buffer: reply,
                continues,
                took: start.elapsed(),
            };
            for tap in taps.iter().filter(|tap| tap.mdev == mdev) {
                tap.hand(&pieces);
            }
        }
        outcome
    }

    /// Whether this DQAP continues a reply. A reset in between is not noticed: the next reply then
    /// counts as a continuation, which shows less of it and never more.
    fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) -> bool {
        let (Instruction::Dqap { apqn }, Outcome::Dqap(dequeued)) = (instruction, outcome) else {
            return false;
        };
        if dequeued.residual > 0 {
            return !self.in_reply.insert(*apqn);
        }
        if self.in_reply.is_empty() || dequeued.stored == 0 {
            return false;
        }
        self.in_reply.remove(apqn)
    }
}

impl Tap {
    fn hand(&self, pieces: &Pieces<'_>) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let packet = pieces.encode(self.secrets);
        if self.packets.try_send((now(), dropped, packet)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Records `mdev` to `stream` until nobody reads it any more or the device is gone.
///
/// # Errors
/// When the stream cannot be written.
pub(crate) fn record(desk: &Desk, stream: &UnixStream, mdev: &str, secrets: bool) -> Result<()> {
    let is_there = |mdev| desk.snapshot().matrix().mdev(mdev).is_some();
    let Some(mdev) = mdev.parse().ok().filter(|mdev| is_there(*mdev)) else {
        let reason = format!("there is no mediated device {mdev}");
        return say(stream, &Response::Refused(reason));
    };
    let secrets = if secrets {
        Secrets::Included
    } else {
        Secrets::Redacted
    };
    let Some((tap, packets)) = desk.recorders.add(mdev, secrets) else {
        let reason = format!("{MOST} recordings run already");
        return say(stream, &Response::Refused(reason));
    };
    desk.recorders.divert(mdev, &desk.machine);
    tracing::info!(%mdev, ?secrets, "recording begins");
    let recorded = say(stream, &Response::Recording).and_then(|()| {
        let mut file = stream;
        file.write_all(&Writer::head(&mdev.to_string(), secrets))?;
        let mut writer = Writer::default();
        loop {
            match packets.recv_timeout(LOOK) {
                Ok((at, dropped, packet)) => {
                    file.write_all(&writer.packet(at, dropped, &packet))?;
                }
                Err(RecvTimeoutError::Timeout) if reader_left(stream) || !is_there(mdev) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Under traffic that never pauses somebody may leave too.
            if reader_left(stream) {
                break;
            }
        }
        desk.recorders.remove(&tap);
        while let Ok((at, dropped, packet)) = packets.try_recv() {
            file.write_all(&writer.packet(at, dropped, &packet))?;
        }
        let dropped = tap.dropped.load(Ordering::Relaxed);
        Ok(file.write_all(&writer.tail(now(), dropped))?)
    });
    desk.recorders.remove(&tap);
    desk.recorders.divert(mdev, &desk.machine);
    tracing::info!(%mdev, "recording ends");
    recorded
}

fn say(mut stream: &UnixStream, response: &Response) -> Result<()> {
    let mut line = serde_json::to_string(response)?;
    line.push('\n');
    Ok(stream.write_all(line.as_bytes())?)
}

/// Whether the client has shut its sending half: it wants the recording to end.
fn reader_left(stream: &UnixStream) -> bool {
    let mut byte = [0u8; 1];
    match rustix::net::recv(stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((received, _)) => received == 0,
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}
