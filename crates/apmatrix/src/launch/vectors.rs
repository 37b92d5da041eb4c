//! Vector files for `apclient`, the test client inside the guest.
//!
//! All numbers are big endian:
//!
//! | part | contents |
//! |---|---|
//! | header | 8 bytes `APVECTOR`, u32 version 1, u32 number of records |
//! | record | u32 kind (1 mod-expo, 2 CRT), u32 bits (a label), u32 n (operand bytes), u32 errno |
//! | mod-expo | input n, exponent n, modulus n |
//! | CRT | input n, dp n/2+8, dq n/2, p n/2+8, q n/2, u n/2+8 |
//! | result | expected output, n bytes (zeros where an errno is expected) |
//!
//! Operands are right justified in their fields, as in the kernel's requests. The reader is
//! `crates/apmatrix/guest/apclient.c`.

const MAGIC: &[u8; 8] = b"APVECTOR";
const VERSION: u32 = 1;
/// The kernel wants this many zeros in front of dp, p and u.
const CRT_PAD: usize = 8;

/// The key of one request, big-endian numbers without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// message ^ exponent mod modulus
    ModExpo {
        /// Exponent, public or private.
        exponent: &'a [u8],
        /// Modulus.
        modulus: &'a [u8],
    },
    /// Chinese remainder form: p > q, u = 1/q mod p.
    Crt {
        /// First prime.
        p: &'a [u8],
        /// Second prime.
        q: &'a [u8],
        /// Private exponent mod p - 1.
        dp: &'a [u8],
        /// Private exponent mod q - 1.
        dq: &'a [u8],
        /// Inverse of q mod p.
        u: &'a [u8],
    },
}

/// What a request has to end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Success with this number.
    Output(&'a [u8]),
    /// Failure of the system call with this errno.
    Errno(u32),
}

/// A number does not fit into its field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Which operand.
    pub operand: &'static str,
    /// Bytes of its field.
    pub field: usize,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not fit into {} bytes", self.operand, self.field)
    }
}

impl std::error::Error for TooLong {}

/// A vector file in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorFile {
    count: u32,
    records: Vec<u8>,
}

impl VectorFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a request of `bits` (rounded up to whole bytes) for `message`.
    pub fn push(
        &mut self,
        bits: u32,
        message: &[u8],
        key: Key<'_>,
        expected: Expected<'_>,
    ) -> Result<(), TooLong> {
        let size = bits.div_ceil(8);
        let n = size as usize;
        let half = n / 2;
        let (kind, errno) = match (key, expected) {
            (Key::ModExpo { .. }, Expected::Output(_)) => (1, 0),
            (Key::Crt { .. }, Expected::Output(_)) => (2, 0),
            (Key::ModExpo { .. }, Expected::Errno(errno)) => (1, errno),
            (Key::Crt { .. }, Expected::Errno(errno)) => (2, errno),
        };
        let mut record = Vec::new();
        for number in [kind, bits, size, errno] {
            record.extend(number.to_be_bytes());
        }
        field(&mut record, "message", message, n)?;
        match key {
            Key::ModExpo { exponent, modulus } => {
                field(&mut record, "exponent", exponent, n)?;
                field(&mut record, "modulus", modulus, n)?;
            }
            Key::Crt { p, q, dp, dq, u } => {
                padded(&mut record, "dp", dp, half)?;
                field(&mut record, "dq", dq, half)?;
                padded(&mut record, "p", p, half)?;
                field(&mut record, "q", q, half)?;
                padded(&mut record, "u", u, half)?;
            }
        }
        let output = match expected {
            Expected::Output(output) => output,
            Expected::Errno(_) => &[],
        };
        field(&mut record, "output", output, n)?;
        self.records.extend(record);
        self.count += 1;
        Ok(())
    }

    /// The file's contents.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(&self.records);
        bytes
    }
}

fn padded(
    record: &mut Vec<u8>,
    operand: &'static str,
    number: &[u8],
    size: usize,
) -> Result<(), TooLong> {
    record.extend([0; CRT_PAD]);
    field(record, operand, number, size)
}

fn field(
    record: &mut Vec<u8>,
    operand: &'static str,
    number: &[u8],
    size: usize,
) -> Result<(), TooLong> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[zeros..];
    let pad = size.checked_sub(digits.len()).ok_or(TooLong {
        operand,
        field: size,
    })?;
    record.resize(record.len() + pad, 0);
    record.extend(digits);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEXPO: Key<'_> = Key::ModExpo {
        exponent: &[3],
        modulus: &[0, 0, 0, 0, 5, 0x39],
    };

    #[test]
    fn a_mod_expo_record_is_padded_to_the_size_of_its_class() {
        let mut file = VectorFile::new();
        file.push(32, &[2], MODEXPO, Expected::Output(&[8]))
            .unwrap();
        let bytes = file.to_bytes();
        let expected: [&[u8]; 9] = [
            b"APVECTOR\0\0\0\x01\0\0\0\x01",
            &[0, 0, 0, 1],
            &[0, 0, 0, 32],
            &[0, 0, 0, 4],
            &[0, 0, 0, 0],
            &[0, 0, 0, 2],
            &[0, 0, 0, 3],
            &[0, 0, 5, 0x39],
            &[0, 0, 0, 8],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn a_crt_record_has_eight_zeros_before_dp_p_and_u() {
        let mut file = VectorFile::new();
        let key = Key::Crt {
            p: &[13],
            q: &[11],
            dp: &[7],
            dq: &[9],
            u: &[6],
        };
        file.push(32, &[2], key, Expected::Errno(22)).unwrap();
        let bytes = file.to_bytes();
        let body = &bytes[16..];
        assert_eq!(
            body[..16],
            [0, 0, 0, 2, 0, 0, 0, 32, 0, 0, 0, 4, 0, 0, 0, 22]
        );
        let operands = &body[16..];
        assert_eq!(operands.len(), 4 + 3 * 10 + 2 * 2 + 4);
        assert_eq!(operands[12..14], [0, 7], "dp");
        assert_eq!(operands[14..16], [0, 9], "dq");
        assert_eq!(operands[24..26], [0, 13], "p");
        assert_eq!(operands[26..28], [0, 11], "q");
        assert_eq!(operands[36..38], [0, 6], "u");
        assert_eq!(
            operands[38..],
            [0; 4],
            "no output where an errno is expected"
        );
    }

    #[test]
    fn a_number_that_does_not_fit_leaves_the_file_as_it_was() {
        let mut file = VectorFile::new();
        let error = file
            .push(16, &[2], MODEXPO, Expected::Output(&[1, 0, 0]))
            .unwrap_err();
        assert_eq!(
            error,
            TooLong {
                operand: "output",
                field: 2
            }
        );
        assert_eq!(file, VectorFile::new());
        assert_eq!(error.to_string(), "output does not fit into 2 bytes");
    }
}
