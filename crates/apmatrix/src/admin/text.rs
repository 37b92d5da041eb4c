//! Numbers and UUIDs as people type them.

use anyhow::{Result, bail};

/// Numbers 0..=255 from words such as `5`, `0x1f`, `4,6` or `0-3`, in the order given.
///
/// # Errors
/// When a word is not a number, a list or a range of them.
pub fn parse_numbers(words: &[String]) -> Result<Vec<u8>> {
    let mut numbers = Vec::new();
    for term in words.iter().flat_map(|word| word.split(',')) {
        match term.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (parse_number(first)?, parse_number(last)?);
                if first > last {
                    bail!("the range {term} runs backwards");
                }
                numbers.extend(first..=last);
            }
            None => numbers.push(parse_number(term)?),
        }
    }
    Ok(numbers)
}

fn parse_number(text: &str) -> Result<u8> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.or_else(|_| bail!("{text:?} is not a number from 0 to 255 (decimal, or hex with 0x)"))
}

/// A UUID in the form that the tree shows: 36 characters, lower case.
///
/// # Errors
/// When the text is not one.
pub fn parse_uuid(text: &str) -> Result<String> {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if lengths != [8, 4, 4, 4, 12] || !is_hex {
        bail!("{text:?} is not a UUID such as 62177883-f1bb-47f0-914d-32a22e3a8804");
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(words: &[&str]) -> Result<Vec<u8>> {
        parse_numbers(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn numbers_lists_and_ranges() {
        assert_eq!(
            numbers(&["5", "0x1f", "4,6", "0-2"]).unwrap(),
            [5, 31, 4, 6, 0, 1, 2]
        );
        for word in ["256", "-1", "x", "", "3-1", "0x"] {
            assert!(numbers(&[word]).is_err(), "{word:?}");
        }
    }

    #[test]
    fn uuids_become_lower_case() {
        let upper = "62177883-F1BB-47F0-914D-32A22E3A8804";
        assert_eq!(parse_uuid(upper).unwrap(), upper.to_lowercase());
        assert!(parse_uuid("62177883f1bb47f0914d32a22e3a8804").is_err());
    }
}
