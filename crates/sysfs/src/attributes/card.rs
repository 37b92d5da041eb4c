//! `devices/ap/cardXX` (spec 2.6).

use arch::{CardFacts, CardMode, Errno};
use matrix::Command;

use crate::attribute::{Attribute, Place, Reading, Writing, store_uevent, uevent_text};
use crate::error::StoreError;
use crate::number;

const BOUND: &str = "bound to cex4card";
const EP11: &str = "EP11 card bound to cex4card";
const COPROCESSOR: &str = "CCA or EP11 card bound to cex4card";

pub(crate) const TABLE: &[Attribute] = &[
    Attribute::read_only(
        "API_ordinalnr",
        |r| {
            show_facts(r, |facts| match facts {
                CardFacts::Ep11 { api_ordinal, .. } => api_ordinal.to_string(),
                CardFacts::Cca { .. } => String::new(),
            })
        },
        "EP11 API ordinal number of the firmware.",
    )
    .only(EP11, |p| mode(p) == Some(CardMode::Ep11)),
    Attribute::read_only(
        "FW_version",
        |r| {
            show_facts(r, |facts| match facts {
                CardFacts::Ep11 { firmware, .. } => format!("{}.{}", firmware.0, firmware.1),
                CardFacts::Cca { .. } => String::new(),
            })
        },
        "Version of the EP11 firmware.",
    )
    .only(EP11, |p| mode(p) == Some(CardMode::Ep11)),
    Attribute::read_only(
        "ap_functions",
        |r| {
            r.card()
                .map(|card| format!("0x{:08X}\n", card.info.functions()))
        },
        "Facility word of TAPQ.",
    ),
    Attribute::read_only(
        "chkstop",
        |r| r.card().map(|card| format!("{}\n", u8::from(card.chkstop))),
        "1 if check-stopped.",
    ),
    Attribute::read_write(
        "config",
        |r| r.card().map(|card| format!("{}\n", u8::from(card.config))),
        |w| Ok(Command::ConfigureAdapter(w.place.apid(), zero_or_one(w)?)),
        "1 if configured; a write asks the firmware to configure or deconfigure the adapter.",
    ),
    Attribute::read_only(
        "depth",
        |r| {
            r.card()
                .map(|card| format!("{}\n", u16::from(card.info.qd()) + 1))
        },
        "Messages that a queue takes.",
    ),
    Attribute::read_only(
        "hwtype",
        |r| r.card().map(|card| format!("{}\n", card.ap_type.0)),
        "AP type that the drivers use, 10..14.",
    ),
    Attribute::read_only(
        "load",
        |r| r.card().map(|_| String::from("0\n")),
        "Weight of running requests.",
    )
    .only(BOUND, is_bound),
    Attribute::read_only(
        "max_msg_size",
        |r| {
            r.card()
                .map(|card| format!("{}\n", card.info.max_message_size()))
        },
        "Longest message in bytes.",
    ),
    Attribute::read_only(
        "modalias",
        |r| r.card().map(|card| format!("ap:t{:02X}\n", card.ap_type.0)),
        "Module alias.",
    ),
    Attribute::read_write(
        "online",
        |r| {
            r.card()
                .map(|card| format!("{}\n", u8::from(card.is_online())))
        },
        |w| Ok(Command::SetCardOnline(w.place.apid(), zero_or_one(w)?)),
        "Whether the host's drivers use the card; a write sets its queues too.",
    )
    .only(BOUND, is_bound),
    Attribute::read_only(
        "op_modes",
        |r| {
            show_facts(r, |facts| match facts {
                CardFacts::Ep11 { op_modes, .. } => op_modes.join(" "),
                CardFacts::Cca { .. } => String::new(),
            })
        },
        "EP11 operation modes.",
    )
    .only(EP11, |p| mode(p) == Some(CardMode::Ep11)),
    Attribute::read_only(
        "pendingq_count",
        |r| r.card().map(|_| String::from("0\n")),
        "Requests in the hardware, all queues.",
    ),
    Attribute::read_only(
        "raw_hwtype",
        |r| r.card().map(|card| format!("{}\n", card.info.ap_type().0)),
        "AP type that TAPQ reports.",
    ),
    Attribute::read_write(
        "request_count",
        |r| r.card().map(|card| format!("{}\n", card.requests)),
        |w| Ok(Command::ClearCardRequests(w.place.apid())),
        "Requests so far; any write zeroes card and queues.",
    ),
    Attribute::read_only(
        "requestq_count",
        |r| r.card().map(|_| String::from("0\n")),
        "Requests that wait for the hardware, all queues.",
    ),
    Attribute::read_only(
        "serialnr",
        |r| {
            show_facts(r, |facts| match facts {
                CardFacts::Cca { serial } => String::from_utf8_lossy(serial).into_owned(),
                CardFacts::Ep11 { serial, .. } => String::from_utf8_lossy(serial).into_owned(),
            })
        },
        "Serial number: 8 characters on a CCA card, 16 on an EP11 card.",
    )
    .only(COPROCESSOR, |p| {
        matches!(mode(p), Some(CardMode::Cca | CardMode::Ep11))
    }),
    Attribute::read_only(
        "type",
        |r| r.card().map(|card| format!("{}\n", card.type_name())),
        "Type and mode, as in CEX8A.",
    )
    .only(BOUND, is_bound),
    Attribute::read_write(
        "uevent",
        |r| {
            r.card()
                .map(|card| uevent_text(&r.place.host.bus().card_properties(card)))
        },
        store_uevent,
        "What uevents say about the card.",
    ),
];

/// A line of what the card says about itself, asked at each read; empty when it gives no answer.
fn show_facts(reading: &mut Reading<'_>, line: fn(&CardFacts) -> String) -> Result<String, Errno> {
    reading.card()?;
    let facts = reading.live.card_facts(reading.place.apid());
    Ok(facts.as_ref().map_or_else(String::new, line) + "\n")
}

fn is_bound(place: &Place<'_>) -> bool {
    place.card().is_some_and(|card| card.bound)
}

/// Mode of a card that cex4card has.
fn mode(place: &Place<'_>) -> Option<CardMode> {
    place
        .card()
        .filter(|card| card.bound)
        .and_then(|card| card.info.mode())
}

/// The grammar of `online` and `config`: a scanned 0 or 1 (transcript online-text).
pub(crate) fn zero_or_one(writing: &Writing<'_>) -> Result<bool, StoreError> {
    match number::scan_decimal(writing.text()) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(StoreError::NotZeroOrOne),
    }
}
