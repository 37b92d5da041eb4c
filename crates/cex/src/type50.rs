//! Type 50: the clear-key RSA request of an accelerator (card spec 2.1).
//!
//! ```text
//!   0        8    10       16
//!   +--------+----+--------+--------- ... ---+
//!   | header |type| zeros  | operands        |   each right justified in its field
//!   +--------+----+--------+--------- ... ---+
//! ```

use crate::error_reply::ReplyCode;

/// Message type of the request.
pub const TYPE_50: u8 = 0x50;
/// Bytes before the operands.
pub const OPERANDS_AT: usize = 16;
/// Bytes of the common message header.
pub const HEADER_LEN: usize = 8;

/// Size class of a request: the length of its message field and of its result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum SizeClass {
    /// Up to 1024 bits, 128 bytes.
    Bits1024,
    /// Up to 2048 bits, 256 bytes.
    Bits2048,
    /// Up to 4096 bits, 512 bytes.
    Bits4096,
}

impl SizeClass {
    /// Length of message, modulus and result in bytes.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Self::Bits1024 => 128,
            Self::Bits2048 => 256,
            Self::Bits4096 => 512,
        }
    }

    /// Length of a prime and of the other CRT parts in bytes: half a field.
    #[must_use]
    pub const fn prime_len(self) -> usize {
        self.field_len() / 2
    }
}

/// The six key blocks: an operation in a size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KeyBlock {
    /// MEB1..MEB3: exponent, modulus, message.
    ModExpo(SizeClass),
    /// CRB1..CRB3: p, q, dp, dq, u, message.
    Crt(SizeClass),
}

impl KeyBlock {
    /// All six.
    pub const ALL: [Self; 6] = [
        Self::ModExpo(SizeClass::Bits1024),
        Self::ModExpo(SizeClass::Bits2048),
        Self::ModExpo(SizeClass::Bits4096),
        Self::Crt(SizeClass::Bits1024),
        Self::Crt(SizeClass::Bits2048),
        Self::Crt(SizeClass::Bits4096),
    ];

    /// The type field.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ModExpo(SizeClass::Bits1024) => 0x0001,
            Self::ModExpo(SizeClass::Bits2048) => 0x0002,
            Self::ModExpo(SizeClass::Bits4096) => 0x0003,
            Self::Crt(SizeClass::Bits1024) => 0x0011,
            Self::Crt(SizeClass::Bits2048) => 0x0012,
            Self::Crt(SizeClass::Bits4096) => 0x0013,
        }
    }

    /// The key block with this type field.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|block| block.code() == code)
    }

    /// Length of the operands that make the key, in bytes: all but the message, which is the last.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::ModExpo(size) => 2 * size.field_len(),
            Self::Crt(size) => 5 * size.prime_len(),
        }
    }

    /// Length of the whole request in bytes.
    #[must_use]
    pub const fn message_len(self) -> usize {
        let (Self::ModExpo(size) | Self::Crt(size)) = self;
        OPERANDS_AT + self.key_len() + size.field_len()
    }
}

/// A decoded request. It borrows its operands from the message; all are big-endian and padded with
/// zeros on the left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RsaRequest<'m> {
    /// `message ^ exponent mod modulus`.
    ModExpo {
        /// Size class, which the reply repeats.
        size: SizeClass,
        /// Public or private exponent.
        exponent: &'m [u8],
        /// Modulus.
        modulus: &'m [u8],
        /// Base.
        message: &'m [u8],
    },
    /// The private operation by the Chinese remainder theorem.
    Crt {
        /// Size class, which the reply repeats.
        size: SizeClass,
        /// The key's five parts.
        key: CrtKey<'m>,
        /// Base.
        message: &'m [u8],
    },
}

/// The parts of a private key in CRT form, big-endian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CrtKey<'m> {
    /// First prime.
    pub p: &'m [u8],
    /// Second prime.
    pub q: &'m [u8],
    /// Exponent modulo p - 1.
    pub dp: &'m [u8],
    /// Exponent modulo q - 1.
    pub dq: &'m [u8],
    /// Inverse of q modulo p.
    pub u: &'m [u8],
}

