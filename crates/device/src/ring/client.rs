//! The client's end of all rings: which memory, which queue, and when the server is asked instead.
//!
//! ```text
//!              rings set up               connection lost, device given back
//!   [none] --------------------> [in use] ---------------------------------> [none]
//!                                 session + 1                                 session + 1
//! ```
//! Each queue has a lock of its own, which is held while an instruction for it goes over the socket too:
//! nothing happens in a queue's ring then, as the server relies on. The lock also keeps the memory that the queue
//! uses, so that threads with different queues share no lock and no count; a number says whether it is
//! still that of the present session.

#[cfg(not(feature = "loom"))]
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering as StdOrdering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arch::qci::QCI_LEN;
use arch::{Apqn, Facilities, Instruction, Outcome, QciBlock, ResponseCode};

#[cfg(not(feature = "loom"))]
use super::layout::WORDS;
use super::layout::{
    ASK, OTHER_ALERTS, QCI, RINGS, SEQUENCE, SLOT, SLOTS, alerts, directory, owner,
};
#[cfg(not(feature = "loom"))]
use super::memory::Memory;
use super::queue::QueueEnd;
use super::sync::{Ordering, fence};
use super::words::Words;
use crate::message::RingsReply;

/// How long a queue believes without looking that the server is there.
const TRUST: Duration = Duration::from_millis(1);

/// How often the QCI block is read anew while it changes.
const TRIES: usize = 1000;

/// The memory of one session.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) area: Words,
    pub(super) window: Words,
    doorbell: Doorbell,
    /// The server counts in the rings what is to interrupt.
    tells_alerts: bool,
}

/// The alerts of a session that are known. It is the client's, beside the queues' locks.
#[derive(Debug)]
pub(crate) struct KnownAlerts {
    rings: [u64; RINGS],
    others: Option<u64>,
}

impl Default for KnownAlerts {
    fn default() -> Self {
        Self {
            rings: [0; RINGS],
            others: None,
        }
    }
}

impl KnownAlerts {
    /// By how much the count of a ring has grown; it is known from now on.
    const fn grown(&mut self, ring: usize, count: u64) -> u64 {
        count.wrapping_sub(std::mem::replace(&mut self.rings[ring], count))
    }
}

/// How the server is woken.
#[cfg(not(feature = "loom"))]
type Doorbell = OwnedFd;
/// A model only sees whether it was.
#[cfg(feature = "loom")]
type Doorbell = Arc<loom::sync::atomic::AtomicBool>;

impl Shared {
    /// The memory that a server offers, if it is what this client understands.
    #[cfg(not(feature = "loom"))]
    pub(crate) fn accept(
        reply: &RingsReply,
        descriptors: [OwnedFd; 3],
        tells_alerts: bool,
    ) -> Option<Self> {
        if *reply != RingsReply::ours() {
            return None;
        }
        let [area, window, doorbell] = descriptors;
        // The server's window can be mapped for reading only; one that is not sealed so is not its window.
        Some(Self {
            area: Memory::foreign(area.as_fd(), WORDS, true).ok()?.into(),
            window: Memory::foreign(window.as_fd(), WORDS, false).ok()?.into(),
            doorbell,
            tells_alerts,
        })
    }

    /// No model has a socket.
    #[cfg(feature = "loom")]
    pub(crate) fn accept(_: &RingsReply, _: [OwnedFd; 3], _: bool) -> Option<Self> {
        None
    }

    #[cfg(all(test, feature = "loom"))]
    pub(super) fn modelled(area: Words, window: Words, doorbell: Doorbell) -> Self {
        Self {
            area,
            window,
            doorbell,
            tells_alerts: true,
        }
    }

    #[cfg(not(feature = "loom"))]
    pub(super) fn ring_doorbell(&self) {
        // A full pipe is as good as a byte more: the server has not looked yet.
        let _rung = rustix::io::write(&self.doorbell, &[1]);
    }

    #[cfg(feature = "loom")]
    pub(super) fn ring_doorbell(&self) {
        self.doorbell.store(true, Ordering::Relaxed);
    }

    /// What `alerts` and the count of others are; every ring that a queue has is handed to `each`.
    fn alerts(&self, mut each: impl FnMut(usize, Apqn, u64)) -> u64 {
        for ring in 0..RINGS {
            let entry = self.window.load(directory(ring), Ordering::Acquire);
            if let Some(apqn) = owner(entry) {
                let count = self.window.load(alerts(ring), Ordering::Acquire);
                each(ring, apqn, count);
            }
        }
        self.window.load(OTHER_ALERTS, Ordering::Acquire)
    }

