//! The bytes that `docs/protocol.md` prints are those that this crate sends and takes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use arch::{Apqn, Instruction, Outcome};
use device::exec::{decode_outcome, decode_request};
use device::message::{Command, HEADER_LEN, Header};
use zerocopy::{FromBytes, IntoBytes};

/// The bytes of the page's blocks of hex digits, without what is left out or said in words.
fn blocks() -> Vec<Vec<u8>> {
    let page = include_str!("../../../docs/protocol.md");
    let (_, example) = page.split_once("## A session in bytes").unwrap();
    let bytes_of = |line: &str| -> Vec<u8> {
        line.split_whitespace()
            .map_while(|word| u8::from_str_radix(word, 16).ok())
            .collect()
    };
    example
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.lines().flat_map(bytes_of).collect())
        .collect()
}

fn header(bytes: &[u8]) -> Header {
    Header::read_from_prefix(bytes).unwrap().0
}

#[test]
fn the_printed_session_is_what_goes_over_the_wire() {
    let [version, tapq, reply] = &blocks()[..] else {
        panic!("the page has three blocks");
    };
    let json = r#"{"capabilities":{"apmatrix":{"vm":"a","facilities":["ap","apft"]}}}"#;
    let payload = u32::try_from(4 + json.len() + 1).unwrap();
    let expected = Header::command(1, Command::Version, payload);
    assert_eq!(version[..HEADER_LEN], *expected.as_bytes());

    assert_eq!(header(tapq).size.get() as usize, tapq.len());
    let instruction = Instruction::Tapq {
        apqn: Apqn::new(5, 4),
        facilities: true,
    };
    let decoded = decode_request(&tapq[HEADER_LEN..], 4096);
    assert_eq!(decoded, Ok((instruction, 0)));

    assert_eq!(header(reply).size.get() as usize, reply.len());
    assert_eq!(header(reply).id, header(tapq).id);
    let outcome = decode_outcome(&instruction, &reply[HEADER_LEN..], &mut []).unwrap();
    let Outcome::Tapq { status, info } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(status.to_gr1(), 0x8000_0000);
    assert_eq!(info.0, 0xea00_0000_0e00_0207);
}
