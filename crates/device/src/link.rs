//! The server's end of one connection: receives commands into a buffer and sends answers from another.
//!
//! Both hold a guest's operands. Each is wiped as far as it was used before the next message, and in the
//! end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arch::Errno;
use zerocopy::{Immutable, IntoBytes};
use zeroize::{Zeroize, Zeroizing};

use crate::message::{HEADER_LEN, HIGHEST_MAX_MESSAGE, Header, HeaderFlags, max_frame};
use crate::server::{Limits, SessionEnd, Violation};
use crate::socket::{Descriptors, SocketError, deadline_in, receive_exact, send_all};

/// The connection and its buffers, which hold a guest's operands and are wiped in the end.
pub(crate) struct Link {
    stream: UnixStream,
    pub(crate) limits: Limits,
    /// The payload of the present message.
    pub(crate) input: Zeroizing<Vec<u8>>,
    /// The present reply, header included.
    pub(crate) output: Zeroizing<Vec<u8>>,
    pub(crate) descriptors: Descriptors,
    /// What goes with the present reply.
    pub(crate) enclosed: Option<[OwnedFd; 3]>,
}

/// What a command gets: the length of its reply's payload, which stands in the output buffer
/// already, or an error.
pub(crate) type Answer = Result<usize, Errno>;

impl Link {
    /// The server's end of `stream`, with `limits` in range.
    pub(crate) fn new(stream: UnixStream, limits: &Limits) -> Self {
        let max_message = limits.max_message.clamp(1, HIGHEST_MAX_MESSAGE);
        let frame = max_frame(max_message);
        Self {
            stream,
            limits: Limits {
                max_message,
                ..*limits
            },
            input: Zeroizing::new(vec![0; frame]),
            output: Zeroizing::new(vec![0; frame]),
            descriptors: Descriptors::new(),
            enclosed: None,
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Receives one message: its header, and its payload into `input[..len]`.
    pub(crate) fn receive(&mut self, timeout: Duration) -> Result<(Header, usize), SessionEnd> {
        self.descriptors.clear();
        let deadline = deadline_in(timeout);
        let mut header = Header::default();
        receive_exact(
            self.stream.as_fd(),
            header.as_mut_bytes(),
            &mut self.descriptors,
            deadline,
        )
        .map_err(|error| match error {
            SocketError::Closed { partial: false } => SessionEnd::Closed,
            other => receive_end(other),
        })?;
        let len = header
            .payload_len(self.input.len())
            .ok_or(SessionEnd::Violation(Violation::Size))?;
        let flags = header
            .known_flags()
            .ok_or(SessionEnd::Violation(Violation::Flags))?;
        if flags.intersects(HeaderFlags::REPLY | HeaderFlags::ERROR) {
            return Err(SessionEnd::Violation(Violation::Flags));
        }
        receive_exact(
            self.stream.as_fd(),
            &mut self.input[..len],
            &mut self.descriptors,
            deadline,
        )
        .map_err(receive_end)?;
        Ok((header, len))
    }

    /// Sends the answer to `command`, unless the client wants none.
    pub(crate) fn answer(&mut self, command: &Header, answer: Answer) -> Result<(), SessionEnd> {
        if command.flags.get() & HeaderFlags::NO_REPLY.bits() != 0 {
            self.enclosed = None;
            if let Ok(len) = answer {
                self.output[..HEADER_LEN + len].zeroize();
            }
            return Ok(());
        }
        let (header, payload) = match answer {
            Ok(len) => (command.reply(u32::try_from(len).unwrap_or(0)), len),
            Err(errno) => (command.failure(errno), 0),
        };
        self.output[..HEADER_LEN].copy_from_slice(header.as_bytes());
        let message = &self.output[..HEADER_LEN + payload];
        let deadline = deadline_in(self.limits.send);
        let socket = self.stream.as_fd();
        let sent = match self.enclosed.take() {
            None => send_all(socket, message, &[], &[], deadline),
            Some(enclosed) => {
                let enclosed = enclosed.each_ref().map(AsFd::as_fd);
                send_all(socket, message, &[], &enclosed, deadline)
            }
        };
        self.output[..HEADER_LEN + payload].zeroize();
        sent.map_err(|error| match error {
            SocketError::TimedOut => SessionEnd::SendTimeout,
            other => receive_end(other),
        })
    }

    /// Puts `structure` at the beginning of the reply's payload.
    pub(crate) fn put<T: IntoBytes + Immutable>(&mut self, structure: &T) -> usize {
        let bytes = structure.as_bytes();
        self.output[HEADER_LEN..HEADER_LEN + bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
}

pub(crate) fn receive_end(error: SocketError) -> SessionEnd {
    match error {
        SocketError::Closed { .. } => SessionEnd::Truncated,
        SocketError::TimedOut => SessionEnd::MessageTimeout,
        SocketError::TooManyDescriptors => SessionEnd::Violation(Violation::Descriptors),
        SocketError::Os(error) => SessionEnd::Os(error.raw_os_error()),
    }
}
