//! The small words of orders: durations and bytes.

use std::fmt;
use std::time::Duration;

/// The longest duration that can be written: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A duration from text: a whole number and its unit, as in `250ms`, `3s`, `2m`; at most a day.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    let duration = Duration::from_millis(millis);
    (duration <= LONGEST).then_some(duration)
}

/// Writes a duration as [`parse_duration`] reads it.
pub(super) fn write_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    match duration.as_millis() {
        millis if millis % 60_000 == 0 => write!(f, "{}m", millis / 60_000),
        millis if millis % 1_000 == 0 => write!(f, "{}s", millis / 1_000),
        millis => write!(f, "{millis}ms"),
    }
}

/// Bytes from an even number of hex digits, at least two.
pub(super) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty()
        || !text.len().is_multiple_of(2)
        || !text.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// One byte from one or two hex digits.
pub(super) fn parse_byte(text: &str) -> Option<u8> {
    let is_hex = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("3s"), Some(Duration::from_secs(3)));
        assert_eq!(parse_duration("1440m"), Some(LONGEST));
        for text in [
            "",
            "3",
            "s",
            "1441m",
            "-1s",
            "1.5s",
            "18446744073709551615m",
            "3 s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_hex_digits() {
        assert_eq!(parse_hex("00fF"), Some(vec![0, 0xff]));
        for text in ["", "0", "0g", "+1"] {
            assert_eq!(parse_hex(text), None, "{text:?}");
        }
        assert_eq!((parse_byte("a"), parse_byte("100")), (Some(10), None));
    }
}
