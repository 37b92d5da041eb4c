//! Type 82: the reply that says why a message was not processed (card spec 2.3).

use crate::reply::Reply;

/// Length of a type 82 message in bytes.
pub const ERROR_REPLY_LEN: usize = 8;
/// Message type of an error reply.
pub const TYPE_82: u8 = 0x82;

macro_rules! reply_codes {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// Why a card refused a message, byte 4 of a type 82 message.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum ReplyCode {
            $(#[doc = $text] $name = $value,)*
        }

        impl ReplyCode {
            /// Every code that the models use.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The byte in the message.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The code in words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reply_codes! {
    MachineFailure = 0x10, "The card itself failed; Linux tries another card.";
    MessageType = 0x20, "No message type of any card.";
    WrongMode = 0x22, "A message type of a card in another mode.";
    ReservedField = 0x24, "A reserved field is not zero.";
    Malformed = 0x40, "The message cannot be understood.";
    LengthMismatch = 0x80, "The message is not as long as it says, or as its key block needs.";
    OperandInvalid = 0x82, "An operand is outside its range.";
    OperandSize = 0x84, "The operands are larger than this card takes.";
    EvenModulus = 0x85, "The modulus is even.";
}

/// Writes the 8-byte error message into `reply`.
pub fn encode(code: ReplyCode, reply: &mut Reply) {
    encode_code(code.code(), reply);
}

/// As [`encode`], with any code.
pub fn encode_code(code: u8, reply: &mut Reply) {
    let message = reply.start(ERROR_REPLY_LEN);
    message[1] = TYPE_82;
    message[4] = code;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_message_is_eight_bytes() {
        let mut reply = Reply::new();
        encode(ReplyCode::EvenModulus, &mut reply);
        assert_eq!(reply.bytes(), [0, 0x82, 0, 0, 0x85, 0, 0, 0]);
    }

    #[test]
    fn codes_are_distinct() {
        for (i, code) in ReplyCode::ALL.iter().enumerate() {
            let again = ReplyCode::ALL[i + 1..]
                .iter()
                .any(|c| c.code() == code.code());
            assert!(!again, "{code:?}");
        }
    }
}
