//! Accelerator requests (spec of Crypto Express, section 2.1).
//!
//! The size class of a request follows from its length alone: up to 128, 256 or 512 bytes. Operands
//! stand right-justified in the fields of their class.

/// Longest operand in bytes: 4096 bits.
pub const MAX_OPERAND: usize = 512;

/// `message ^ exponent mod modulus`, all big-endian. The request's length is that of `modulus`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ModExpo<'a> {
    /// The message, at most as long as the modulus.
    pub message: &'a [u8],
    /// The exponent, at most as long as the modulus.
    pub exponent: &'a [u8],
    /// The modulus, 1..=512 bytes.
    pub modulus: &'a [u8],
}

/// The private operation by the Chinese remainder theorem, all big-endian. The request's length is
/// that of `message`; each other operand has at most half of its class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Crt<'a> {
    /// The message, 1..=512 bytes, as long as the modulus.
    pub message: &'a [u8],
    /// The larger prime.
    pub p: &'a [u8],
    /// The smaller prime.
    pub q: &'a [u8],
    /// Private exponent modulo p - 1.
    pub dp: &'a [u8],
    /// Private exponent modulo q - 1.
    pub dq: &'a [u8],
    /// q to the power of -1, modulo p.
    pub u: &'a [u8],
}

/// An operand does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an operand is empty, above 4096 bits or too long for the others")]
pub struct OperandError;

/// A request as bytes, and how many bytes its result has.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The type 50 message.
    pub message: Vec<u8>,
    /// Length of the result in bytes.
    pub output: usize,
}

impl std::fmt::Debug for ModExpo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModExpo of {} bytes", self.modulus.len())
    }
}

impl std::fmt::Debug for Crt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crt of {} bytes", self.message.len())
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request of {} bytes", self.message.len())
    }
}

/// Bytes in front of the operands.
const HEADER: usize = 16;
/// Key block types MEB1..MEB3 and CRB1..CRB3, without the class.
const MODEXPO_BLOCKS: u16 = 0x0000;
const CRT_BLOCKS: u16 = 0x0010;

/// The class of a request of `len` bytes: its number 1..=3 and its field size.
fn class(len: usize) -> Result<(u16, usize), OperandError> {
    match len {
        1..=128 => Ok((1, 128)),
        129..=256 => Ok((2, 256)),
        257..=MAX_OPERAND => Ok((3, 512)),
        _ => Err(OperandError),
    }
}

/// Header and operands, each right-justified in its field.
fn encode(block: u16, fields: &[(&[u8], usize)]) -> Result<Vec<u8>, OperandError> {
    let total = HEADER + fields.iter().map(|(_, size)| size).sum::<usize>();
    let total_field = u16::try_from(total).map_err(|_| OperandError)?;
    let mut message = Vec::with_capacity(total);
    message.extend([0, 0x50]);
    message.extend(total_field.to_be_bytes());
    message.extend([0; 4]);
    message.extend(block.to_be_bytes());
    message.resize(HEADER, 0);
    for (operand, size) in fields {
        let pad = size.checked_sub(operand.len()).ok_or(OperandError)?;
        message.resize(message.len() + pad, 0);
        message.extend(*operand);
    }
    Ok(message)
}

impl ModExpo<'_> {
    /// The request as bytes.
    ///
    /// # Errors
    /// When an operand does not fit.
    pub fn encode(&self) -> Result<Request, OperandError> {
        let output = self.modulus.len();
        let (number, size) = class(output)?;
        if self.message.len() > output || self.exponent.len() > output {
            return Err(OperandError);
        }
        let fields = [
            (self.exponent, size),
            (self.modulus, size),
            (self.message, size),
        ];
        let message = encode(MODEXPO_BLOCKS | number, &fields)?;
        Ok(Request { message, output })
    }
}

impl Crt<'_> {
    /// The request as bytes.
    ///
    /// # Errors
    /// When an operand does not fit.
    pub fn encode(&self) -> Result<Request, OperandError> {
        let output = self.message.len();
        let (number, size) = class(output)?;
        let half = size / 2;
        let fields = [
            (self.p, half),
            (self.q, half),
            (self.dp, half),
            (self.dq, half),
            (self.u, half),
            (self.message, size),
        ];
        let message = encode(CRT_BLOCKS | number, &fields)?;
        Ok(Request { message, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mod_expo(len: usize) -> Result<Request, OperandError> {
        let modulus = vec![0xff; len];
        let request = ModExpo {
            message: &[7],
            exponent: &[3],
            modulus: &modulus,
        };
        request.encode()
    }

    fn crt(len: usize) -> Result<Request, OperandError> {
        let message = vec![1; len];
        let half = vec![2; len.div_ceil(2)];
        let request = Crt {
            message: &message,
            p: &half,
            q: &half,
            dp: &half,
            dq: &half,
            u: &half,
        };
        request.encode()
    }

    #[test]
    fn lengths_and_key_blocks_of_the_table() {
        for (len, total, block) in [(64, 400, 1), (128, 400, 1), (129, 784, 2), (512, 1552, 3)] {
            let request = mod_expo(len).unwrap();
            assert_eq!((request.message.len(), request.output), (total, len));
            assert_eq!(request.message[8..10], [0, block]);
            assert_eq!(request.message[..2], [0, 0x50]);
            let field = u16::from_be_bytes([request.message[2], request.message[3]]);
            assert_eq!(usize::from(field), total);
            assert_eq!(request.message[total - 1], 7);
        }
        for (len, total, block) in [(128, 464, 0x11), (256, 912, 0x12), (512, 1808, 0x13)] {
            let request = crt(len).unwrap();
            assert_eq!((request.message.len(), request.output), (total, len));
            assert_eq!(request.message[8..10], [0, block]);
        }
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        assert_eq!(mod_expo(0), Err(OperandError));
        assert_eq!(mod_expo(513), Err(OperandError));
        assert_eq!(crt(513), Err(OperandError));
        let long = ModExpo {
            message: &[1; 3],
            exponent: &[1],
            modulus: &[1; 2],
        };
        assert_eq!(long.encode(), Err(OperandError));
        let long = Crt {
            message: &[1; 128],
            p: &[1; 65],
            q: &[1],
            dp: &[1],
            dq: &[1],
            u: &[1],
        };
        assert_eq!(long.encode(), Err(OperandError));
    }
}
