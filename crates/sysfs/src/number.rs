//! Linux's number grammars. Attributes differ in which one they use, and the transcripts show it.
//!
//! | grammar | signs | blanks in front | behind the number | base |
//! |---|---|---|---|---|
//! | [`unsigned`] | `+` | no | one newline | decimal, `0x`, leading 0 |
//! | [`scan_decimal`] | `-` | yes | anything | decimal |
//! | [`scan_any_base`] | `-` | yes | anything | decimal, `0x`, leading 0 |
//! | [`boolean`] | | no | anything | |
//!
//! All of them see a text that ends at its first NUL (transcript assign-number-10).

use arch::Errno;

/// A text that is not a number in its grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NumberError {
    /// Not a number. EINVAL.
    #[error("not a number")]
    Malformed,
    /// More than 64 bits. ERANGE.
    #[error("the number has more than 64 bits")]
    TooLarge,
}

impl NumberError {
    /// What Linux answers.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Malformed => Errno::EINVAL,
            Self::TooLarge => Errno::ERANGE,
        }
    }
}

/// The grammar of assignment files: optional `+`, digits, at most one newline (spec 3.3).
///
/// # Errors
/// [`NumberError`]; too many bits are reported before anything wrong behind the digits.
pub fn unsigned(text: &[u8]) -> Result<u64, NumberError> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let (radix, digits) = radix_of(text);
    let (value, rest) = digits_of(digits, radix);
    if rest.len() == digits.len() {
        return Err(NumberError::Malformed);
    }
    let value = value.ok_or(NumberError::TooLarge)?;
    match rest {
        b"" | b"\n" => Ok(value),
        _ => Err(NumberError::Malformed),
    }
}

/// The grammar of `config_time`, `online` and `config`: C's `%d` in an `int`. `None` when there is no
/// number at the start.
#[must_use]
pub fn scan_decimal(text: &[u8]) -> Option<i64> {
    scan(text, |text| (10, text))
}

/// The grammar of `ap_domain`: C's `%i` in an `int`. `None` when there is no number at the start.
#[must_use]
pub fn scan_any_base(text: &[u8]) -> Option<i64> {
    scan(text, radix_of)
}

fn scan(text: &[u8], radix_of: impl Fn(&[u8]) -> (u32, &[u8])) -> Option<i64> {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let text = &text[blanks..];
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (radix, digits) = radix_of(text);
    let value = wrapping_value(digits, radix);
    let value = if negative {
        value.wrapping_neg()
    } else {
        value
    };
    // The value lands in a 32-bit int, high bits are lost.
    let [.., a, b, c, d] = value.to_be_bytes();
    Some(i64::from(i32::from_be_bytes([a, b, c, d])))
}

/// Linux's idea of white space, which is Latin-1's.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0)
}

/// The grammar of `poll_thread`: y, t, e, 1, on and n, f, d, 0, off, letters in either case; only the
/// first letters count. "enable" and "disable" are the youngest words (Linux 6.14).
#[must_use]
pub const fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        [b'y' | b'Y' | b't' | b'T' | b'e' | b'E' | b'1', ..] | [b'o' | b'O', b'n' | b'N', ..] => {
            Some(true)
        }
        [b'n' | b'N' | b'f' | b'F' | b'd' | b'D' | b'0', ..] | [b'o' | b'O', b'f' | b'F', ..] => {
            Some(false)
        }
        _ => None,
    }
}

/// `0x` only counts as a prefix when a hex digit follows; otherwise the 0 is an octal number.
fn radix_of(text: &[u8]) -> (u32, &[u8]) {
    match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, rest)
        }
        [b'0', ..] => (8, text),
        _ => (10, text),
    }
}

/// The value of the leading digits, `None` above 64 bits, and what stands behind them.
fn digits_of(text: &[u8], radix: u32) -> (Option<u64>, &[u8]) {
    let length = text
        .iter()
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let (digits, rest) = text.split_at(length);
    let value = digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        value
            .checked_mul(u64::from(radix))?
            .checked_add(u64::from(digit))
    });
    (value, rest)
}

fn wrapping_value(text: &[u8], radix: u32) -> u64 {
    text.iter()
        .map_while(|byte| char::from(*byte).to_digit(radix))
        .fold(0, |value: u64, digit| {
            value
                .wrapping_mul(u64::from(radix))
                .wrapping_add(u64::from(digit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn assignment_numbers() {
        for (text, value) in [
            ("5", 5),
            ("+6\n", 6),
            ("010", 8),
            ("0x5", 5),
            ("0Xa\n", 10),
            ("0", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(unsigned(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in [
            "abc", "", "\n", "-1", "5 ", " 5", "08", "0x", "1e", "++1", "3\n\n", "0o3", "0b1",
            "1\r\n",
        ] {
            assert_eq!(
                unsigned(text.as_bytes()),
                Err(NumberError::Malformed),
                "{text:?}"
            );
        }
        for text in [
            "18446744073709551616",
            "0x10000000000000000",
            "99999999999999999999 x",
        ] {
            assert_eq!(
                unsigned(text.as_bytes()),
                Err(NumberError::TooLarge),
                "{text:?}"
            );
        }
    }

    #[test]
    fn scanned_numbers() {
        for (text, decimal, any) in [
            ("7x", Some(7), Some(7)),
            (" \t8", Some(8), Some(8)),
            ("0x10", Some(0), Some(16)),
            ("010", Some(10), Some(8)),
            ("-1", Some(-1), Some(-1)),
            ("4294967302", Some(6), Some(6)),
            ("+6", None, None),
            ("- 6", None, None),
            ("zz", None, None),
            ("", None, None),
        ] {
            assert_eq!(scan_decimal(text.as_bytes()), decimal, "{text:?}");
            assert_eq!(scan_any_base(text.as_bytes()), any, "{text:?}");
        }
    }

    #[test]
    fn booleans_look_at_the_first_letters() {
        for (text, value) in [
            ("1\n", Some(true)),
            ("yes", Some(true)),
            ("ON", Some(true)),
            ("0", Some(false)),
            ("off\n", Some(false)),
            ("enable\n", Some(true)),
            ("E", Some(true)),
            ("disabled", Some(false)),
            ("D\n", Some(false)),
            ("o", None),
            ("2", None),
            ("", None),
            (" 1", None),
        ] {
            assert_eq!(boolean(text.as_bytes()), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_number_or_not(text: Vec<u8>) {
            // Neither of them may panic.
            _ = (unsigned(&text).is_ok(), scan_decimal(&text), scan_any_base(&text), boolean(&text));
        }

        #[test]
        fn printed_numbers_parse_back(value: u64, small: i32) {
            prop_assert_eq!(unsigned(value.to_string().as_bytes()), Ok(value));
            prop_assert_eq!(unsigned(format!("{value:#x}\n").as_bytes()), Ok(value));
            prop_assert_eq!(scan_decimal(small.to_string().as_bytes()), Some(i64::from(small)));
        }
    }
}
