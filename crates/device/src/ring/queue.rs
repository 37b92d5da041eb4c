//! The client's end of one queue: its ring, if it has one, and what this end has counted.

use std::sync::Arc;

use arch::contents::deliver;
use arch::instruction::Dequeued;
use arch::{Apqn, Contents, HwInfo, Instruction, Outcome, ResponseCode};

use super::client::Shared;
use super::end::split;
use super::held::Held;
use super::layout::{
    ACTIVITY, Phase, RINGS, RingState, SLEEPING, SLOT_BYTES, SLOTS, TAKEN, consumed, count_of,
    count_word, directory, info, offset, published, slot, state, submitted,
};
use super::sync::{Ordering, fence};

/// The client's end of a queue. Whoever executes an instruction for the queue has it for himself
/// meanwhile, also while the instruction goes over the socket.
#[derive(Debug, Default)]
pub(crate) struct QueueEnd {
    shared: Option<Arc<Shared>>,
    /// Where the queue's ring was last.
    ring: usize,
    epoch: u32,
    submitted: u32,
    consumed: u32,
    /// Bytes read of the next reply.
    offset: u32,
    held: Held,
}

/// A ring that is open.
struct Opened {
    ring: usize,
    interrupts: bool,
    info: HwInfo,
}

impl QueueEnd {
    /// Uses the memory of another session, or none. What the queue held is lost.
    pub(super) fn change(&mut self, shared: Option<Arc<Shared>>) {
        self.held.lost(self.in_ring());
        *self = Self {
            shared,
            held: std::mem::take(&mut self.held),
            ..Self::default()
        };
    }

    /// Requests that went through the ring, less replies, since it opened.
    const fn in_ring(&self) -> u32 {
        self.submitted.wrapping_sub(self.consumed)
    }

    /// The guest's machine has reset the queue.
    pub(super) fn reset(&mut self) {
        self.held.reset(self.in_ring());
    }

    /// See [`Held::owed`].
    pub(super) fn owed(&mut self, instruction: &Instruction<'_>) -> Option<Outcome> {
        self.held.owed(instruction)
    }

