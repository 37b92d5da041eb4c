//! The buffer in which a card builds its reply.

use core::fmt;

use zeroize::Zeroize;

use crate::card::MAX_MESSAGE;

/// A reply message under construction. Made once per engine and used for every request, so that a
/// request allocates nothing; bytes of an earlier reply never survive in it.
pub struct Reply {
    /// Bytes from `len` on are zero.
    bytes: Box<[u8]>,
    len: usize,
}

impl Reply {
    /// The longest reply in bytes: that of a card's message limit.
    pub const CAPACITY: usize = MAX_MESSAGE;

    /// An empty buffer for replies of up to [`Reply::CAPACITY`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: vec![0; Self::CAPACITY].into_boxed_slice(),
            len: 0,
        }
    }

    /// The reply; empty before the first one and after [`clear`](Self::clear).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Erases the reply from memory.
    pub fn clear(&mut self) {
        self.bytes[..self.len].zeroize();
        self.len = 0;
    }

    /// Puts `bytes` at an offset and makes the reply longer if it ended before. What would stand
    /// behind the capacity is cut. For faults on demand.
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let at = at.min(Self::CAPACITY);
        let end = (at + bytes.len()).min(Self::CAPACITY);
        self.bytes[at..end].copy_from_slice(&bytes[..end - at]);
        self.len = self.len.max(end);
    }

    /// Erases what stands behind the first `len` bytes. For faults on demand.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.bytes[len..self.len].zeroize();
            self.len = len;
        }
    }

    /// Begins a reply of `len` zero bytes, which the caller fills in. Lengths come from the message
    /// tables of this crate, never from a guest; one above the capacity is cut.
    pub(crate) fn start(&mut self, len: usize) -> &mut [u8] {
        self.clear();
        self.len = len.min(Self::CAPACITY);
        &mut self.bytes[..self.len]
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A reply may be a decrypted secret: only its length is shown.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_replaced_within_the_capacity() {
        let mut reply = Reply::new();
        reply.start(4).fill(1);
        reply.overwrite(3, &[7, 8]);
        assert_eq!(reply.bytes(), [1, 1, 1, 7, 8]);
        reply.truncate(9);
        reply.truncate(2);
        assert_eq!(reply.bytes(), [1, 1]);
        reply.overwrite(4, &[9]);
        assert_eq!(reply.bytes(), [1, 1, 0, 0, 9]);
        reply.overwrite(Reply::CAPACITY - 1, &[5, 6]);
        assert_eq!(reply.bytes().len(), Reply::CAPACITY);
        reply.overwrite(usize::MAX, &[5]);
        assert_eq!(reply.bytes()[Reply::CAPACITY - 1], 5);
    }

    #[test]
    fn nothing_of_an_earlier_reply_survives() {
        let mut reply = Reply::new();
        reply.start(528).fill(0xaa);
        assert_eq!(reply.start(8), [0; 8]);
        reply.clear();
        assert!(reply.bytes().is_empty());
        assert!(reply.bytes.iter().all(|byte| *byte == 0));
    }
}
