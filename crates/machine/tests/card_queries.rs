//! What cards say about themselves, asked through the host's CPU.
#![expect(
    clippy::unwrap_used,
    reason = "a set-up that fails is a test that fails"
)]

use arch::{Apid, Apqn, CardFacts, CardQueries, MasterKeys};
use machine::{Machine, PartitionConfig};

fn machine() -> Machine {
    let spec = "card 3 14 A; card 4 14 P; card 10 14 C; dom 6; cdom 6";
    let config = PartitionConfig::parse_spec(spec).unwrap();
    Machine::new(&config, Box::new(|_| {})).unwrap()
}

#[test]
fn each_mode_answers_in_its_own_form() {
    let machine = machine();
    let mut host = machine.host();
    assert_eq!(host.card_facts(Apid(3)), None);
    assert_eq!(host.card_facts(Apid(5)), None);
    let serial = *b"93AA000A";
    assert_eq!(host.card_facts(Apid(10)), Some(CardFacts::Cca { serial }));
    assert!(matches!(
        host.card_facts(Apid(4)),
        Some(CardFacts::Ep11 { serial, .. }) if serial.starts_with(b"93AA0004")
    ));
    let keys = host.master_keys(Apqn::new(10, 6));
    assert!(matches!(keys, Some(MasterKeys::Cca { .. })), "{keys:?}");
    assert_eq!(host.master_keys(Apqn::new(10, 7)), None);
    assert_eq!(host.master_keys(Apqn::new(3, 6)), None);
}

#[test]
fn a_card_that_is_away_or_stopped_does_not_answer() {
    let machine = machine();
    machine.deconfigure(Apid(10)).unwrap();
    machine.checkstop(Apid(4)).unwrap();
    let mut host = machine.host();
    assert_eq!(host.card_facts(Apid(10)), None);
    assert_eq!(host.master_keys(Apqn::new(10, 6)), None);
    assert_eq!(host.card_facts(Apid(4)), None);
    machine.configure(Apid(10)).unwrap();
    assert!(machine.host().card_facts(Apid(10)).is_some());
}
