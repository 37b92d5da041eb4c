//! What coprocessors say about themselves, in the form that tools read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use arch::{Apid, CardFacts, KeyRegisters, MasterKeys};
use common::{Fake, boot};
use sysfs::Session;

const HOST: &str = "card 3 14 A; card 4 14 P; card 10 14 C; dom 6";
const OP_MODES: &[&str] = &["FIPS2009", "BSI2009"];

fn read(session: &mut Session<Fake>, path: &str) -> String {
    let bytes = session.read(&format!("devices/ap/{path}"));
    String::from_utf8(bytes.unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

fn with_answers() -> Session<Fake> {
    let mut session = boot(HOST);
    let fake = &mut session.platform;
    let serial = *b"93AABBCC";
    fake.facts.insert(Apid(10), CardFacts::Cca { serial });
    fake.facts.insert(
        Apid(4),
        CardFacts::Ep11 {
            serial: *b"93AABBCD00000001",
            api_ordinal: 6,
            firmware: (5, 12),
            op_modes: OP_MODES,
        },
    );
    let keys = MasterKeys::Cca {
        aes: KeyRegisters {
            new: Some([1; 8]),
            current: Some([0xe9; 8]),
            old: None,
        },
        apka: KeyRegisters::EMPTY,
        asym: KeyRegisters::with_current([0x0a; 16]),
    };
    fake.keys.insert(Apid(10), keys);
    let current = Some([0x8b; 32]);
    let op_modes = OP_MODES;
    fake.keys
        .insert(Apid(4), MasterKeys::Ep11 { current, op_modes });
    session
}

#[test]
fn a_cca_card_has_a_serial_number_and_nine_lines_of_patterns() {
    let mut session = with_answers();
    assert_eq!(read(&mut session, "card0a/serialnr"), "93AABBCC\n");
    assert_eq!(
        read(&mut session, "card0a/0a.0006/mkvps"),
        "AES NEW: full 0x0101010101010101\n\
         AES CUR: valid 0xe9e9e9e9e9e9e9e9\n\
         AES OLD: invalid 0x0000000000000000\n\
         APKA NEW: empty 0x0000000000000000\n\
         APKA CUR: invalid 0x0000000000000000\n\
         APKA OLD: invalid 0x0000000000000000\n\
         ASYM NEW: empty 0x00000000000000000000000000000000\n\
         ASYM CUR: valid 0x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\n\
         ASYM OLD: invalid 0x00000000000000000000000000000000\n"
    );
}

#[test]
fn an_ep11_card_says_more() {
    let mut session = with_answers();
    for (path, text) in [
        ("card04/serialnr", "93AABBCD00000001\n"),
        ("card04/API_ordinalnr", "6\n"),
        ("card04/FW_version", "5.12\n"),
        ("card04/op_modes", "FIPS2009 BSI2009\n"),
        ("card04/04.0006/op_modes", "FIPS2009 BSI2009\n"),
    ] {
        assert_eq!(read(&mut session, path), text, "{path}");
    }
    assert_eq!(
        read(&mut session, "card04/04.0006/mkvps"),
        format!("WK CUR: valid 0x{}\nWK NEW: empty -\n", "8b".repeat(32))
    );
}

#[test]
fn without_an_answer_the_files_are_there_and_say_nothing() {
    let mut session = boot(HOST);
    for path in ["card0a/serialnr", "card04/API_ordinalnr", "card04/op_modes"] {
        assert_eq!(read(&mut session, path), "\n", "{path}");
    }
    assert_eq!(
        read(&mut session, "card04/04.0006/mkvps"),
        "WK CUR: - -\nWK NEW: - -\n"
    );
    let patterns = read(&mut session, "card0a/0a.0006/mkvps");
    assert_eq!(patterns.lines().count(), 9);
    assert!(patterns.lines().all(|line| line.ends_with(": - -")));
}

#[test]
fn an_accelerator_has_none_of_them() {
    let session = with_answers();
    let names = session.list("devices/ap/card03").unwrap();
    assert!(!names.iter().any(|name| name == "serialnr"), "{names:?}");
    let names = session.list("devices/ap/card03/03.0006").unwrap();
    assert!(!names.iter().any(|name| name == "mkvps"), "{names:?}");
}
