//! Replies of accelerator queues (spec of Crypto Express, sections 2.2 and 2.3).

/// What a reply means to the requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'r> {
    /// The result, as long as the request asked for.
    Result(&'r [u8]),
    /// The request was wrong: EINVAL, no retry. The reply code says how.
    Invalid(u8),
    /// The card could not do it this time: EAGAIN, retry.
    Again(u8),
    /// The length fields contradict each other: EMSGSIZE, no retry.
    BadLength,
    /// Nothing that an accelerator answers: Linux takes the queue offline and retries elsewhere.
    Unknown,
}

const TYPE_80: u8 = 0x80;
const TYPE_82: u8 = 0x82;
const TYPE_88: u8 = 0x88;
/// Header of a type 80 reply.
const HEADER: usize = 16;
/// Longest type 80 reply: 4096 bits.
const LONGEST: usize = 0x210;

/// Reads a reply to a request whose result has `output` bytes.
#[must_use]
pub fn read(reply: &[u8], output: usize) -> Reply<'_> {
    match reply {
        [_, TYPE_82 | TYPE_88, _, _, code, ..] => classify(*code),
        [_, TYPE_80, high, low, ..] => {
            let total = usize::from(u16::from_be_bytes([*high, *low]));
            if reply.len() < HEADER + output {
                return Reply::Unknown;
            }
            if total != reply.len() || total > LONGEST {
                return Reply::BadLength;
            }
            Reply::Result(&reply[total - output..])
        }
        _ => Reply::Unknown,
    }
}

/// Retry or not, by the table of section 2.3.
const fn classify<'r>(code: u8) -> Reply<'r> {
    match code {
        0x22 | 0x23 | 0x24 | 0x29 | 0x34 | 0x40 | 0x41 | 0x80 | 0x82 | 0x84 | 0x85 | 0x8a
        | 0x8b | 0xa0 => Reply::Invalid(code),
        _ => Reply::Again(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_result_stands_at_the_end() {
        let mut reply = vec![0; 144];
        reply[..4].copy_from_slice(&[0, 0x80, 0, 144]);
        reply[142..].copy_from_slice(&[8, 9]);
        assert_eq!(read(&reply, 2), Reply::Result(&[8, 9]));
        reply[3] = 143;
        assert_eq!(read(&reply, 2), Reply::BadLength);
        assert_eq!(read(&reply, 129), Reply::Unknown);
    }

    #[test]
    fn error_codes_fall_into_two_classes() {
        assert_eq!(
            read(&[0, 0x82, 0, 0, 0x85, 0, 0, 0], 1),
            Reply::Invalid(0x85)
        );
        assert_eq!(
            read(&[0, 0x88, 0, 0, 0x22, 0, 0, 0], 1),
            Reply::Invalid(0x22)
        );
        assert_eq!(read(&[0, 0x82, 0, 0, 0x10, 0, 0, 0], 1), Reply::Again(0x10));
        assert_eq!(read(&[0, 0x86, 0, 0, 0, 0], 1), Reply::Unknown);
        assert_eq!(read(&[], 1), Reply::Unknown);
    }

    proptest! {
        #[test]
        fn any_reply_is_read_without_panic(reply: Vec<u8>, output in 0usize..600) {
            if let Reply::Result(result) = read(&reply, output) {
                prop_assert_eq!(result.len(), output);
            }
        }
    }
}
