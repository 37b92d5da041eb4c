//! The text grammar of masks (spec 2.4 and 3.6).
//!
//! Two forms exist. *Absolute*: hex digits from the left, missing digits zero. *Relative*: a list of
//! `+n`, `-n`, `+a-b`, `-a-b` terms applied to the present mask. Both become a [`MaskEdit`].

use crate::mask::Mask256;

/// A change of a mask: first some numbers are cleared, then some are set. An absolute value clears
/// all of them first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaskEdit {
    clear: Mask256,
    set: Mask256,
}

/// A text outside the grammar. Linux answers EINVAL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MaskSyntaxError {
    /// More than 64 hex digits.
    #[error("more than 64 hex digits")]
    TooLong,
    /// A character that is neither a hex digit nor the one trailing newline.
    #[error("not a hex digit")]
    NotHex,
    /// A term of the relative form that does not start with a sign.
    #[error("a term must start with '+' or '-'")]
    MissingSign,
    /// A sign or range hyphen without a number behind it, or a bad digit.
    #[error("a number is missing or malformed")]
    BadNumber,
    /// A number above 255.
    #[error("a number is above 255")]
    OutOfRange,
    /// A range whose start is above its end.
    #[error("a range runs backwards")]
    BackwardRange,
}

impl MaskEdit {
    /// The edit that replaces the whole mask.
    #[must_use]
    pub const fn absolute(mask: Mask256) -> Self {
        Self {
            clear: Mask256::FULL,
            set: mask,
        }
    }

    /// Parses either form; the first character decides (spec 2.4).
    ///
    /// # Errors
    /// [`MaskSyntaxError`] for a text outside the grammar.
    pub fn parse(text: &[u8]) -> Result<Self, MaskSyntaxError> {
        match text.first() {
            Some(b'+' | b'-') => Self::parse_relative(text),
            _ => parse_absolute(text).map(Self::absolute),
        }
    }

    /// The mask after the edit.
    #[must_use]
    pub fn apply(&self, mask: Mask256) -> Mask256 {
        (mask - self.clear) | self.set
    }

    fn parse_relative(mut rest: &[u8]) -> Result<Self, MaskSyntaxError> {
        let mut edit = Self {
            clear: Mask256::EMPTY,
            set: Mask256::EMPTY,
        };
        loop {
            // Terms stand behind any run of separators, also behind none.
            while let [b',' | b'\n', tail @ ..] = rest {
                rest = tail;
            }
            let [sign, tail @ ..] = rest else {
                return Ok(edit);
            };
            let set = match sign {
                b'+' => true,
                b'-' => false,
                _ => return Err(MaskSyntaxError::MissingSign),
            };
            let (first, tail) = parse_number(tail)?;
            let (last, tail) = match tail {
                [b'-', tail @ ..] => parse_number(tail)?,
                _ => (first, tail),
            };
            if first > last {
                return Err(MaskSyntaxError::BackwardRange);
            }
            let numbers = Mask256::range(first, last);
            if set {
                edit.set = edit.set | numbers;
                edit.clear = edit.clear - numbers;
            } else {
                edit.clear = edit.clear | numbers;
                edit.set = edit.set - numbers;
            }
            rest = tail;
        }
    }
}

