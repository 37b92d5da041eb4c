//! Every committed input of every target of this crate.

use fuzztargets::corpus::replay;
use fuzztargets::{instructions, messages, rings, texts, wire};

#[test]
fn masks() {
    replay("masks", texts::masks);
}

#[test]
fn numbers() {
    replay("numbers", texts::numbers);
}

#[test]
fn names() {
    replay("names", texts::names);
}

#[test]
fn spec() {
    replay("spec", texts::spec);
}

#[test]
fn fault_order() {
    replay("fault_order", texts::fault_order);
}

#[test]
fn frames() {
    replay("frames", wire::frames);
}

#[test]
fn outcomes() {
    replay("outcomes", wire::outcomes);
}

#[test]
fn versions() {
    replay("versions", wire::versions);
}

#[test]
fn sessions() {
    replay("sessions", wire::sessions);
}

#[test]
fn rings() {
    replay("rings", rings::rings);
}

#[test]
fn messages() {
    replay("messages", messages::messages);
}

#[test]
fn replies() {
    replay("replies", messages::replies);
}

#[test]
fn instructions() {
    replay("instructions", instructions::instructions);
}
