//! The accelerator against an independent implementation of the formulas (`num-bigint`), and the
//! vectors of card spec section 8.

#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use arch::{ApType, Apqi, CardMode};
use cex::type50::{CrtKey, KeyBlock, RsaRequest, SizeClass};
use cex::{Card, Reply, ReplyCode, Request};
use num_bigint::BigUint;
use openssl::rsa::Rsa;
use proptest::prelude::*;

fn process(message: &[u8]) -> Vec<u8> {
    let card = Card::new(ApType::CEX8, CardMode::Accelerator);
    let mut reply = Reply::new();
    let request = Request {
        domain: Apqi(2),
        special: false,
        message,
    };
    card.process(&request, &mut reply);
    reply.bytes().to_vec()
}

/// The result of a type 80 reply, whose header is checked.
fn result(reply: &[u8]) -> BigUint {
    let [high, low] = u16::try_from(reply.len()).unwrap().to_be_bytes();
    assert_eq!(reply[..4], [0, 0x80, high, low], "{:02x?}", &reply[..8]);
    assert_eq!(reply[4..16], [0; 12]);
    BigUint::from_bytes_be(&reply[16..])
}

fn error(code: ReplyCode) -> [u8; 8] {
    [0, 0x82, 0, 0, code.code(), 0, 0, 0]
}

fn mod_expo(size: SizeClass, message: &BigUint, exponent: &BigUint, modulus: &BigUint) -> Vec<u8> {
    RsaRequest::ModExpo {
        size,
        exponent: &exponent.to_bytes_be(),
        modulus: &modulus.to_bytes_be(),
        message: &message.to_bytes_be(),
    }
    .encode()
}

/// p, q, dp, dq, u.
type Parts = [BigUint; 5];

fn crt(size: SizeClass, message: &BigUint, parts: &Parts) -> Vec<u8> {
    let [p, q, dp, dq, u] = parts.each_ref().map(BigUint::to_bytes_be);
    let key = CrtKey {
        p: &p,
        q: &q,
        dp: &dp,
        dq: &dq,
        u: &u,
    };
    let message = &message.to_bytes_be();
    RsaRequest::Crt { size, key, message }.encode()
}

/// The formula of card spec 2.1, word for word.
fn crt_formula(c: &BigUint, [p, q, dp, dq, u]: &Parts) -> BigUint {
    let m1 = c.modpow(dp, p);
    let m2 = c.modpow(dq, q);
    let difference = (m1 + p - &m2 % p) % p;
    let h = u * difference % p;
    m2 + h * q
}

const fn size_of(bits: usize) -> SizeClass {
    match bits {
        0..=1024 => SizeClass::Bits1024,
        1025..=2048 => SizeClass::Bits2048,
        _ => SizeClass::Bits4096,
    }
}

fn reply_len(size: SizeClass) -> usize {
    match size {
        SizeClass::Bits1024 => 144,
        SizeClass::Bits2048 => 272,
        SizeClass::Bits4096 => 528,
    }
}

/// A key made by OpenSSL: its CRT parts, modulus, private and public exponent.
fn key(bits: u32) -> (Parts, BigUint, BigUint, BigUint) {
    let rsa = Rsa::generate(bits).unwrap();
    let number = |bn: &openssl::bn::BigNumRef| BigUint::from_bytes_be(&bn.to_vec());
    let parts = [rsa.p(), rsa.q(), rsa.dmp1(), rsa.dmq1(), rsa.iqmp()];
    let parts = parts.map(|part| number(part.unwrap()));
    (parts, number(rsa.n()), number(rsa.d()), number(rsa.e()))
}

