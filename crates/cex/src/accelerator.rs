//! An adapter in accelerator mode: clear-key RSA and nothing else (card spec 2 and 6 a).

use std::sync::Arc;

use arch::tapq::function;

use crate::crypto::{self, OperandError, PrivateKey, PublicKey};
use crate::error_reply::{self, ReplyCode};
use crate::keys::{KeyMaterial, KeyStore, PreparedKey};
use crate::reply::Reply;
use crate::type50::{CrtKey, HEADER_LEN, KeyBlock, RsaRequest, SizeClass, TYPE_50};
use crate::type80;

/// Message type of requests to CCA and EP11 coprocessors.
const TYPE_6: u8 = 0x06;

/// Processes one message. `functions` is the card's facility word: without its M or C bit there is
/// no key block of 4096 bits for that operation.
///
/// The reply is a type 80 message with the result, or a type 82 message that says why not.
/// `keys` are the prepared keys of whoever sent the message.
pub fn process(functions: u32, message: &[u8], keys: &dyn KeyStore, reply: &mut Reply) {
    if let Err(code) = execute(functions, message, keys, reply) {
        error_reply::encode(code, reply);
    }
}

fn execute(
    functions: u32,
    bytes: &[u8],
    keys: &dyn KeyStore,
    reply: &mut Reply,
) -> Result<(), ReplyCode> {
    let header = bytes
        .first_chunk::<HEADER_LEN>()
        .ok_or(ReplyCode::Malformed)?;
    match header[1] {
        TYPE_50 => {}
        TYPE_6 => return Err(ReplyCode::WrongMode),
        _ => return Err(ReplyCode::MessageType),
    }
    let request = RsaRequest::decode(bytes)?;
    let required = match request.key_block() {
        KeyBlock::ModExpo(SizeClass::Bits4096) => function::MEX_4K,
        KeyBlock::Crt(SizeClass::Bits4096) => function::CRT_4K,
        KeyBlock::ModExpo(_) | KeyBlock::Crt(_) => 0,
    };
    if functions & required != required {
        return Err(ReplyCode::OperandSize);
    }
    let material = KeyMaterial::of(request.key_block(), bytes).ok_or(ReplyCode::LengthMismatch)?;
    match request {
        RsaRequest::ModExpo {
            size,
            exponent,
            modulus,
            message,
        } => {
            let result = type80::start(size.field_len(), reply);
            if crypto::is_public(exponent) {
                public(&material, keys, |key| {
                    key.apply(message, exponent, modulus, result)
                })
            } else {
                crypto::mod_exp(message, exponent, modulus, result)
            }
        }
        RsaRequest::Crt { size, key, message } => {
            let result = type80::start(size.field_len(), reply);
            crt(&material, &key, keys, |key| key.apply(message, result))
        }
    }
    .map_err(|error| reply_code(&error))
}

/// Uses the public key of this material; one that is new is kept if it could be used.
fn public(
    material: &KeyMaterial<'_>,
    keys: &dyn KeyStore,
    operation: impl FnOnce(&PublicKey) -> Result<(), OperandError>,
) -> Result<(), OperandError> {
    if let Some(found) = keys.find(material)
        && let PreparedKey::Public(key) = &*found
    {
        return operation(key);
    }
    let key = PublicKey::new();
    operation(&key)?;
    keys.keep(material, Arc::new(PreparedKey::Public(key)));
    Ok(())
}

/// As [`public`], for a private key.
fn crt(
    material: &KeyMaterial<'_>,
    parts: &CrtKey<'_>,
    keys: &dyn KeyStore,
    operation: impl FnOnce(&PrivateKey) -> Result<(), OperandError>,
) -> Result<(), OperandError> {
    if let Some(found) = keys.find(material)
        && let PreparedKey::Crt(key) = &*found
    {
        return operation(key);
    }
    let key = PrivateKey::import(parts)?;
    operation(&key)?;
    keys.keep(material, Arc::new(PreparedKey::Crt(key)));
    Ok(())
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
