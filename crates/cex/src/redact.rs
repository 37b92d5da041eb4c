//! Which bytes of a message may be shown: its header, never operands, keys or results.
//!
//! ```text
//!   | header: may be shown | operands, key blocks, results: redacted |
//!   0                      request(message), reply(message)          end
//! ```
//! The type byte alone decides, so that a message of wrong length is cut as the one that it pretends to
//! be. Of types that no card knows only the type is shown: what such a message holds is unknown.

use crate::error_reply::{ERROR_REPLY_LEN, TYPE_82};
use crate::{type50, type80};

/// Message type of requests to CCA and EP11 coprocessors, and the length of their header.
const TYPE_6: u8 = 0x06;
const TYPE_6_HEADER: usize = 0x58;
/// Message types of error replies beside type 82.
const TYPE_87: u8 = 0x87;
const TYPE_88: u8 = 0x88;
/// Reserved byte and type byte, with which each message begins.
const TYPE_ONLY: usize = 2;

/// How many bytes at the beginning of a request may be shown.
#[must_use]
pub fn request(message: &[u8]) -> usize {
    let shown = match message.get(1) {
        Some(&type50::TYPE_50) => type50::OPERANDS_AT,
        Some(&TYPE_6) => TYPE_6_HEADER,
        _ => TYPE_ONLY,
    };
    shown.min(message.len())
}

/// How many bytes at the beginning of a reply may be shown.
#[must_use]
pub fn reply(message: &[u8]) -> usize {
    let shown = match message.get(1) {
        Some(&type80::TYPE_80) => type80::HEADER_LEN,
        Some(&(TYPE_82 | TYPE_87 | TYPE_88)) => ERROR_REPLY_LEN,
        _ => TYPE_ONLY,
    };
    shown.min(message.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_and_results_are_never_shown() {
        assert_eq!(request(&[[0, 0x50].as_slice(), &[1; 782]].concat()), 16);
        assert_eq!(request(&[0, 0x50, 0, 4]), 4);
        assert_eq!(request(&[[0, 6].as_slice(), &[1; 400]].concat()), 88);
        assert_eq!(request(&[1; 100]), 2);
        assert_eq!(reply(&[[0, 0x80].as_slice(), &[1; 270]].concat()), 16);
        assert_eq!(reply(&[[0, 0x82].as_slice(), &[1; 270]].concat()), 8);
        assert_eq!(reply(&[[0, 6].as_slice(), &[1; 270]].concat()), 2);
        assert_eq!((request(&[]), reply(&[7])), (0, 1));
    }
}