/// Parses the absolute form: an optional `0x` (or a bare `x`), up to 64 hex digits from the left and
/// one optional trailing newline. No digit at all is the empty mask (quirk K1).
///
/// # Errors
/// [`MaskSyntaxError::TooLong`] and [`MaskSyntaxError::NotHex`].
pub fn parse_absolute(text: &[u8]) -> Result<Mask256, MaskSyntaxError> {
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = digits
        .strip_prefix(b"0x")
        .or_else(|| digits.strip_prefix(b"x"))
        .unwrap_or(digits);
    let mut bytes = [0u8; 32];
    for (index, digit) in digits.iter().enumerate() {
        let value = hex_digit(*digit).ok_or(MaskSyntaxError::NotHex)?;
        let byte = bytes.get_mut(index / 2).ok_or(MaskSyntaxError::TooLong)?;
        *byte |= if index % 2 == 0 { value << 4 } else { value };
    }
    Ok(Mask256::from_be_bytes(&bytes))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// One number of the relative form: decimal, `0x` hex or leading-0 octal. Returns the rest. Of a
/// number with more than 64 bits the low 64 count: the kernel's oldest number parser wraps.
fn parse_number(text: &[u8]) -> Result<(u8, &[u8]), MaskSyntaxError> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', tail @ ..] if tail.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, tail)
        }
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let length = digits
        .iter()
        .take_while(|digit| char::from(**digit).is_digit(radix))
        .count();
    let (digits, rest) = digits.split_at(length);
    if digits.is_empty() {
        return Err(MaskSyntaxError::BadNumber);
    }
    let value = digits.iter().fold(0u64, |value, digit| {
        let digit = u64::from(hex_digit(*digit).unwrap_or_default());
        value.wrapping_mul(u64::from(radix)).wrapping_add(digit)
    });
    let value = u8::try_from(value).map_err(|_| MaskSyntaxError::OutOfRange)?;
    Ok((value, rest))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString, vec::Vec};

    fn edit(text: &str, start: Mask256) -> Result<Vec<u8>, MaskSyntaxError> {
        Ok(MaskEdit::parse(text.as_bytes())?
            .apply(start)
            .iter()
            .collect())
    }

    #[test]
    fn absolute_masks_are_left_aligned() {
        assert_eq!(edit("0x41\n", Mask256::FULL), Ok([1, 7].into()));
        assert_eq!(edit("x41", Mask256::FULL), Ok([1, 7].into()));
        assert_eq!(edit("8", Mask256::FULL), Ok([0].into()));
        for empty in ["", "\n", "0x", "0x\n"] {
            assert_eq!(edit(empty, Mask256::FULL), Ok([].into()), "{empty:?}");
        }
    }

    #[test]
    fn relative_terms_apply_in_order() {
        assert_eq!(edit("+1,-1", Mask256::EMPTY), Ok([].into()));
        assert_eq!(edit("-0-255,+0-2", Mask256::FULL), Ok([0, 1, 2].into()));
        assert_eq!(edit("+1+2\n", Mask256::EMPTY), Ok([1, 2].into()));
        assert_eq!(edit("+1-3-2", Mask256::EMPTY), Ok([1, 3].into()));
        assert_eq!(edit("+010,+0x10", Mask256::EMPTY), Ok([8, 16].into()));
    }

    #[test]
    fn numbers_of_more_than_64_bits_wrap() {
        for text in [
            "+18446744073709551618",
            "+0x10000000000000002",
            "+02000000000000000000002",
        ] {
            assert_eq!(edit(text, Mask256::EMPTY), Ok([2].into()), "{text}");
        }
        for text in [
            "+18446744073709551615",
            "+0xffffffffffffffff",
            "+4294967296",
        ] {
            let answer = edit(text, Mask256::EMPTY);
            assert_eq!(answer, Err(MaskSyntaxError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn texts_outside_the_grammar_are_refused() {
        let long = "f".repeat(65);
        for text in [
            "+256", "+5-3", "+1 +2", "+", "5,6x", "0Xff", "-5,+300", "0x1\n\n", "zz", "+08", "+0x",
            "++1", "--1", "+1-", "+1--2", "+1,2", "-\n", "0x 1", "0xx1", "X1", "+0b1", &long,
        ] {
            assert!(edit(text, Mask256::FULL).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn printed_masks_parse_back(numbers: Vec<u8>, start: Vec<u8>) {
            let mask: Mask256 = numbers.into_iter().collect();
            let start: Mask256 = start.into_iter().collect();
            for text in [mask.to_string(), format!("{mask}\n")] {
                prop_assert_eq!(MaskEdit::parse(text.as_bytes()).unwrap().apply(start), mask);
            }
        }

        #[test]
        fn any_bytes_parse_or_are_refused(text: Vec<u8>) {
            let _edit = MaskEdit::parse(&text);
        }

        #[test]
        fn relative_terms_equal_a_replay(terms: Vec<(bool, u8, u8)>, start: Vec<u8>) {
            let mut text = std::string::String::new();
            let mut model: Mask256 = start.into_iter().collect();
            let begin = model;
            for (set, a, b) in &terms {
                let (a, b) = (*a.min(b), *a.max(b));
                text += &format!("{}{a}-{b},", if *set { '+' } else { '-' });
                for n in a..=b {
                    if *set { model.insert(n) } else { model.remove(n) }
                }
            }
            if !text.is_empty() {
                prop_assert_eq!(MaskEdit::parse(text.as_bytes()).unwrap().apply(begin), model);
            }
        }
    }
}