#[test]
fn vectors_16_to_21_all_sizes() {
    for (bits, size) in [
        (512, SizeClass::Bits1024),
        (1024, SizeClass::Bits1024),
        (1536, SizeClass::Bits2048),
        (2048, SizeClass::Bits2048),
        (3072, SizeClass::Bits4096),
        (4096, SizeClass::Bits4096),
    ] {
        let (parts, n, d, e) = key(bits);
        let message = BigUint::from(0x1234_5678_9abc_def0u64) << (bits / 2);
        let public = process(&mod_expo(size, &message, &e, &n));
        assert_eq!(public.len(), reply_len(size));
        let cipher = result(&public);
        assert_eq!(cipher, message.modpow(&e, &n));
        let private = process(&mod_expo(size, &cipher, &d, &n));
        assert_eq!(result(&private), message, "mod-expo {bits}");
        let by_crt = process(&crt(size, &cipher, &parts));
        assert_eq!(private, by_crt, "crt {bits}");
        // A small operation fits every larger class.
        let widest = process(&mod_expo(SizeClass::Bits4096, &message, &e, &n));
        assert_eq!(result(&widest), cipher);
        // Swapped primes with their own inverse are a key too.
        let [p, q, dp, dq, _] = parts;
        let u = p.modpow(&(&q - 2u8), &q);
        let swapped = process(&crt(size, &cipher, &[q, p, dq, dp, u]));
        assert_eq!(private, swapped, "p below q {bits}");
    }
}

#[test]
fn vectors_22_to_26_errors() {
    let [small, large] = [35u8, 36].map(BigUint::from);
    let e = BigUint::from(5u8);
    let size = SizeClass::Bits1024;
    let even = process(&mod_expo(size, &e, &e, &large));
    assert_eq!(even, error(ReplyCode::EvenModulus), "22");
    for message in [&small, &large] {
        let big = process(&mod_expo(size, message, &e, &small));
        assert_eq!(big, error(ReplyCode::OperandInvalid), "23");
    }
    let zero = process(&mod_expo(size, &e, &e, &BigUint::ZERO));
    assert_eq!(zero, error(ReplyCode::OperandInvalid));
    let good = mod_expo(size, &e, &e, &small);
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(process(&longer), error(ReplyCode::LengthMismatch), "24");
    for (message_type, code) in [
        (0x51, ReplyCode::MessageType),
        (0x06, ReplyCode::WrongMode),
        (0x80, ReplyCode::MessageType),
    ] {
        let mut other = good.clone();
        other[1] = message_type;
        assert_eq!(process(&other), error(code), "25, 26");
    }
    for short in [&[][..], &[0], &[0, 0x50], &good[..7]] {
        assert_eq!(process(short), error(ReplyCode::Malformed));
    }
    let one = BigUint::from(1u8);
    assert_eq!(
        result(&process(&mod_expo(size, &BigUint::ZERO, &e, &one))),
        BigUint::ZERO
    );
    assert_eq!(
        result(&process(&mod_expo(size, &e, &BigUint::ZERO, &small))),
        one
    );
}

#[test]
fn crt_operands_must_be_in_range() {
    let [zero, even, p, q] = [0u8, 10, 11, 7].map(BigUint::from);
    let d = BigUint::from(3u8);
    let size = SizeClass::Bits1024;
    for [p, q] in [[&zero, &q], [&p, &zero], [&even, &q], [&p, &even]] {
        let parts = [p, q, &d, &d, &d].map(Clone::clone);
        let reply = process(&crt(size, &d, &parts));
        assert_eq!(reply, error(ReplyCode::OperandInvalid));
    }
    let parts = [&p, &q, &d, &d, &d].map(Clone::clone);
    let reply = process(&crt(size, &BigUint::from(77u8), &parts));
    assert_eq!(reply, error(ReplyCode::OperandInvalid), "not below p q");
    let largest = BigUint::from(76u8);
    let reply = process(&crt(size, &largest, &parts));
    assert_eq!(result(&reply), crt_formula(&largest, &parts));
}