    /// What QCI answers; `None` when it cannot be read, because the server errs or has died over it.
    fn qci(&self) -> Option<QciBlock> {
        let mut block = [0; QCI_LEN];
        for _ in 0..TRIES {
            let before = self.window.load(SEQUENCE, Ordering::Acquire);
            if before.is_multiple_of(2) {
                self.window.read_bytes(QCI, 0, &mut block);
                fence(Ordering::Acquire);
                if self.window.load(SEQUENCE, Ordering::Relaxed) == before {
                    let is_there = before != 0 && before & ASK == 0;
                    return is_there.then(|| QciBlock::decode(&block));
                }
            }
            std::hint::spin_loop();
        }
        None
    }
}

impl RingsReply {
    /// What this implementation has.
    pub(crate) fn ours() -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(0).into();
        Self {
            rings: number(RINGS),
            slots: number(SLOTS),
            slot_size: number(SLOT * 8),
            reserved: 0.into(),
        }
    }
}

/// The queues of an adapter, by domain.
type Domains = Box<[Mutex<Queue>]>;

/// All rings of a client.
#[derive(Debug)]
pub(crate) struct Rings {
    facilities: Facilities,
    /// Counts changes of [`Current`] that every queue has to see before it is used again.
    changes: AtomicU64,
    current: Mutex<Current>,
    /// By adapter, then by domain; made when an adapter is first named.
    queues: Box<[OnceLock<Domains>]>,
}

#[derive(Debug, Default)]
struct Current {
    /// Counts sessions, with and without rings.
    session: u64,
    /// Counts resets of all queues by the guest's machine.
    resets: u64,
    shared: Option<Arc<Shared>>,
    max_message: usize,
    /// What the guest was told last.
    qci: Option<QciBlock>,
}

/// A queue as its lock guards it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    end: QueueEnd,
    changes: u64,
    session: u64,
    resets: u64,
    max_message: usize,
    /// The server has told the guest about the queue in this session.
    known: bool,
    trusted: Option<Instant>,
}