impl<'m> RsaRequest<'m> {
    /// Decodes a type 50 message of at least [`HEADER_LEN`] bytes, whose type byte was looked at
    /// already.
    ///
    /// # Errors
    /// The code of the error reply, the first that applies: lengths (header against what was
    /// enqueued), reserved fields of the header, key block type, length against the key block's,
    /// reserved bytes of the key block.
    pub fn decode(message: &'m [u8]) -> Result<Self, ReplyCode> {
        let [r0, _, len_high, len_low, r4, _, r6, r7] = *field::<HEADER_LEN>(message, 0)?;
        if usize::from(u16::from_be_bytes([len_high, len_low])) != message.len() {
            return Err(ReplyCode::LengthMismatch);
        }
        if [r0, r4, r6, r7] != [0; 4] {
            return Err(ReplyCode::ReservedField);
        }
        let block = u16::from_be_bytes(*field(message, HEADER_LEN)?);
        let block = KeyBlock::from_code(block).ok_or(ReplyCode::Malformed)?;
        if message.len() != block.message_len() {
            return Err(ReplyCode::LengthMismatch);
        }
        if *field(message, HEADER_LEN + 2)? != [0u8; 6] {
            return Err(ReplyCode::ReservedField);
        }
        let mut rest = &message[OPERANDS_AT..];
        let mut operand = |len: usize| {
            // The length check above leaves exactly the operands, so nothing is ever cut short.
            let (operand, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            operand
        };
        Ok(match block {
            KeyBlock::ModExpo(size) => {
                let [exponent, modulus, message] = [size.field_len(); 3].map(&mut operand);
                Self::ModExpo {
                    size,
                    exponent,
                    modulus,
                    message,
                }
            }
            KeyBlock::Crt(size) => {
                let [p, q, dp, dq, u] = [size.prime_len(); 5].map(&mut operand);
                let message = operand(size.field_len());
                Self::Crt {
                    size,
                    key: CrtKey { p, q, dp, dq, u },
                    message,
                }
            }
        })
    }

    /// The key block of the request.
    #[must_use]
    pub const fn key_block(&self) -> KeyBlock {
        match self {
            Self::ModExpo { size, .. } => KeyBlock::ModExpo(*size),
            Self::Crt { size, .. } => KeyBlock::Crt(*size),
        }
    }

    /// The request as a message: what a guest enqueues. Operands longer than their field keep their
    /// low bytes. For tests and clients; a card only decodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let block = self.key_block();
        let mut bytes = vec![0; block.message_len()];
        bytes[1] = TYPE_50;
        let [.., high, low] = block.message_len().to_be_bytes();
        (bytes[2], bytes[3]) = (high, low);
        bytes[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&block.code().to_be_bytes());
        let mut rest = &mut bytes[OPERANDS_AT..];
        let mut put = |operand: &[u8], len: usize| {
            let (field, after) = core::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            let kept = operand.len().min(len);
            field[len - kept..].copy_from_slice(&operand[operand.len() - kept..]);
        };
        match *self {
            Self::ModExpo {
                size,
                exponent,
                modulus,
                message,
            } => {
                for operand in [exponent, modulus, message] {
                    put(operand, size.field_len());
                }
            }
            Self::Crt { size, key, message } => {
                for part in [key.p, key.q, key.dp, key.dq, key.u] {
                    put(part, size.prime_len());
                }
                put(message, size.field_len());
            }
        }
        bytes
    }
}

/// `N` bytes at `at`; a message that ends before is malformed.
fn field<const N: usize>(message: &[u8], at: usize) -> Result<&[u8; N], ReplyCode> {
    message
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ReplyCode::Malformed)
}

/// Key parts are secret: only the key block is shown.
impl core::fmt::Debug for RsaRequest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("RsaRequest")
            .field(&self.key_block())
            .finish()
    }
}

impl core::fmt::Debug for CrtKey<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CrtKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_the_key_block_table() {
        let lengths = KeyBlock::ALL.map(KeyBlock::message_len);
        assert_eq!(lengths, [400, 784, 1552, 464, 912, 1808]);
    }

    #[test]
    fn operands_stand_at_their_offsets() {
        let size = SizeClass::Bits2048;
        let key = CrtKey {
            p: &[1],
            q: &[2],
            dp: &[3],
            dq: &[4],
            u: &[5],
        };
        let message = &[6];
        let bytes = RsaRequest::Crt { size, key, message }.encode();
        for (value, at) in (1u8..).zip([16 + 127, 144 + 127, 272 + 127, 400 + 127, 528 + 127, 911])
        {
            assert_eq!(bytes[at], value);
        }
        let meb = RsaRequest::ModExpo {
            size,
            exponent: &[1],
            modulus: &[2],
            message: &[3],
        };
        let bytes = meb.encode();
        assert_eq!((bytes[271], bytes[527], bytes[783]), (1, 2, 3));
    }

    #[test]
    fn malformed_requests_get_the_code_of_the_first_fault() {
        let good = RsaRequest::ModExpo {
            size: SizeClass::Bits1024,
            exponent: &[3],
            modulus: &[0x21],
            message: &[2],
        }
        .encode();
        assert!(RsaRequest::decode(&good).is_ok());
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            RsaRequest::decode(&bytes).map(|request| request.key_block())
        };
        assert_eq!(with(3, 0x91), Err(ReplyCode::LengthMismatch));
        for reserved in [0, 4, 6, 7, 10, 15] {
            assert_eq!(with(reserved, 1), Err(ReplyCode::ReservedField));
        }
        assert!(with(5, 0xff).is_ok(), "byte 5 is ignored");
        assert_eq!(with(9, 4), Err(ReplyCode::Malformed));
        assert_eq!(with(9, 2), Err(ReplyCode::LengthMismatch));
        let short = RsaRequest::decode(&[0, 0x50, 0, 8, 0, 0, 0, 0]);
        assert_eq!(short, Err(ReplyCode::Malformed));
    }

    proptest! {
        #[test]
        fn requests_round_trip(block in prop::sample::select(KeyBlock::ALL.to_vec()), seed: [u8; 8]) {
            let bytes: Vec<u8> = seed.iter().copied().cycle().take(2048).collect();
            let request = match block {
                KeyBlock::ModExpo(size) => {
                    let len = size.field_len();
                    RsaRequest::ModExpo {
                        size,
                        exponent: &bytes[..len],
                        modulus: &bytes[1..=len],
                        message: &bytes[2..len + 2],
                    }
                }
                KeyBlock::Crt(size) => {
                    let part = |at: usize| &bytes[at..at + size.prime_len()];
                    RsaRequest::Crt {
                        size,
                        key: CrtKey { p: part(0), q: part(1), dp: part(2), dq: part(3), u: part(4) },
                        message: &bytes[..size.field_len()],
                    }
                }
            };
            let encoded = request.encode();
            prop_assert_eq!(RsaRequest::decode(&encoded), Ok(request));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 8..2048)) {
            let _decoded = RsaRequest::decode(&bytes);
        }
    }
}
