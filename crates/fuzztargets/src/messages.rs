//! AP messages: what a guest sends to a card, and what a card, or whatever pretends to be one, answers.

use arch::{ApType, Apqi, CardMode};
use cex::type50::{CrtKey, RsaRequest};
use cex::{Card, Reply, ReplyCode, Request};
use guest::reply;

/// Bytes of a type 80 reply before its result, and the length of a type 82 reply.
const RESULT_AT: usize = 16;
const ERROR_REPLY: usize = 8;

/// A request to a card. The first byte chooses the card, the rest is the message: the reply is one that
/// the protocol knows, has the length that it says, and a guest can read it. A type 50 request that is
/// understood encodes to the same bytes, and the guest's encoder makes the same of its operands.
///
/// # Panics
/// When one of these does not hold.
pub fn messages(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let mode = match choice & 3 {
        0 | 3 => CardMode::Accelerator,
        1 => CardMode::Cca,
        _ => CardMode::Ep11,
    };
    let ap_type = ApType(ApType::CEX8.0 - ((choice >> 2) & 3));
    let request = Request {
        domain: Apqi(choice >> 4),
        special: choice & 0x80 != 0,
        message,
    };
    let mut answer = Reply::new();
    Card::new(ap_type, mode).process(&request, &mut answer);
    let decoded = (message.get(1) == Some(&0x50) && message.len() >= 8)
        .then(|| RsaRequest::decode(message).ok())
        .flatten();
    check_answer(answer.bytes(), decoded.as_ref());
    if let Some(request) = decoded {
        let mut canonical = message.to_vec();
        // The one byte of the header that nobody looks at.
        canonical[5] = 0;
        assert_eq!(request.encode(), canonical);
        assert_eq!(encode_as_a_guest(&request), canonical);
    }
}

fn check_answer(answer: &[u8], request: Option<&RsaRequest<'_>>) {
    match *answer {
        [0, 0x82, 0, 0, code, 0, 0, 0] => {
            assert_eq!(answer.len(), ERROR_REPLY);
            assert!(ReplyCode::ALL.iter().any(|known| known.code() == code));
            let read = reply::read(answer, 1);
            assert!(read == reply::Reply::Invalid(code) || read == reply::Reply::Again(code));
        }
        [0, 0x80, high, low, ..] => {
            assert_eq!(usize::from(u16::from_be_bytes([high, low])), answer.len());
            let (RsaRequest::ModExpo { size, .. } | RsaRequest::Crt { size, .. }) =
                request.expect("a result is the answer to a request");
            assert_eq!(answer.len(), RESULT_AT + size.field_len());
            assert_eq!(
                reply::read(answer, size.field_len()),
                reply::Reply::Result(&answer[RESULT_AT..])
            );
        }
        _ => unreachable!("{answer:02x?} is no reply of a card"),
    }
}

/// What the guest's own encoder, which shares nothing with the card's, makes of the operands.
fn encode_as_a_guest(request: &RsaRequest<'_>) -> Vec<u8> {
    let encoded = match *request {
        RsaRequest::ModExpo {
            exponent,
            modulus,
            message,
            ..
        } => guest::ModExpo {
            message,
            exponent,
            modulus,
        }
        .encode(),
        RsaRequest::Crt {
            key: CrtKey { p, q, dp, dq, u },
            message,
            ..
        } => guest::Crt {
            message,
            p,
            q,
            dp,
            dq,
            u,
        }
        .encode(),
    };
    encoded.expect("the operands fit their fields").message
}

/// A reply that a guest reads; the first two bytes are the length of the result that it expects.
///
/// # Panics
/// When the result has another length, or is not the end of the reply.
pub fn replies(bytes: &[u8]) {
    let Some((expected, bytes)) = bytes.split_first_chunk() else {
        return;
    };
    // No request of a guest asks for more than 4096 bits.
    let output = usize::from(u16::from_be_bytes(*expected)) % 513;
    if let reply::Reply::Result(result) = reply::read(bytes, output) {
        assert_eq!(result.len(), output);
        assert!(bytes.ends_with(result));
    }
}