impl Rings {
    /// No memory yet, for a guest with these facilities.
    pub(crate) fn new(facilities: Facilities) -> Self {
        Self {
            facilities,
            changes: AtomicU64::new(0),
            current: Mutex::default(),
            queues: (0..=u8::MAX).map(|_| OnceLock::new()).collect(),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins, in which messages have at most `max_message` bytes.
    pub(crate) fn begin(&self, shared: Shared, max_message: u32) {
        let mut current = self.current();
        current.shared = Some(Arc::new(shared));
        current.max_message = max_message as usize;
        current.session += 1;
        self.changes.fetch_add(1, StdOrdering::Release);
    }

    /// The session has ended. Returns what QCI told the guest last.
    pub(crate) fn end(&self) -> Option<QciBlock> {
        let mut current = self.current();
        current.shared = None;
        current.session += 1;
        self.changes.fetch_add(1, StdOrdering::Release);
        current.qci.take()
    }

    /// The guest's machine has reset all queues, or has given them back: nobody waits for what they held.
    pub(crate) fn reset(&self) {
        let mut current = self.current();
        current.resets += 1;
        self.changes.fetch_add(1, StdOrdering::Release);
    }

    /// Whether rings are in use.
    pub(crate) fn in_use(&self) -> bool {
        self.current().shared.is_some()
    }

    /// Hands each queue with replies in its ring that are to interrupt, and how many are new, to `take`.
    /// Whether there may be alerts elsewhere.
    pub(crate) fn alerts(&self, known: &mut KnownAlerts, mut take: impl FnMut(Apqn, u64)) -> bool {
        let Some(shared) = self.telling_alerts() else {
            return true;
        };
        let others = shared.alerts(|ring, apqn, count| match known.grown(ring, count) {
            0 => {}
            new => take(apqn, new),
        });
        known.others.replace(others) != Some(others)
    }

    /// What a queue's ring tells up to now is to interrupt nobody.
    pub(crate) fn forget_alerts(&self, known: &mut KnownAlerts, queue: Apqn) {
        if let Some(shared) = self.telling_alerts() {
            shared.alerts(|ring, apqn, count| {
                if apqn == queue {
                    known.grown(ring, count);
                }
            });
        }
    }

    /// The memory, if the server counts alerts in it.
    fn telling_alerts(&self) -> Option<Arc<Shared>> {
        let shared = self.current().shared.clone();
        shared.filter(|shared| shared.tells_alerts)
    }

    fn queue(&self, apqn: Apqn) -> MutexGuard<'_, Queue> {
        let domains = || (0..=u8::MAX).map(|_| Mutex::default()).collect();
        let adapter = self.queues[usize::from(apqn.apid.0)].get_or_init(domains);
        let queue = &adapter[usize::from(apqn.apqi.0)];
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes an instruction, if that can be done in a ring. Otherwise the server is to be asked, and
    /// what is returned to be kept until it has answered. `look` sees whether the server is still there.
    pub(crate) fn execute(
        &self,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
        look: impl FnOnce(),
    ) -> Result<Outcome, Option<MutexGuard<'_, Queue>>> {
        let Some(apqn) = instruction.apqn() else {
            return self.qci(look).ok_or(None);
        };
        let mut queue = self.queue(apqn);
        queue.refresh(self, look);
        match queue.execute(self.facilities, apqn, instruction, reply) {
            Some(outcome) => Ok(outcome),
            None => Err(Some(queue)),
        }
    }

    /// Follows what the server, or who answers in its place, has told the guest about an instruction that
    /// [`execute`](Self::execute) did not execute. Returns what the guest is told in the end.
    pub(crate) fn answered(
        &self,
        queue: Option<MutexGuard<'_, Queue>>,
        instruction: &Instruction<'_>,
        outcome: Outcome,
    ) -> Outcome {
        let Some(mut queue) = queue else {
            return outcome;
        };
        // The loss may have come to light just now.
        queue.catch_up(self);
        queue.end.follow(instruction, &outcome);
        match &outcome {
            Outcome::Dqap(got) if got.status.code == ResponseCode::NORMAL => outcome,
            _ => queue.end.owed(instruction).unwrap_or(outcome),
        }
    }

    fn qci(&self, look: impl FnOnce()) -> Option<Outcome> {
        if !self.facilities.contains(Facilities::APQCI) || !self.in_use() {
            return None;
        }
        look();
        let mut current = self.current();
        let block = current.shared.as_ref()?.qci()?;
        current.qci = Some(block);
        Some(Outcome::Qci(block))
    }
}

impl Queue {
    /// Uses the memory of the present session.
    fn refresh(&mut self, rings: &Rings, look: impl FnOnce()) {
        if self.trusted.is_none_or(|since| since.elapsed() > TRUST) {
            look();
            self.trusted = Some(Instant::now());
        }
        self.catch_up(rings);
    }

    fn catch_up(&mut self, rings: &Rings) {
        if self.changes == rings.changes.load(StdOrdering::Acquire) {
            return;
        }
        let current = rings.current();
        self.changes = rings.changes.load(StdOrdering::Acquire);
        // In this order: what was lost and then reset is not waited for. The other way round the guest
        // has not used the queue in between.
        if self.session != current.session {
            self.session = current.session;
            self.end.change(current.shared.clone());
            self.max_message = current.max_message;
            self.known = false;
        }
        if self.resets != current.resets {
            self.resets = current.resets;
            self.end.reset();
        }
    }

    fn execute(
        &mut self,
        facilities: Facilities,
        apqn: Apqn,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Option<Outcome> {
        if let Some(outcome) = self.end.owed(instruction) {
            return Some(outcome);
        }
        match *instruction {
            Instruction::Tapq { facilities: t, .. } => {
                // What the guest knows when the server is away is what the server told it.
                let outcome = self.end.tapq(apqn);
                let known = std::mem::replace(&mut self.known, outcome.is_some());
                let allowed = !t || facilities.contains(Facilities::APFT);
                outcome.filter(|_| known && allowed)
            }
            Instruction::Nqap {
                psmid,
                special,
                message,
                ..
            } if (1..=self.max_message).contains(&message.len()) => {
                self.end.nqap(apqn, psmid, special, message)
            }
            Instruction::Dqap { .. } if !reply.is_empty() => {
                let bounded = reply.len().min(self.max_message);
                self.end.dqap(apqn, &mut reply[..bounded])
            }
            _ => None,
        }
    }
}
