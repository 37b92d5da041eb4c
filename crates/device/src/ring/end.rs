//! The server's end of one ring. It trusts nothing in the area: each word is read once, and bounded.

use std::sync::Arc;

use arch::{Apqn, HwInfo};

use super::layout::{
    Phase, RingState, SLOT_BYTES, SLOTS, TAKEN, alerts, consumed, count_of, count_word, directory,
    info, offset, published, slot, state, submitted,
};
use super::server::RingServer;
use super::sync::{Ordering, fence};

/// What the client's memory says cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lie;

/// What a ring holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Requests that were submitted and not taken.
    pub waiting: usize,
    /// Replies that were posted and not read completely.
    pub replies: usize,
}

/// A message out of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its sender's name for it.
    pub psmid: u64,
    /// NQAP's special command bit; false for replies.
    pub special: bool,
    /// Bytes of it that were copied.
    pub length: usize,
    /// Replies: bytes that the client has read already.
    pub read: usize,
}

/// The server's end of a ring. Whoever has it sees to it that one thread at a time uses it.
#[derive(Debug)]
pub struct RingEnd {
    rings: Arc<RingServer>,
    ring: usize,
    state: RingState,
    taken: u32,
    /// Requests that were taken, and erased.
    cleared: u32,
    published: u32,
    /// Replies that were consumed, and erased.
    erased: u32,
}

impl RingEnd {
    pub(super) fn new(rings: Arc<RingServer>, ring: usize, apqn: Apqn, hardware: HwInfo) -> Self {
        let state = RingState::from_word(rings.window.load(state(ring), Ordering::Relaxed));
        rings
            .window
            .store(info(ring), hardware.0, Ordering::Relaxed);
        let entry = TAKEN | u64::from(apqn.to_u16());
        rings
            .window
            .store(directory(ring), entry, Ordering::Release);
        Self {
            rings,
            ring,
            state,
            taken: 0,
            cleared: 0,
            published: 0,
            erased: 0,
        }
    }

    /// Begins an epoch, in which the ring is empty and open.
    pub fn open(&mut self, interrupts: bool) {
        (self.taken, self.cleared) = (0, 0);
        (self.published, self.erased) = (0, 0);
        self.enter(Phase::Open, interrupts);
    }

    /// Ends the epoch and erases what the ring holds.
    pub fn close(&mut self) {
        self.enter(Phase::Closed, false);
        // A reader that sees something erased sees the new epoch too.
        fence(Ordering::Release);
        for count in 0..u32::try_from(SLOTS).unwrap_or(u32::MAX) {
            self.erase_reply(count);
            self.erase_request(count);
        }
    }

    fn enter(&mut self, phase: Phase, interrupts: bool) {
        // 0 is the epoch of memory that nobody has written.
        let epoch = self.state.epoch.wrapping_add(1).max(1);
        self.state = RingState {
            epoch,
            phase,
            interrupts,
        };
        let empty = count_word(epoch, 0);
        let window = &self.rings.window;
        window.store(published(self.ring), empty, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let word = self.state.word();
        self.rings
            .window
            .store(state(self.ring), word, Ordering::Release);
    }

    /// The client is to leave the ring; what it holds stays.
    pub fn begin_closing(&mut self) {
        self.state.phase = Phase::Closing;
        self.tell();
    }

    /// Whether the queue has interruptions enabled.
    pub fn set_interrupts(&mut self, enabled: bool) {
        if self.state.interrupts != enabled {
            self.state.interrupts = enabled;
            self.tell();
        }
    }

    fn count(&self, at: usize) -> u32 {
        let word = self.rings.area.load(at, Ordering::Acquire);
        count_of(word, self.state.epoch)
    }

    /// What the ring holds, when it may hold `depth` messages with those `running`.
    ///
    /// # Errors
    /// It holds more, or less than nothing.
    pub fn load(&self, depth: usize, running: usize) -> Result<Load, Lie> {
        // In this order: a client consumes before it submits, so what is between never looks too much.
        let waiting = self.count(submitted(self.ring)).wrapping_sub(self.taken);
        let replies = self.published.wrapping_sub(self.count(consumed(self.ring)));
        let (waiting, replies) = (waiting as usize, replies as usize);
        let held = waiting.saturating_add(replies).saturating_add(running);
        if held > depth.min(SLOTS) {
            return Err(Lie);
        }
        Ok(Load { waiting, replies })
    }

    /// Copies the next request to `buffer`. It is erased with the next reply, which the client waits
    /// for anyway: to erase takes the memory away from the client's processor, and costs as much time as to
    /// get it there.
    ///
    /// # Errors
    /// There are more than can be, or it is empty or longer than `buffer` or a slot.
    pub fn take(&mut self, buffer: &mut [u8]) -> Result<Option<Message>, Lie> {
        let waiting = self.count(submitted(self.ring)).wrapping_sub(self.taken);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting as usize > SLOTS {
            return Err(Lie);
        }
        let at = slot(self.ring, self.taken);
        let area = &self.rings.area;
        let psmid = area.load(at, Ordering::Relaxed);
        let (length, special) = split(area.load(at + 1, Ordering::Relaxed));
        if length == 0 || length > SLOT_BYTES || length > buffer.len() {
            return Err(Lie);
        }
        area.read_bytes(at + 2, 0, &mut buffer[..length]);
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(Message {
            psmid,
            special,
            length,
            read: 0,
        }))
    }