#[test]
fn without_its_facility_bit_a_large_operation_does_not_exist() {
    use arch::tapq::function::{CRT_4K, MEX_4K};
    let mut reply = Reply::new();
    for block in KeyBlock::ALL {
        let bytes = vec![1; 512];
        let part = &bytes[..64];
        let message = match block {
            KeyBlock::ModExpo(size) => RsaRequest::ModExpo {
                size,
                exponent: &[1],
                modulus: &bytes,
                message: &[1],
            },
            KeyBlock::Crt(size) => RsaRequest::Crt {
                size,
                key: CrtKey {
                    p: part,
                    q: part,
                    dp: &[1],
                    dq: &[1],
                    u: &[1],
                },
                message: &[1],
            },
        }
        .encode();
        for functions in [0, MEX_4K, CRT_4K, MEX_4K | CRT_4K] {
            cex::accelerator::process(functions, &message, &cex::keys::NoKeys, &mut reply);
            let exists = match block {
                KeyBlock::ModExpo(SizeClass::Bits4096) => functions & MEX_4K != 0,
                KeyBlock::Crt(SizeClass::Bits4096) => functions & CRT_4K != 0,
                KeyBlock::ModExpo(_) | KeyBlock::Crt(_) => true,
            };
            if exists {
                assert_eq!(reply.bytes()[1], 0x80);
            } else {
                assert_eq!(reply.bytes(), error(ReplyCode::OperandSize));
            }
        }
    }
}

/// An odd number of exactly `bits` bits out of random bytes.
fn odd(bits: usize, random: &[u8]) -> BigUint {
    let mut number = BigUint::from_bytes_be(random) % (BigUint::from(1u8) << bits);
    number.set_bit(bits as u64 - 1, true);
    number.set_bit(0, true);
    number
}

fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn mod_expo_equals_the_formula(
        bits in 8usize..=4096, n in bytes(512), m in bytes(512), e in bytes(512), short in 0usize..24,
    ) {
        let n = odd(bits, &n);
        let m = BigUint::from_bytes_be(&m) % &n;
        // Short exponents, those around the limit of 64 bits, and as long as the modulus.
        let e = if bits % 2 == 0 { BigUint::from_bytes_be(&e[..short]) } else { BigUint::from_bytes_be(&e) % &n };
        prop_assume!(e.bits() <= size_of(bits).field_len() as u64 * 8);
        let reply = process(&mod_expo(size_of(bits), &m, &e, &n));
        prop_assert_eq!(result(&reply), m.modpow(&e, &n));
    }

    /// Any odd p and q and any other parts: no key that OpenSSL would accept, but a formula.
    #[test]
    fn crt_equals_the_formula(
        bits in 4usize..=2048, less in 0usize..8, random in prop::array::uniform6(bytes(256)),
    ) {
        let [p, q, dp, dq, u, c] = random;
        let (p, q) = (odd(bits, &p), odd(bits - less.min(bits - 1), &q));
        let size = size_of(2 * bits);
        let limit = BigUint::from(1u8) << (size.prime_len() * 8);
        let [dp, dq, u] = [dp, dq, u].map(|part| BigUint::from_bytes_be(&part) % &limit);
        let c = BigUint::from_bytes_be(&c) % (&p * &q);
        for parts in [
            [&p, &q, &dp, &dq, &u].map(Clone::clone),
            [&q, &p, &dp, &dq, &u].map(Clone::clone),
        ] {
            prop_assert_eq!(result(&process(&crt(size, &c, &parts))), crt_formula(&c, &parts));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_get_a_well_formed_reply(mut message in prop::collection::vec(any::<u8>(), 0..64), t50: bool) {
        if let (true, Some(message_type)) = (t50, message.get_mut(1)) {
            *message_type = 0x50;
        }
        let reply = process(&message);
        prop_assert_eq!((reply.len(), reply[1]), (8, 0x82));
    }

    #[test]
    fn damaged_requests_get_a_well_formed_reply(
        block in prop::sample::select(KeyBlock::ALL.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        fill in prop::sample::select(vec![0u8, 1, 0x55, 0xff]),
    ) {
        let mut message = vec![fill; block.message_len()];
        let header = [0, 0x50, 0, 0, 0, 0, 0, 0];
        message[..8].copy_from_slice(&header);
        message[2..4].copy_from_slice(&u16::try_from(block.message_len()).unwrap().to_be_bytes());
        message[8..10].copy_from_slice(&block.code().to_be_bytes());
        message[10..16].fill(0);
        for (at, value) in damage {
            let at = at.index(message.len());
            message[at] = value;
        }
        let reply = process(&message);
        match reply[1] {
            0x80 => { result(&reply); }
            other => prop_assert_eq!((other, reply.len()), (0x82, 8)),
        }
    }
}
