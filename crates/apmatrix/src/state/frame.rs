//! Records in a file: one per line, with length and checksum.
//!
//! ```text
//!   apmatrix-state 1\n                     first line: what the file is, and the version of its format
//!   LLLLLLLL CCCCCCCC PAYLOAD\n            length of the payload and checksum, 8 hex digits each
//! ```
//! The checksum is CRC-32 over all payloads so far, so a record that is changed, missing, repeated or
//! in another place is noticed. A file ends in a *torn* record when the process died in the middle of
//! write(2): that record was never acknowledged and is dropped. It is recognised by having no end of
//! line. Everything else that does not fit is damage.

/// The word that begins every file.
const MAGIC: &str = "apmatrix-state ";
/// The version of the format that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;
/// Length and checksum with the blanks behind them.
const PREFIX: usize = 18;

/// Checksum over all payloads so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Chain(u32);

impl Chain {
    fn next(self, payload: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(payload);
        Self(hasher.finalize())
    }
}

/// The first line.
pub(super) fn header() -> String {
    format!("{MAGIC}{VERSION}\n")
}

/// Appends a record to `out`; the checksum goes on from `chain`.
pub(super) fn put(out: &mut Vec<u8>, chain: &mut Chain, payload: &str) {
    *chain = chain.next(payload.as_bytes());
    let length = payload.len();
    out.extend_from_slice(format!("{length:08x} {:08x} {payload}\n", chain.0).as_bytes());
}

/// Why a file is not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// It does not begin as one of ours does.
    #[error("it is not a state of apmatrix")]
    Foreign,
    /// Another version of the format.
    #[error(
        "it is of format {found}, written by another version of apmatrix; this one knows format \
         {VERSION}"
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// A record that is not as it was written.
    #[error("it is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where the record begins.
        offset: usize,
        /// What does not fit.
        reason: &'static str,
    },
}

/// The records of a file.
#[derive(Debug)]
pub(super) struct Frames<'b> {
    /// Their payloads, in order.
    pub(super) payloads: Vec<&'b str>,
    /// The checksum after the last.
    pub(super) chain: Chain,
    /// Bytes up to the end of the last record.
    pub(super) length: usize,
    /// Bytes of a torn record behind it.
    pub(super) torn: usize,
}

/// Takes a file apart.
///
/// # Errors
/// [`FrameError`]
pub(super) fn take_apart(file: &[u8]) -> Result<Frames<'_>, FrameError> {
    let mut offset = check_header(file)?;
    let mut chain = Chain::default();
    let mut payloads = Vec::new();
    loop {
        let rest = &file[offset..];
        if rest.is_empty() {
            break;
        }
        match first_record(rest, chain) {
            Ok((payload, next)) => {
                payloads.push(payload);
                chain = next;
                offset += PREFIX + payload.len() + 1;
            }
            Err(_) if !rest.contains(&b'\n') => break,
            Err(reason) => return Err(FrameError::Damaged { offset, reason }),
        }
    }
    Ok(Frames {
        payloads,
        chain,
        length: offset,
        torn: file.len() - offset,
    })
}

/// The length of the first line.
fn check_header(file: &[u8]) -> Result<usize, FrameError> {
    let line = file.split_inclusive(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    let version = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_prefix(MAGIC)?.strip_suffix('\n')?.parse().ok())
        .ok_or(FrameError::Foreign)?;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    Ok(line.len())
}

fn first_record(rest: &[u8], chain: Chain) -> Result<(&str, Chain), &'static str> {
    let prefix = rest.get(..PREFIX).ok_or("the record is cut off")?;
    let number = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        // As they are written: upper case is a wrong byte.
        let is_hex = digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let (length, sum) = (number(&prefix[..8]), number(&prefix[9..17]));
    let (Some(length), Some(sum), b' ', b' ') = (length, sum, prefix[8], prefix[17]) else {
        return Err("no record begins here");
    };
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(PREFIX))
        .ok_or("the length is impossible")?;
    let payload = rest.get(PREFIX..end).ok_or("the record is cut off")?;
    if rest.get(end) != Some(&b'\n') {
        return Err("the record has another length than it says");
    }
    let next = chain.next(payload);
    if next != Chain(sum) {
        return Err("the checksum is wrong");
    }
    let payload = std::str::from_utf8(payload).map_err(|_| "the record is not text")?;
    Ok((payload, next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(payloads: &[&str]) -> Vec<u8> {
        let (mut out, mut chain) = (header().into_bytes(), Chain::default());
        for payload in payloads {
            put(&mut out, &mut chain, payload);
        }
        out
    }

    #[test]
    fn the_form_is_fixed() {
        let text = String::from_utf8(file(&["\"rescan\""])).unwrap();
        assert_eq!(text, "apmatrix-state 1\n00000008 0d558181 \"rescan\"\n");
    }

    #[test]
    fn foreign_and_newer_files_are_refused() {
        for foreign in [
            &b""[..],
            b"apmatrix-state",
            b"apmatrix-state 1",
            b"apmatrix-state one\n",
            b"PK\x03\x04",
        ] {
            assert_eq!(take_apart(foreign).unwrap_err(), FrameError::Foreign);
        }
        let newer = take_apart(b"apmatrix-state 2\nwhatever").unwrap_err();
        assert_eq!(newer, FrameError::Version { found: 2 });
    }

    #[test]
    fn every_cut_in_the_last_record_is_a_torn_record() {
        let whole = file(&["one", "two", "three"]);
        let before = file(&["one", "two"]).len();
        for end in before..whole.len() {
            let frames = take_apart(&whole[..end]).unwrap();
            assert_eq!(frames.payloads, ["one", "two"]);
            assert_eq!((frames.length, frames.torn), (before, end - before));
        }
        assert_eq!(take_apart(&whole).unwrap().payloads.len(), 3);
        // A file that grew before its data came, as after a power failure.
        let mut zeros = file(&["one"]);
        zeros.extend([0; 100]);
        assert_eq!(take_apart(&zeros).unwrap().torn, 100);
    }

    #[test]
    fn a_record_that_is_missing_repeated_or_moved_is_damage() {
        let whole = file(&["one", "two", "three"]);
        let (h, a) = (header().len(), file(&["one"]).len());
        let b = file(&["one", "two"]).len();
        let missing = [&whole[..a], &whole[b..]].concat();
        let repeated = [&whole[..b], &whole[a..]].concat();
        let moved = [&whole[..h], &whole[a..b], &whole[h..a], &whole[b..]].concat();
        for damaged in [missing, repeated, moved] {
            let error = take_apart(&damaged).unwrap_err();
            assert!(
                matches!(
                    error,
                    FrameError::Damaged {
                        reason: "the checksum is wrong",
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken_apart(payloads: Vec<String>) {
            let payloads: Vec<String> =
                payloads.into_iter().map(|text| text.replace('\n', "")).collect();
            let borrowed: Vec<&str> = payloads.iter().map(String::as_str).collect();
            let whole = file(&borrowed);
            prop_assert_eq!(take_apart(&whole).unwrap().payloads, borrowed);
        }

        /// One wrong byte before the last record never goes unnoticed.
        #[test]
        fn a_wrong_byte_is_noticed(at: prop::sample::Index, flip in 1..=255u8) {
            let mut whole = file(&["one", "two", "three", "four"]);
            let end = file(&["one", "two", "three"]).len();
            whole[at.index(end)] ^= flip;
            prop_assert!(take_apart(&whole).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            drop(take_apart(&bytes));
            drop(take_apart(&[header().as_bytes(), &bytes].concat()));
        }
    }
}