    fn erase_consumed(&mut self) {
        let consumed = self.count(consumed(self.ring));
        // A client that says it has consumed more than there was gets nothing by it.
        while self.erased != consumed && self.erased != self.published {
            self.erase_reply(self.erased);
            self.erased = self.erased.wrapping_add(1);
        }
    }

    /// A client uses a slot for another request when there was a reply since.
    fn erase_taken(&mut self) {
        while self.cleared != self.taken {
            self.erase_request(self.cleared);
            self.cleared = self.cleared.wrapping_add(1);
        }
    }

    fn erase_request(&self, count: u32) {
        let at = slot(self.ring, count);
        let area = &self.rings.area;
        // The length is the client's; what is behind it was never a request.
        let length = split(area.load(at + 1, Ordering::Relaxed)).0;
        area.erase(at, 16 + length.min(SLOT_BYTES));
    }

    fn erase_reply(&self, count: u32) {
        let at = slot(self.ring, count);
        let window = &self.rings.window;
        let length = split(window.load(at + 1, Ordering::Relaxed)).0;
        window.erase(at, 16 + length);
    }

    /// Posts a reply; false when it does not fit, or the client has left no slot free.
    pub fn post(&mut self, psmid: u64, reply: &[u8]) -> bool {
        let unread = self.published.wrapping_sub(self.count(consumed(self.ring)));
        if reply.len() > SLOT_BYTES || unread as usize >= SLOTS {
            return false;
        }
        // The slot is free, and perhaps not erased yet.
        self.erase_consumed();
        self.erase_taken();
        let at = slot(self.ring, self.published);
        let window = &self.rings.window;
        window.store(at, psmid, Ordering::Relaxed);
        window.store(at + 1, reply.len() as u64, Ordering::Relaxed);
        window.write_bytes(at + 2, reply);
        self.published = self.published.wrapping_add(1);
        if self.state.interrupts {
            // Only this end writes it.
            let before = window.load(alerts(self.ring), Ordering::Relaxed);
            window.store(alerts(self.ring), before + 1, Ordering::Relaxed);
        }
        let word = count_word(self.state.epoch, self.published);
        window.store(published(self.ring), word, Ordering::Release);
        true
    }

    /// Copies the `nth` of the replies that were not read completely.
    ///
    /// # Errors
    /// There is no such reply, it is longer than `buffer`, or more of it was read than it has.
    pub fn unread(&self, nth: usize, buffer: &mut [u8]) -> Result<Message, Lie> {
        let first = self.count(consumed(self.ring));
        let unread = self.published.wrapping_sub(first) as usize;
        if unread > SLOTS || nth >= unread {
            return Err(Lie);
        }
        let count = first.wrapping_add(u32::try_from(nth).unwrap_or(u32::MAX));
        let at = slot(self.ring, count);
        let window = &self.rings.window;
        let psmid = window.load(at, Ordering::Relaxed);
        let (length, _) = split(window.load(at + 1, Ordering::Relaxed));
        let read = if nth == 0 {
            self.count(offset(self.ring)) as usize
        } else {
            0
        };
        if length > buffer.len() || (read != 0 && read >= length) {
            return Err(Lie);
        }
        window.read_bytes(at + 2, 0, &mut buffer[..length]);
        Ok(Message {
            psmid,
            special: false,
            length,
            read,
        })
    }
}

impl Drop for RingEnd {
    fn drop(&mut self) {
        if self.state.phase != Phase::Closed {
            self.close();
        }
        let window = &self.rings.window;
        window.store(directory(self.ring), 0, Ordering::Release);
    }
}

/// Length and special bit of a slot's second word.
pub(super) const fn split(word: u64) -> (usize, bool) {
    let [a, b, c, d, special, ..] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]) as usize, special & 1 != 0)
}