    /// See [`Held::follow`].
    pub(super) fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        self.held.follow(self.in_ring(), instruction, outcome);
    }

    /// The ring, if it is open.
    fn opened(&mut self, apqn: Apqn) -> Option<Opened> {
        let window = &self.shared.as_ref()?.window;
        let entry = TAKEN | u64::from(apqn.to_u16());
        let is_ours = |ring: &usize| window.load(directory(*ring), Ordering::Acquire) == entry;
        if !is_ours(&self.ring) {
            self.ring = (0..RINGS).find(is_ours)?;
        }
        let ring = self.ring;
        let now = RingState::from_word(window.load(state(ring), Ordering::Acquire));
        // It was not given to another queue before it got to this state.
        if !is_ours(&ring) || now.phase != Phase::Open {
            return None;
        }
        if now.epoch != self.epoch {
            (self.submitted, self.consumed, self.offset) = (0, 0, 0);
            self.held.opened();
            self.epoch = now.epoch;
        }
        let info = HwInfo(window.load(info(ring), Ordering::Relaxed));
        self.held.hardware(info);
        Some(Opened {
            ring,
            interrupts: now.interrupts,
            info,
        })
    }

    /// Replies that can be read.
    fn replies(&self, shared: &Shared, ring: usize) -> u32 {
        let word = shared.window.load(published(ring), Ordering::Acquire);
        let replies = count_of(word, self.epoch).wrapping_sub(self.consumed);
        // More than there can be: a reset is under way, or the server errs.
        if replies as usize > SLOTS { 0 } else { replies }
    }

    fn contents(&self, opened: &Opened, replies: u32) -> Contents {
        Contents {
            held: self.in_ring() as usize,
            replies: replies as usize,
            interrupts: opened.interrupts,
        }
    }

    /// TAPQ; `None`: ask the server, as with the others.
    pub(super) fn tapq(&mut self, apqn: Apqn) -> Option<Outcome> {
        let opened = self.opened(apqn)?;
        let replies = self.replies(self.shared.as_ref()?, opened.ring);
        let contents = self.contents(&opened, replies);
        Some(Outcome::Tapq {
            status: contents.status(opened.info, ResponseCode::NORMAL),
            info: opened.info,
        })
    }

    /// NQAP of a message that is not empty.
    pub(super) fn nqap(
        &mut self,
        apqn: Apqn,
        psmid: u64,
        special: bool,
        message: &[u8],
    ) -> Option<Outcome> {
        if message.len() > SLOT_BYTES {
            return None;
        }
        let opened = self.opened(apqn)?;
        let (ring, hardware) = (opened.ring, opened.info);
        let shared = self.shared.as_ref()?;
        let mut contents = self.contents(&opened, self.replies(shared, ring));
        let code = contents.admits(hardware, message.len());
        if contents.held >= SLOTS && code == ResponseCode::NORMAL {
            // The server says that the queue holds more than the ring does.
            return None;
        }
        if code == ResponseCode::NORMAL {
            let area = &shared.area;
            let at = slot(ring, self.submitted);
            area.store(at, psmid, Ordering::Relaxed);
            let length = message.len() as u64 | u64::from(special) << 32;
            area.store(at + 1, length, Ordering::Relaxed);
            area.write_bytes(at + 2, message);
            self.submitted = self.submitted.wrapping_add(1);
            contents.held += 1;
            let word = count_word(self.epoch, self.submitted);
            area.store(submitted(ring), word, Ordering::Release);
            area[ACTIVITY].fetch_add(1, Ordering::Release);
            fence(Ordering::SeqCst);
            if shared.window.load(SLEEPING, Ordering::Relaxed) != 0 {
                shared.ring_doorbell();
            }
        }
        Some(Outcome::Status(contents.status(hardware, code)))
    }

    /// DQAP into a buffer that is not empty.
    pub(super) fn dqap(&mut self, apqn: Apqn, buffer: &mut [u8]) -> Option<Outcome> {
        let opened = self.opened(apqn)?;
        let ring = opened.ring;
        let shared = self.shared.as_ref()?;
        let replies = self.replies(shared, ring);
        let mut contents = self.contents(&opened, replies);
        if replies == 0 {
            let status = contents.status(opened.info, ResponseCode::FULL_OR_NO_REPLY);
            return Some(Outcome::Dqap(Dequeued::nothing(status)));
        }
        let window = &shared.window;
        let at = slot(ring, self.consumed);
        let psmid = window.load(at, Ordering::Relaxed);
        let length = split(window.load(at + 1, Ordering::Relaxed)).0;
        let length = length.min(SLOT_BYTES);
        let read = self.offset as usize;
        let (stored, residual) = deliver(length, read, buffer.len());
        window.read_bytes(at + 2, read.min(SLOT_BYTES), &mut buffer[..stored]);
        fence(Ordering::Acquire);
        let now = RingState::from_word(window.load(state(ring), Ordering::Relaxed));
        if now.epoch != self.epoch {
            // The queue was reset or taken meanwhile, so there was no reply.
            buffer[..stored].fill(0);
            return None;
        }
        let whole = residual == 0;
        if whole {
            self.offset = 0;
            self.consumed = self.consumed.wrapping_add(1);
            contents.held = contents.held.saturating_sub(1);
            contents.replies -= 1;
        } else {
            self.offset = u32::try_from(read + stored).unwrap_or(0);
        }
        let area = &shared.area;
        area.store(
            offset(ring),
            count_word(self.epoch, self.offset),
            Ordering::Relaxed,
        );
        let word = count_word(self.epoch, self.consumed);
        area.store(consumed(ring), word, Ordering::Release);
        Some(Outcome::Dqap(Dequeued {
            status: contents.status(opened.info, ResponseCode::NORMAL),
            psmid: if whole { psmid } else { 0 },
            stored,
            residual,
        }))
    }
}
