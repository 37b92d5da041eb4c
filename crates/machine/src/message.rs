//! Buffers for messages, reused within one queue and erased after each use.

use core::fmt;

use zeroize::Zeroize;

use crate::port::Carried;

/// A buffer that holds one message: a request, later its reply.
pub(crate) struct MessageBuffer {
    /// Bytes from `len` on are zero.
    bytes: Box<[u8]>,
    len: usize,
}

impl MessageBuffer {
    /// An empty buffer for messages of up to `capacity` bytes.
    fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            len: 0,
        }
    }

    /// The message.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Replaces the message. What exceeds the capacity is cut: the callers check lengths first.
    pub(crate) fn fill(&mut self, message: &[u8]) {
        self.clear();
        self.len = message.len().min(self.bytes.len());
        self.bytes[..self.len].copy_from_slice(&message[..self.len]);
    }

    /// Replaces the message by what `fill` puts at the beginning of the memory it gets, and returns what
    /// `fill` says about it. After an error, or without a message, the buffer is empty.
    pub(crate) fn fill_with<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<Option<Carried>, E>,
    ) -> Result<Option<Carried>, E> {
        self.clear();
        let filled = fill(&mut self.bytes);
        match &filled {
            Ok(Some(carried)) => self.len = carried.length.min(self.bytes.len()),
            Ok(None) => {}
            Err(_) => self.bytes.zeroize(),
        }
        filled
    }

    /// Its whole memory, for tests of what stays in it.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> &[u8] {
        &self.bytes
    }

    fn clear(&mut self) {
        self.bytes[..self.len].zeroize();
        self.len = 0;
    }
}

impl Drop for MessageBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Messages hold keys and secrets: only the length is shown.
impl fmt::Debug for MessageBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageBuffer({})", self.len)
    }
}

/// The unused buffers of one queue. They are made when first needed, so that an idle queue has none,
/// and there are never more than the queue holds messages.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Vec<MessageBuffer>,
    keep: usize,
    capacity: usize,
}

impl Pool {
    /// A pool that keeps up to `keep` buffers for messages of up to `capacity` bytes.
    pub(crate) const fn new(keep: usize, capacity: usize) -> Self {
        Self {
            free: Vec::new(),
            keep,
            capacity,
        }
    }

    /// A buffer that holds `message`.
    pub(crate) fn take(&mut self, message: &[u8]) -> MessageBuffer {
        let mut buffer = self.unused();
        buffer.fill(message);
        buffer
    }

    /// An empty buffer.
    pub(crate) fn unused(&mut self) -> MessageBuffer {
        let free = self.free.pop();
        free.unwrap_or_else(|| MessageBuffer::new(self.capacity))
    }

    /// Erases `buffer` and keeps it for later.
    pub(crate) fn give_back(&mut self, mut buffer: MessageBuffer) {
        buffer.clear();
        if self.free.len() < self.keep {
            self.free.reserve_exact(self.keep - self.free.len());
            self.free.push(buffer);
        }
    }

    /// The buffers that hold no message.
    #[cfg(test)]
    pub(crate) fn all_unused(&self) -> impl Iterator<Item = &MessageBuffer> {
        self.free.iter()
    }

    /// Frees the memory.
    pub(crate) fn release(&mut self) {
        self.free = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_erased() {
        let mut pool = Pool::new(1, 16);
        let first = pool.take(b"secret");
        let second = pool.take(b"other");
        assert_eq!(first.bytes(), b"secret");
        let at = first.bytes.as_ptr();
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(pool.free.len(), 1);
        assert!(pool.free[0].bytes.iter().all(|byte| *byte == 0));
        let again = pool.take(b"x");
        assert_eq!((again.bytes.as_ptr(), again.bytes()), (at, &b"x"[..]));
        pool.release();
        assert!(pool.free.is_empty());
    }
}
