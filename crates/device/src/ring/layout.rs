//! Where everything is, in words of eight bytes.

use arch::Apqn;

/// Rings of a session. Queues beyond that go without.
#[cfg(not(feature = "loom"))]
pub(crate) const RINGS: usize = 64;
/// Slots of a ring for requests, and as many for replies; a power of two. Queues that hold more messages
/// go without.
#[cfg(not(feature = "loom"))]
pub(crate) const SLOTS: usize = 8;
/// Words of a slot.
#[cfg(not(feature = "loom"))]
pub(crate) const SLOT: usize = 512;
/// Words of a page.
#[cfg(not(feature = "loom"))]
const PAGE: usize = 512;

// A model checker tries every order of every access: it gets as few words as make a ring.
#[cfg(feature = "loom")]
pub(crate) const RINGS: usize = 1;
#[cfg(feature = "loom")]
pub(crate) const SLOTS: usize = 2;
#[cfg(feature = "loom")]
pub(crate) const SLOT: usize = 3;
#[cfg(feature = "loom")]
const PAGE: usize = 24;

/// Longest message or reply of a slot in bytes.
pub(crate) const SLOT_BYTES: usize = (SLOT - 2) * 8;

/// Where the word for the ring's slot is: message identifier; length and, above it, the special bit; the
/// message.
pub(crate) const fn slot(ring: usize, count: u32) -> usize {
    2 * PAGE + (ring * SLOTS + count as usize % SLOTS) * SLOT
}

/// Words of area and window.
pub(crate) const WORDS: usize = 2 * PAGE + RINGS * SLOTS * SLOT;

/// Of the area: counts what the client has submitted, in all rings.
pub(crate) const ACTIVITY: usize = 0;

/// Words of a ring beside its slots: a cache line of their own.
const CONTROL: usize = 8;

/// Of the area: requests submitted, replies consumed, bytes read of the next reply.
pub(crate) const fn submitted(ring: usize) -> usize {
    PAGE + ring * CONTROL
}
pub(crate) const fn consumed(ring: usize) -> usize {
    submitted(ring) + 1
}
pub(crate) const fn offset(ring: usize) -> usize {
    submitted(ring) + 2
}

/// Of the window: odd while the QCI block is being written.
pub(crate) const SEQUENCE: usize = 0;
/// In the sequence: the block is not told, the server has to be asked. The count is kept, so that a reader never
/// takes a later block for one that it began with.
pub(crate) const ASK: u64 = 1 << 63;
/// Of the window: the QCI block.
pub(crate) const QCI: usize = 1;
/// Of the window: not 0 when nobody polls.
#[cfg(not(feature = "loom"))]
pub(crate) const SLEEPING: usize = 32;
#[cfg(feature = "loom")]
pub(crate) const SLEEPING: usize = 17;

/// Of the window: counts alerts that are to be asked for, beside those that a ring counts.
#[cfg(not(feature = "loom"))]
pub(crate) const OTHER_ALERTS: usize = 40;
#[cfg(feature = "loom")]
pub(crate) const OTHER_ALERTS: usize = 19;

/// Of the window: whose the ring is, [`TAKEN`] and the APQN, or 0.
pub(crate) const fn directory(ring: usize) -> usize {
    #[cfg(not(feature = "loom"))]
    const DIRECTORY: usize = 64;
    #[cfg(feature = "loom")]
    const DIRECTORY: usize = 18;
    DIRECTORY + ring
}
/// See [`directory`].
pub(crate) const TAKEN: u64 = 1 << 16;

/// Whose a ring is with this entry of the directory, if it is taken.
pub(crate) fn owner(entry: u64) -> Option<Apqn> {
    let [.., apid, apqi] = entry.to_be_bytes();
    (entry & TAKEN != 0).then(|| Apqn::new(apid, apqi))
}

/// Of the window: the ring's state, the queue's hardware information, replies published, replies published while
/// interruptions were enabled. The last is no count of an epoch: it goes on over resets and owners.
pub(crate) const fn state(ring: usize) -> usize {
    PAGE + ring * CONTROL
}
pub(crate) const fn info(ring: usize) -> usize {
    state(ring) + 1
}
pub(crate) const fn published(ring: usize) -> usize {
    state(ring) + 2
}
pub(crate) const fn alerts(ring: usize) -> usize {
    state(ring) + 3
}

/// A count of an epoch as a word.
pub(crate) const fn count_word(epoch: u32, count: u32) -> u64 {
    (epoch as u64) << 32 | count as u64
}

/// The epoch of a word.
pub(crate) const fn epoch_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The count of `epoch` in a word: 0 if it is one of another epoch.
#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
pub(crate) const fn count_of(word: u64, epoch: u32) -> u32 {
    if epoch_of(word) == epoch {
        word as u32
    } else {
        0
    }
}

/// What a ring is for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing: every instruction goes by `AP_EXEC`.
    Closed,
    /// Where the client enqueues and dequeues.
    Open,
    /// As closed for the client; the server still serves it.
    Closing,
}

/// The state word of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingState {
    pub(crate) epoch: u32,
    pub(crate) phase: Phase,
    pub(crate) interrupts: bool,
}

const OPEN: u32 = 1;
const CLOSING: u32 = 2;
const INTERRUPTS: u32 = 0x100;

impl RingState {
    pub(crate) const fn word(self) -> u64 {
        let phase = match self.phase {
            Phase::Closed => 0,
            Phase::Open => OPEN,
            Phase::Closing => CLOSING,
        };
        let interrupts = if self.interrupts { INTERRUPTS } else { 0 };
        count_word(self.epoch, phase | interrupts)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
    pub(crate) const fn from_word(word: u64) -> Self {
        let low = word as u32;
        Self {
            epoch: epoch_of(word),
            phase: match low & 3 {
                OPEN => Phase::Open,
                CLOSING => Phase::Closing,
                _ => Phase::Closed,
            },
            interrupts: low & INTERRUPTS != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        let last = RINGS - 1;
        const { assert!(QCI + 16 <= SLEEPING && SLEEPING < OTHER_ALERTS) };
        assert!(OTHER_ALERTS < directory(0));
        assert!(directory(last) < state(0));
        assert!(offset(last) < slot(0, 0) && alerts(last) < slot(0, 0));
        let end = u32::try_from(SLOTS).unwrap() - 1;
        assert_eq!(slot(last, end) + SLOT, WORDS);
        assert_eq!(slot(0, u32::MAX), slot(0, end));
    }

    #[test]
    fn states_and_counts_round_trip() {
        for phase in [Phase::Closed, Phase::Open, Phase::Closing] {
            for interrupts in [false, true] {
                let state = RingState {
                    epoch: 0xfedc_ba98,
                    phase,
                    interrupts,
                };
                assert_eq!(RingState::from_word(state.word()), state);
            }
        }
        let word = count_word(7, u32::MAX);
        assert_eq!((count_of(word, 7), count_of(word, 8)), (u32::MAX, 0));
    }
}
