//! An adapter in accelerator mode: clear-key RSA and nothing else (card spec 2 and 6 a).

use arch::tapq::function;

use crate::crypto::{self, OperandError, PrivateKey};
use crate::error_reply::{self, ReplyCode};
use crate::reply::Reply;
use crate::type50::{HEADER_LEN, KeyBlock, RsaRequest, SizeClass, TYPE_50};
use crate::type80;

/// Message type of requests to CCA and EP11 coprocessors.
const TYPE_6: u8 = 0x06;

/// Processes one message. `functions` is the card's facility word: without its M or C bit there is
/// no key block of 4096 bits for that operation.
///
/// The reply is a type 80 message with the result, or a type 82 message that says why not.
pub fn process(functions: u32, message: &[u8], reply: &mut Reply) {
    if let Err(code) = execute(functions, message, reply) {
        error_reply::encode(code, reply);
    }
}

fn execute(functions: u32, message: &[u8], reply: &mut Reply) -> Result<(), ReplyCode> {
    let header = message
        .first_chunk::<HEADER_LEN>()
        .ok_or(ReplyCode::Malformed)?;
    match header[1] {
        TYPE_50 => {}
        TYPE_6 => return Err(ReplyCode::WrongMode),
        _ => return Err(ReplyCode::MessageType),
    }
    let request = RsaRequest::decode(message)?;
    let required = match request.key_block() {
        KeyBlock::ModExpo(SizeClass::Bits4096) => function::MEX_4K,
        KeyBlock::Crt(SizeClass::Bits4096) => function::CRT_4K,
        KeyBlock::ModExpo(_) | KeyBlock::Crt(_) => 0,
    };
    if functions & required != required {
        return Err(ReplyCode::OperandSize);
    }
    match request {
        RsaRequest::ModExpo {
            size,
            exponent,
            modulus,
            message,
        } => {
            let result = type80::start(size.field_len(), reply);
            crypto::mod_exp(message, exponent, modulus, result)
        }
        RsaRequest::Crt { size, key, message } => {
            let result = type80::start(size.field_len(), reply);
            PrivateKey::import(&key).and_then(|key| key.apply(message, result))
        }
    }
    .map_err(|error| reply_code(&error))
}

/// The code for operands that cannot be computed with (card spec 2.3). A failure of the library
/// (memory) is the card's own: Linux then tries another card.
fn reply_code(error: &OperandError) -> ReplyCode {
    match error {
        OperandError::EvenModulus => ReplyCode::EvenModulus,
        OperandError::ZeroModulus | OperandError::BadPrime | OperandError::NotReduced => {
            ReplyCode::OperandInvalid
        }
        OperandError::Library(_) => ReplyCode::MachineFailure,
    }
}
