//! Type 80: the reply to a clear-key RSA request (card spec 2.2).

use crate::reply::Reply;

/// Message type of the reply.
pub const TYPE_80: u8 = 0x80;
/// Bytes before the result.
pub const HEADER_LEN: usize = 16;
/// The longest reply in bytes. Linux stops with a kernel fault on a longer one.
pub const MAX_LEN: usize = 0x210;

/// Begins a reply whose result field has `field_len` bytes and returns that field, all zero. The
/// result is to be right justified in it.
///
/// `field_len` is the length of the request's message field: 128, 256 or 512.
pub fn start(field_len: usize, reply: &mut Reply) -> &mut [u8] {
    let len = HEADER_LEN + field_len;
    let message = reply.start(len);
    message[1] = TYPE_80;
    // The field lengths are those of the key block table, so the total is at most 0x210.
    let [.., high, low] = len.to_be_bytes();
    message[2] = high;
    message[3] = low;
    &mut message[HEADER_LEN..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_each_size() {
        let mut reply = Reply::new();
        for (field, total) in [(128usize, [0u8, 144]), (256, [1, 16]), (512, [2, 16])] {
            start(field, &mut reply).fill(0xff);
            assert_eq!(reply.bytes().len(), field + 16);
            assert_eq!(reply.bytes()[..4], [0, 0x80, total[0], total[1]]);
            assert!(reply.bytes()[4..16].iter().all(|byte| *byte == 0));
            assert!(reply.bytes().len() <= MAX_LEN);
        }
    }
}
