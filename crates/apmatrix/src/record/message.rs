//! The header of an AP message in words, with the field names of the message formats.

use cex::ReplyCode;
use cex::type50::{KeyBlock, OPERANDS_AT, TYPE_50};

/// A message in words; `is_whole` when it was not redacted.
pub(super) fn describe(message: &[u8]) -> String {
    match message {
        [_, TYPE_50, length @ ..] if message.len() >= OPERANDS_AT => {
            let block = u16::from_be_bytes([message[8], message[9]]);
            format!(
                "type 50 length {} key block {block:04x}{}",
                half(length),
                name(block)
            )
        }
        [_, 0x80, rest @ ..] if message.len() >= 8 => {
            format!("type 80 length {} code {:02x}", half(rest), rest[2])
        }
        [_, kind @ (0x82 | 0x87 | 0x88), _, _, code, ..] => {
            format!("type {kind:02x} reply code {code:02x}{}", meaning(*code))
        }
        [_, 0x06, ..] if message.len() >= 88 => {
            let word = |at: usize| {
                u32::from_be_bytes([
                    message[at],
                    message[at + 1],
                    message[at + 2],
                    message[at + 3],
                ])
            };
            format!(
                "type 06 agent {} rqid {:04x} function {} tocardlen1 {} tocardlen2 {} \
                 fromcardlen1 {} fromcardlen2 {}",
                printable(&message[32..34]),
                u16::from_be_bytes([message[48], message[49]]),
                printable(&message[52..54]),
                word(56),
                word(60),
                word(72),
                word(76)
            )
        }
        [_, 0x86, format, _, code, ..] => format!(
            "type 86 format {format:02x} reply code {code:02x}{}",
            meaning(*code)
        ),
        [_, kind, ..] => format!("type {kind:02x}"),
        [_] | [] => "no type".to_owned(),
    }
}

fn half(bytes: &[u8]) -> u16 {
    match bytes {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// The key block of a type 50 request.
fn name(code: u16) -> String {
    match KeyBlock::from_code(code) {
        Some(KeyBlock::ModExpo(size)) => format!(" (MEB, {} bits)", 8 * size.field_len()),
        Some(KeyBlock::Crt(size)) => format!(" (CRB, {} bits)", 8 * size.field_len()),
        None => String::new(),
    }
}

fn meaning(code: u8) -> String {
    ReplyCode::ALL
        .iter()
        .find(|known| known.code() == code)
        .map_or_else(String::new, |known| {
            format!(" ({})", known.meaning().trim_end_matches('.'))
        })
}

fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '.'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_named_by_their_fields() {
        let mut request = vec![0; 784];
        request[..4].copy_from_slice(&[0, 0x50, 3, 0x10]);
        request[9] = 2;
        let said = describe(&request);
        assert_eq!(said, "type 50 length 784 key block 0002 (MEB, 2048 bits)");
        assert_eq!(
            describe(&[0, 0x82, 0, 0, 0x85, 0, 0, 0]),
            "type 82 reply code 85 (The modulus is even)"
        );
        assert_eq!(
            describe(&[0, 0x80, 1, 0x10, 0, 0, 0, 0]),
            "type 80 length 272 code 00"
        );
        let mut request = vec![0; 88];
        request[1] = 6;
        request[32..34].copy_from_slice(b"CA");
        assert!(describe(&request).starts_with("type 06 agent CA rqid 0000"));
        assert_eq!(describe(&[]), "no type");
    }

    proptest! {
        #[test]
        fn any_message_is_described(message in prop::collection::vec(any::<u8>(), 0..100), kind in prop::sample::select(vec![0x50u8, 0x80, 0x82, 6, 0x86])) {
            describe(&message);
            let mut message = message;
            if let Some(byte) = message.get_mut(1) {
                *byte = kind;
            }
            prop_assert!(describe(&message).is_ascii());
        }
    }
}
